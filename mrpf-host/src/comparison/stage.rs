//! Stages: what runs of a grid share. A stage's key names everything that its result depends on, so equal stages are one.

use mrpf_api::budget::BudgetKind;
use mrpf_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::grid::Cell;
use crate::experiment::{Experiment, PluginChoice, Variant};
use crate::files::{read_regular, sha256};

/// Raised when what a stage does changes without its settings changing: results of before are then computed anew.
const FORMAT: u32 = 2;

/// A piece of work with a result on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Kind and hash: the name of its directory.
    pub key: String,
    /// What people read: `finetune l1-norm-uniform, ratio 0.5, seed 1`.
    pub name: String,
    /// Its settings.
    pub experiment: Experiment,
    /// What is done.
    pub work: Work,
}

/// What a stage does; the networks and figures that it starts from are results of other stages, named by their keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Work {
    /// Trains the dense network.
    Train,
    /// Measures the sensitivity of the modules of a dense network.
    Measure {
        /// The stage that trained it.
        dense: String,
    },
    /// Times the layers of a dense network, for budgets of latency: once, so that all rows refer to the same times.
    Time {
        /// The stage that trained it.
        dense: String,
    },
    /// Prunes a dense network and fine-tunes it.
    Prune {
        /// The stage that trained it.
        dense: String,
        /// The stage that measured it, where the allocation asks for sensitivities.
        sensitivity: Option<String>,
        /// The stage that timed its layers, where the budget is a latency.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        times: Option<String>,
    },
    /// Attacks the networks that a stage made.
    Attack {
        /// The stage.
        of: String,
    },
}

impl Work {
    /// The stages whose results it needs.
    pub fn needs(&self) -> impl Iterator<Item = &String> {
        let all = match self {
            Self::Train => [None, None, None],
            Self::Measure { dense } | Self::Time { dense } => [Some(dense), None, None],
            Self::Prune { dense, sensitivity, times } => [Some(dense), sensitivity.as_ref(), times.as_ref()],
            Self::Attack { of } => [Some(of), None, None],
        };
        all.into_iter().flatten()
    }
}

/// What the results of a whole comparison depend on beside settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Ground {
    /// Digest of the images and labels.
    pub data: String,
    /// Digests of the plugin libraries in use.
    pub libraries: Vec<String>,
    /// What kind of device stages compute on, without its number. Only times depend on it: a network that was trained on one device is measured, pruned and attacked on another.
    pub device: String,
}

impl Stage {
    /// The stage that trains the dense network of a cell.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file of a teacher cannot be read.
    pub fn train(cell: &Cell, ground: &Ground) -> Result<Self> {
        let experiment = base(cell);
        let depends = json!({
            "network": experiment.network,
            "pretrain": experiment.pretrain,
            "teacher": digest("teacher", experiment.pretrain.teacher.as_deref())?,
        });
        Ok(Self {
            key: key("train", &experiment, ground, &depends),
            name: String::new(),
            experiment,
            work: Work::Train,
        })
    }

    /// The stage that measures a metric on the cell's dense network.
    pub fn measure(cell: &Cell, metric: &PluginChoice, dense: &Self, ground: &Ground) -> Self {
        let mut experiment = base(cell);
        experiment.prune.sensitivity = metric.clone();
        let depends = json!({ "dense": dense.key, "sensitivity": experiment.prune.sensitivity });
        let key = key("measure", &experiment, ground, &depends);
        Self { key, name: String::new(), experiment, work: Work::Measure { dense: dense.key.clone() } }
    }

    /// The stage that times the layers of the cell's dense network, or reads the table that its settings name; none for other budgets.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the table cannot be read.
    pub fn time(cell: &Cell, dense: &Self, ground: &Ground) -> Result<Option<Self>> {
        if cell.variant.prune.budget != BudgetKind::Latency {
            return Ok(None);
        }
        let mut experiment = base(cell);
        experiment.prune = cell.variant.prune.clone();
        let table = digest("table of layer times", experiment.prune.latency_table.as_deref())?;
        let mut depends = json!({ "dense": dense.key, "table": table });
        if ground.device != "cpu" {
            depends["device"] = json!(ground.device);
        }
        let key = key("time", &experiment, ground, &depends);
        Ok(Some(Self { key, name: String::new(), experiment, work: Work::Time { dense: dense.key.clone() } }))
    }

