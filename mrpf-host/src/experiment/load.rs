//! From an experiment file and `--set` to checked settings.

use mrpf_api::architecture::Architecture;
use mrpf_api::attack::{Attack, check_length};
use mrpf_api::budget::Constraints;
use mrpf_api::criterion::Criterion;
use mrpf_api::data::DataSource;
use mrpf_api::schedule::PruningSchedule;
use mrpf_api::sensitivity::SensitivityMetric;
use mrpf_api::trainer::AdversarialTrainer;
use mrpf_api::{Context, Error, ErrorKind, Result, allocation::Allocation};
use serde_json::Value;
use std::path::{Path, PathBuf};

use super::architecture::architecture;
use super::choice::PluginChoice;
use super::files::{lay_files, parse};
use super::merge::{assignment, at_path, merge};
use super::settings::{Experiment, GridSettings};
use crate::plugin_library;
use crate::training::missing_teacher;

/// The experiment that runs when no file is given: real 8x8 digits, built in.
pub const BUILT_IN: &str = include_str!("digits.toml");

/// Where settings come from, the later over the earlier.
#[derive(Debug, Clone, Default)]
pub struct Sources<'a> {
    /// Experiment files, the later over the earlier.
    pub files: &'a [PathBuf],
    /// How the files were come by.
    pub chosen: Chosen,
    /// What stands when there is no file.
    pub base: Base,
    /// `--data`.
    pub data: Option<&'a str>,
    /// `key=value` texts.
    pub set: &'a [String],
    /// `--data-dir`.
    pub data_dir: Option<&'a Path>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--plugin`: libraries that the experiment needs beside those it names itself.
    pub plugins: &'a [PathBuf],
}

/// How settings files were come by, which says whether the plugin libraries that they ask for are opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Chosen {
    /// The user named them, and so what they ask for.
    #[default]
    Named,
    /// They lay beside something that the user named. What they ask for is opened only if the user named it as well.
    Found,
}

/// What an experiment is when no file is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Base {
    /// The built-in experiment on digits.
    #[default]
    BuiltIn,
    /// The default of every setting.
    Defaults,
}

impl Experiment {
    /// Reads, merges and checks settings.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read; [`ErrorKind::UnknownName`] and [`ErrorKind::Settings`] for what does not fit,
    /// naming file and setting.
    pub fn load(sources: &Sources<'_>) -> Result<Self> {
        let mut value = to_value(&Self::default())?;
        match sources.files {
            [] if sources.base == Base::Defaults => {}
            [] => {
                merge(&mut value, Value::Object(parse(BUILT_IN)?), "").context(|| "the built-in experiment".into())?
            }
            files => lay_files(&mut value, files)?,
        }
        let found: Vec<PathBuf> = match sources.chosen {
            Chosen::Named => Vec::new(),
            Chosen::Found => value["plugins"].as_array().into_iter().flatten().filter_map(as_path).collect(),
        };
        // Before `--set`, which may change settings of this data set.
        if let Some(data) = sources.data {
            merge(&mut value, assignment(&format!("data.name={data}"))?, "")?;
        }
        for text in sources.set {
            merge(&mut value, assignment(text)?, "").context(|| format!("--set {text}"))?;
        }
        let mut experiment = Self::from_value(value)?;
        let [pretrain, finetune] = [&mut experiment.pretrain.teacher, &mut experiment.finetune.teacher];
        for file in [pretrain, finetune, &mut experiment.prune.latency_table].into_iter().flatten() {
            // A run may be resumed from another folder.
            *file = std::path::absolute(&*file).unwrap_or_else(|_| file.clone());
        }
        if let Some(dir) = sources.data_dir {
            experiment.data.dir = Some(dir.to_owned());
        }
        experiment.seed = sources.seed.unwrap_or(experiment.seed);
        experiment.plugins.extend_from_slice(sources.plugins);
        experiment.open_plugins(&found, sources.files.first().map_or(Path::new(""), PathBuf::as_path))?;
        experiment.network.architecture =
            architecture(&experiment.network.architecture).context(|| "setting `network.architecture`".into())?;
        experiment.check()?;
        Ok(experiment)
    }