    /// The stage that prunes and fine-tunes as the cell says.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file of a teacher cannot be read.
    pub fn prune(
        cell: &Cell,
        dense: &Self,
        sensitivity: Option<&Self>,
        times: Option<&Self>,
        ground: &Ground,
    ) -> Result<Self> {
        let mut experiment = base(cell);
        experiment.seed = cell.place.seed;
        (experiment.prune, experiment.finetune) = (cell.variant.prune.clone(), cell.variant.finetune.clone());
        if sensitivity.is_none() {
            // A metric that is not asked for makes no difference.
            experiment.prune.sensitivity = Experiment::default().prune.sensitivity;
        }
        // The stage that times layers has read it.
        experiment.prune.latency_table = None;
        let [sensitivity, times] = [sensitivity, times].map(|stage| stage.map(|stage| stage.key.clone()));
        let depends = json!({
            "dense": dense.key,
            "sensitivity": sensitivity,
            "times": times,
            "prune": experiment.prune,
            "finetune": experiment.finetune,
            "teacher": digest("teacher", experiment.finetune.teacher.as_deref())?,
        });
        let key = key("prune", &experiment, ground, &depends);
        Ok(Self {
            key,
            name: String::new(),
            experiment,
            work: Work::Prune { dense: dense.key.clone(), sensitivity, times },
        })
    }

    /// The stage that attacks what another made. All networks are attacked with the same random numbers.
    pub fn attack(cell: &Cell, of: &Self, ground: &Ground) -> Self {
        let experiment = base(cell);
        // Neither the batch size nor the place of the files changes what happens to an image.
        let evaluate = crate::experiment::EvaluateSettings { batch: 0, ..experiment.evaluate.clone() };
        let key = key("attack", &experiment, ground, &json!({ "of": of.key, "evaluate": evaluate }));
        Self { key, name: String::new(), experiment, work: Work::Attack { of: of.key.clone() } }
    }

    /// How the stage's variant is called in its own directory, the same for all, so that equal stages are equal files.
    pub fn variant(experiment: &Experiment) -> Variant {
        Variant { name: "pruned".into(), prune: experiment.prune.clone(), finetune: experiment.finetune.clone() }
    }
}

/// The cell's experiment without what stages do not share, its held-out images being those of the dense network.
fn base(cell: &Cell) -> Experiment {
    let mut experiment = cell.experiment.clone();
    experiment.data.split_seed = Some(experiment.data.split_seed.unwrap_or(experiment.seed));
    experiment.compare.clear();
    experiment.grid = crate::experiment::GridSettings::default();
    experiment
}

fn key(kind: &str, experiment: &Experiment, ground: &Ground, depends: &Value) -> String {
    let data = crate::experiment::DataSettings { dir: None, ..experiment.data.clone() };
    let mut all = json!({
        "format": FORMAT,
        "version": env!("CARGO_PKG_VERSION"),
        "kind": kind,
        "images": ground.data,
        "libraries": ground.libraries,
        "data": data,
        "seed": experiment.seed,
        "depends": depends,
    });
    // Equal settings give equal text, in whatever order they were given.
    all.sort_all_objects();
    format!("{kind}-{}", &sha256(all.to_string().as_bytes())[..16])
}

/// Digest of a file that settings name.
fn digest(what: &str, path: Option<&std::path::Path>) -> Result<Option<String>> {
    let read = |path: &std::path::Path| {
        read_regular(path)
            .map(|bytes| sha256(&bytes))
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot read the {what} {}: {error}", path.display())))
    };
    path.map(read).transpose()
}

/// A plugin choice as a word, with its settings where it has some.
pub fn label(choice: &PluginChoice) -> String {
    match choice.settings.is_empty() {
        true => choice.name.clone(),
        false => {
            let settings = choice.settings.iter().map(|(key, value)| format!("{key} {value}").replace('"', ""));
            format!("{} ({})", choice.name, settings.collect::<Vec<_>>().join(", "))
        }
    }
}