    /// The same experiment with some settings changed, by their paths.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] and [`ErrorKind::Settings`] for what does not fit, naming the setting.
    pub fn changed<'a>(&self, settings: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Result<Self> {
        let mut value = to_value(self)?;
        for (path, given) in settings {
            merge(&mut value, at_path(path, given.clone()), "")?;
        }
        let mut experiment = Self::from_value(value)?;
        experiment.network.architecture =
            architecture(&experiment.network.architecture).context(|| "setting `network.architecture`".into())?;
        experiment.check()?;
        Ok(experiment)
    }

    /// Reads resolved settings, as a run directory keeps them.
    pub fn from_toml(text: &str) -> Result<Self> {
        let mut value = to_value(&Self::default())?;
        merge(&mut value, Value::Object(parse(text)?), "")?;
        Self::from_value(value)
    }

    /// The resolved settings as TOML.
    pub fn to_toml(&self) -> Result<String> {
        // TOML has no null: what is not set is left out.
        let mut value = to_value(self)?;
        drop_nulls(&mut value);
        // Tables that say nothing are left out.
        if self.grid == GridSettings::default() {
            value.as_object_mut().map(|table| table.shift_remove("grid"));
        }
        if self.prune.constraints == Constraints::default() {
            value["prune"].as_object_mut().map(|table| table.shift_remove("constraints"));
        }
        toml::to_string(&value)
            .map_err(|error| Error::new(ErrorKind::Settings, format!("the settings cannot be written: {error}")))
    }

    /// Opens the plugin libraries of settings that were found in a file which the user did not name, such as those of a run to go on
    /// with, and the libraries that the user named beside them.
    ///
    /// # Errors
    /// As `open_plugins`.
    pub fn open_found_plugins(&mut self, settings: &Path, named: &[PathBuf]) -> Result<()> {
        let found = std::mem::take(&mut self.plugins);
        self.plugins = [&found, named].concat();
        self.open_plugins(&found, settings)
    }

    /// Opens the plugin libraries of the experiment, whose paths then are absolute, each once. Those in `found` are what the file
    /// `settings` asks for, which the user did not name.
    ///
    /// # Errors
    /// As [`plugin_library::open_named`] and [`plugin_library::open_found`].
    fn open_plugins(&mut self, found: &[PathBuf], settings: &Path) -> Result<()> {
        let named = self.plugins.iter().filter(|path| !found.contains(path));
        let named = named.map(|path| plugin_library::open_named(path)).collect::<Result<Vec<_>>>()?;
        let found = plugin_library::open_found(found, settings)?;
        let mut paths: Vec<PathBuf> = Vec::new();
        for library in found.into_iter().chain(named) {
            if !paths.contains(&library.path) {
                paths.push(library.path.clone());
            }
        }
        self.plugins = paths;
        Ok(())
    }

    fn from_value(value: Value) -> Result<Self> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let (path, why) = (error.path().to_string(), error.inner().to_string());
            unknown_field(&path, &why)
                .unwrap_or_else(|| Error::new(ErrorKind::Settings, format!("setting `{path}`: {why}")))
        })
    }

    /// Checks every value and makes every plugin once, so that nothing is found wrong after hours of work.
    ///
    /// # Errors
    /// Names the setting, what was found and what was expected.
    pub fn check(&self) -> Result<()> {
        let wrong = |setting: &str, found: String, expected: &str| {
            Err(Error::new(ErrorKind::Settings, format!("setting `{setting}`: found {found}, expected {expected}")))
        };
        let prune = &self.prune;
        let rows = self.compare.iter().enumerate();
        let ratios = rows.filter_map(|(at, row)| Some((format!("compare[{at}].ratio"), row.ratio?)));
        for (setting, ratio) in [("prune.ratio".to_owned(), prune.ratio)].into_iter().chain(ratios) {
            if !(0.0..1.0).contains(&ratio) {
                return wrong(&setting, ratio.to_string(), "the share to remove, at least 0 and below 1");
            }
        }
        let largest = i64::MAX.unsigned_abs();
        let mut seeds = self.grid.seeds.iter().chain([&self.seed]).chain(&self.data.split_seed);
        if let Some(seed) = seeds.find(|seed| **seed > largest) {
            return wrong(
                "seed",
                seed.to_string(),
                &format!("a number up to {largest}, the largest that TOML can keep"),
            );
        }
        prune.constraints.check().context(|| "setting `prune.constraints`".into())?;
        if let Some(table) = prune.latency_table.as_ref().filter(|table| !table.is_file()) {
            return wrong("prune.latency_table", table.display().to_string(), "a table of layer times");
        }
        check_counts(&[
            ("data.train_images", self.data.train_images, 1..=MOST_IMAGES),
            ("prune.rounds", Some(prune.rounds), 1..=1000),
            ("evaluate.batch", Some(self.evaluate.batch), 1..=1_000_000),
            ("evaluate.images", self.evaluate.images, 1..=MOST_IMAGES),
            ("evaluate.curves", self.evaluate.curves, 0..=MOST_IMAGES),
        ])?;
        if self.evaluate.attacks.is_empty() {
            return wrong("evaluate.attacks", "an empty list".into(), "at least one attack");
        }
        let threat = &self.evaluate.threat;
        check_length("setting `evaluate.threat.epsilon`:", &threat.epsilon, threat.norm, None)?;
        if !(0.0..=0.5).contains(&self.data.holdout) {
            return wrong("data.holdout", self.data.holdout.to_string(), "a share from 0 to 0.5");
        }
        for (stage, settings) in [("pretrain", &self.pretrain), ("finetune", &self.finetune)] {
            settings.check(stage)?;
            if let Some(teacher) = settings.teacher.as_ref().filter(|teacher| !teacher.is_file()) {
                return wrong(
                    &format!("{stage}.teacher"),
                    teacher.display().to_string(),
                    "the file of a saved network",
                );
            }
        }
        let names: Vec<&String> = self.compare.iter().filter_map(|row| row.name.as_ref()).collect();
        if let Some((_, name)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return wrong("compare.name", format!("`{name}` twice"), "a name of its own for each row");
        }
        self.check_plugins()
    }

    fn check_plugins(&self) -> Result<()> {
        made::<dyn DataSource>("data.name", &self.data.name)?;
        made::<dyn Architecture>("network.architecture", &self.network.architecture)?;
        made::<dyn AdversarialTrainer>("pretrain.trainer", &self.pretrain.trainer)?;
        let (pretrain, untaught) = (&self.pretrain.trainer, self.pretrain.teacher.is_none());
        if untaught && pretrain.make::<dyn AdversarialTrainer>()?.needs_teacher() {
            return Err(missing_teacher(&pretrain.name).context("setting `pretrain.trainer`"));
        }
        for metric in &self.grid.metrics {
            made::<dyn SensitivityMetric>("grid.metrics", metric)?;
        }
        for attack in &self.evaluate.attacks {
            made::<dyn Attack>("evaluate.attacks", attack)?;
        }
        let Self { prune, finetune, .. } = self;
        made::<dyn SensitivityMetric>("prune.sensitivity", &prune.sensitivity)?;
        made::<dyn Criterion>("prune.criterion", &prune.criterion)?;
        made::<dyn Allocation>("prune.allocation", &prune.allocation)?;
        made::<dyn PruningSchedule>("prune.schedule", &prune.schedule)?;
        made::<dyn AdversarialTrainer>("finetune.trainer", &finetune.trainer)?;
        for (at, row) in self.compare.iter().enumerate() {
            made_if::<dyn SensitivityMetric>(at, "sensitivity", row.sensitivity.as_ref())?;
            made_if::<dyn Criterion>(at, "criterion", row.criterion.as_ref())?;
            made_if::<dyn Allocation>(at, "allocation", row.allocation.as_ref())?;
            made_if::<dyn PruningSchedule>(at, "schedule", row.schedule.as_ref())?;
            made_if::<dyn AdversarialTrainer>(at, "trainer", row.trainer.as_ref())?;
        }
        self.variants().iter().try_for_each(|variant| check_row_name(&variant.name))
    }
}

/// More images than any data set has.
const MOST_IMAGES: usize = 100_000_000;

/// A setting that counts, with the numbers that it may be.
pub(crate) type Count<'a> = (&'a str, Option<usize>, std::ops::RangeInclusive<usize>);

/// Refuses numbers that no run could come to an end with, or for which there is no memory.
pub(crate) fn check_counts(counts: &[Count<'_>]) -> Result<()> {
    for (setting, found, expected) in counts {
        if let Some(found) = found.filter(|found| !expected.contains(found)) {
            let (least, most) = (expected.start(), expected.end());
            let message = format!("setting `{setting}`: found {found}, expected {least} to {most}");
            return Err(Error::new(ErrorKind::Settings, message));
        }
    }
    Ok(())
}

/// Refuses names under which a run keeps something else: the dense networks, networks as cut, and those between rounds.
fn check_row_name(name: &str) -> Result<()> {
    let taken = ["dense", "dense-standard"].contains(&name) || name.ends_with(" cut") || name.contains(" round ");
    match taken || name.is_empty() {
        false => Ok(()),
        true => {
            let message =
                format!("setting `compare.name`: found `{name}`, expected a name that a run does not use itself");
            Err(Error::new(ErrorKind::Settings, message)
                .hint("`dense`, `dense-standard`, `... cut` and `... round N` are taken"))
        }
    }
}

fn as_path(value: &Value) -> Option<PathBuf> {
    value.as_str().map(PathBuf::from)
}

fn made<T: mrpf_api::registry::PluginKind + ?Sized>(setting: &str, choice: &PluginChoice) -> Result<()> {
    choice.make::<T>().map(drop).context(|| format!("setting `{setting}`"))
}

/// The same for what the row `at` of the comparison sets, if it does.
fn made_if<T: mrpf_api::registry::PluginKind + ?Sized>(
    at: usize,
    field: &str,
    choice: Option<&PluginChoice>,
) -> Result<()> {
    choice.map_or(Ok(()), |choice| made::<T>(&format!("compare[{at}].{field}"), choice))
}

/// What to say where serde found a field at `path` that is none, with the nearest of those that there are. In a list, settings are not
/// laid over others one by one, so that nothing else looks at their names.
fn unknown_field(path: &str, why: &str) -> Option<Error> {
    let mut quoted = why.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let field = quoted.next()?;
    let parent = path.strip_suffix(field)?;
    let known: Vec<String> = quoted.map(|known| format!("{parent}{known}")).collect();
    Some(Error::unknown_name("setting", path, known.iter().map(String::as_str)))
}

fn to_value(experiment: &Experiment) -> Result<Value> {
    serde_json::to_value(experiment)
        .map_err(|error| Error::new(ErrorKind::Settings, format!("the settings cannot be written: {error}")))
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(table) => {
            table.retain(|_, value| !value.is_null());
            table.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
