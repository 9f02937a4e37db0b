//! The plan of a comparison: the stages that its cells need, each once, in an order in which every stage finds what it needs.

use mrpf_api::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

use super::findings::Place;
use super::grid::{Cell, Grid};
use super::stage::{Ground, Stage, Work, label};
use crate::experiment::PluginChoice;

/// Stages, and which of them each row is made of.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Every stage once, each after those that it needs.
    pub stages: Vec<Stage>,
    /// The dense networks.
    pub dense: Vec<PlannedDense>,
    /// The pruned networks, in the order of the grid.
    pub rows: Vec<PlannedRow>,
    /// Where each stage stands, by its key.
    places: BTreeMap<String, usize>,
    /// Where each dense network stands, by the stage that attacks it.
    dense_places: BTreeMap<String, usize>,
}

/// The stages of a dense network.
#[derive(Debug, Clone)]
pub struct PlannedDense {
    /// Those settings of the grid that it depends on.
    pub settings: BTreeMap<String, String>,
    /// Trains it.
    pub train: String,
    /// Attacks it.
    pub attack: String,
    /// Measure it, each with the name of its metric.
    pub measure: Vec<(String, String)>,
}

/// The stages of a pruned network.
#[derive(Debug, Clone)]
pub struct PlannedRow {
    /// Where it stands.
    pub cell: Cell,
    /// Which of [`Plan::dense`] it is cut from.
    pub dense: usize,
    /// Prunes and fine-tunes it.
    pub prune: String,
    /// Attacks it.
    pub attack: String,
}

impl Plan {
    /// The stages of a grid. `ground` gives the images and libraries of a cell.
    ///
    /// # Errors
    /// As [`Stage::train`], and unknown allocations.
    pub fn new(grid: &Grid, ground: &dyn Fn(&Cell) -> Result<Ground>) -> Result<Self> {
        let mut plan = Self::default();
        for cell in &grid.cells {
            plan.add(cell, &ground(cell)?)?;
        }
        plan.settings_of_dense(grid);
        plan.name_dense();
        Ok(plan)
    }

    /// A plan of stages alone.
    #[cfg(test)]
    pub(super) fn of_stages(stages: impl IntoIterator<Item = Stage>) -> Self {
        let mut plan = Self::default();
        for stage in stages {
            let name = stage.name.clone();
            plan.put(stage, || name);
        }
        plan
    }

    fn add(&mut self, cell: &Cell, ground: &Ground) -> Result<()> {
        let train = Stage::train(cell, ground)?;
        let attack = Stage::attack(cell, &train, ground);
        let dense = match self.dense_places.get(&attack.key) {
            Some(at) => *at,
            None => {
                self.dense_places.insert(attack.key.clone(), self.dense.len());
                self.dense.push(PlannedDense {
                    settings: BTreeMap::new(),
                    train: train.key.clone(),
                    attack: attack.key.clone(),
                    measure: Vec::new(),
                });
                self.put(train.clone(), String::new);
                self.put(attack, String::new);
                self.dense.len() - 1
            }
        };
        let own = cell.variant.needs_sensitivity()?.then_some(&cell.variant.prune.sensitivity);
        let sensitivity = own.map(|metric| self.measure(cell, metric, dense, &train, ground));
        for metric in &cell.experiment.grid.metrics {
            self.measure(cell, metric, dense, &train, ground);
        }
        let times = Stage::time(cell, &train, ground)?;
        if let Some(times) = &times {
            self.put(times.clone(), || "time layers".into());
        }
        let prune = Stage::prune(cell, &train, sensitivity.as_ref(), times.as_ref(), ground)?;
        let attack = Stage::attack(cell, &prune, ground);
        let row = PlannedRow { cell: cell.clone(), dense, prune: prune.key.clone(), attack: attack.key.clone() };
        let about = cell.place.to_string();
        self.put(prune, || format!("prune {about}"));
        self.put(attack, || format!("attack {about}"));
        self.rows.push(row);
        Ok(())
    }

    fn measure(&mut self, cell: &Cell, metric: &PluginChoice, dense: usize, train: &Stage, ground: &Ground) -> Stage {
        let stage = Stage::measure(cell, metric, train, ground);
        let metric = label(metric);
        let known = &mut self.dense[dense].measure;
        if !known.iter().any(|(_, key)| *key == stage.key) {
            known.push((metric.clone(), stage.key.clone()));
        }
        self.put(stage.clone(), || format!("measure {metric}"));
        stage
    }

    fn put(&mut self, stage: Stage, name: impl FnOnce() -> String) {
        if !self.places.contains_key(&stage.key) {
            self.places.insert(stage.key.clone(), self.stages.len());
            self.stages.push(Stage { name: name(), ..stage });
        }
    }

    /// A dense network depends on the settings whose value is the same for all its rows, and not for all rows.
    fn settings_of_dense(&mut self, grid: &Grid) {
        let mut rows: Vec<Vec<&PlannedRow>> = vec![Vec::new(); self.dense.len()];
        self.rows.iter().for_each(|row| rows[row.dense].push(row));
        for (dense, rows) in self.dense.iter_mut().zip(rows) {
            for axis in grid.axes.iter().filter(|axis| axis.values.len() > 1) {
                let mut values = rows.iter().filter_map(|row| row.cell.place.settings.get(&axis.setting));
                let Some(first) = values.next() else { continue };
                if values.all(|value| value == first) {
                    dense.settings.insert(axis.setting.clone(), first.clone());
                }
            }
        }
    }

    fn name_dense(&mut self) {
        let several = self.dense.len() > 1;
        let seed = |plan: &Self, key: &str| plan.stage(key).map(|stage| stage.experiment.seed);
        let mut seeds = self.dense.iter().map(|dense| seed(self, &dense.train));
        let first = seeds.next().flatten();
        let by_seed = seeds.any(|other| other != first);
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        // Of several attacks on one dense network the last one names what they share.
        let mut trained: BTreeMap<&str, &PlannedDense> = BTreeMap::new();
        let about = |dense: &PlannedDense, stage: &Stage| {
            let mut about = Place::settings_text(&dense.settings);
            if several && by_seed {
                about.push_str(&format!(", seed {}", stage.experiment.seed));
            }
            about
        };
        for dense in &self.dense {
            trained.insert(&dense.train, dense);
            if let Some(stage) = self.stage(&dense.train) {
                names.insert(stage.key.clone(), format!("train dense{}", about(dense, stage)));
            }
            if let Some(stage) = self.stage(&dense.attack) {
                names.insert(stage.key.clone(), format!("attack dense{}", about(dense, stage)));
            }
        }
        for stage in &self.stages {
            if let Work::Measure { dense: of } | Work::Time { dense: of } = &stage.work
                && let Some(dense) = trained.get(of.as_str())
            {
                names.insert(stage.key.clone(), format!("{}{}", stage.name, about(dense, stage)));
            }
        }
        for stage in &mut self.stages {
            if let Some(name) = names.remove(&stage.key) {
                stage.name = name;
            }
        }
    }

    /// A stage by its key.
    pub fn stage(&self, key: &str) -> Option<&Stage> {
        self.places.get(key).and_then(|&at| self.stages.get(at))
    }
}

/// What to say of a stage that is not planned.
pub(super) fn no_stage(key: &str) -> Error {
    Error::new(ErrorKind::Checkpoint, format!("the plan has no stage {key}"))
}

impl Place {
    /// `, ratio 0.5, trainer trades`; empty when nothing is varied. The last word of a path stands for it.
    pub fn settings_text(settings: &BTreeMap<String, String>) -> String {
        let each =
            settings.iter().map(|(path, value)| format!(", {} {value}", path.rsplit('.').next().unwrap_or(path)));
        each.collect()
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}, seed {}", self.method, Self::settings_text(&self.settings), self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{BUILT_IN, Experiment, Pretraining};
    use mrpf_api::budget::BudgetKind;
    use serde_json::json;

    fn plan(change: impl FnOnce(&mut Experiment)) -> Result<Plan> {
        plan_on("cpu", change)
    }

    fn plan_on(device: &str, change: impl FnOnce(&mut Experiment)) -> Result<Plan> {
        let mut experiment = Experiment::from_toml(BUILT_IN)?;
        change(&mut experiment);
        let ground = Ground { data: "images".into(), libraries: Vec::new(), device: device.into() };
        Plan::new(&Grid::new(&experiment)?, &|_| Ok(ground.clone()))
    }

    fn count(plan: &Plan, of: fn(&Work) -> bool) -> usize {
        plan.stages.iter().filter(|stage| of(&stage.work)).count()
    }

    #[test]
    fn what_is_shared_is_computed_once() -> Result<()> {
        let plan = plan(|experiment| {
            experiment.grid.vary.insert("prune.ratio".into(), vec![json!(0.5), json!(0.7)]);
            experiment.grid.seeds = vec![0, 1];
        })?;
        assert_eq!(plan.rows.len(), 3 * 2 * 2);
        assert_eq!(count(&plan, |work| matches!(work, Work::Train)), 1);
        assert_eq!(count(&plan, |work| matches!(work, Work::Measure { .. })), 1);
        assert_eq!(count(&plan, |work| matches!(work, Work::Prune { .. })), 12);
        assert_eq!(count(&plan, |work| matches!(work, Work::Attack { .. })), 13);
        for (at, stage) in plan.stages.iter().enumerate() {
            let earlier = |key: &String| plan.stages[..at].iter().any(|stage| stage.key == *key);
            assert!(stage.work.needs().all(earlier), "{}", stage.name);
        }
        let names: Vec<&str> = plan.stages.iter().take(5).map(|stage| stage.name.as_str()).collect();
        let first = ["train dense", "attack dense", "measure mrs (images 256, attack_step_size 0.025, epsilon 0.1)"];
        assert_eq!(names[..3], first);
        assert_eq!(names[3], "prune mrs-l1-norm, ratio 0.5, seed 0");
        Ok(())
    }

    #[test]
    fn ten_thousand_cells_are_planned_in_seconds() -> Result<()> {
        for pretraining in [Pretraining::Shared, Pretraining::PerSeed] {
            let start = std::time::Instant::now();
            let plan = plan(|experiment| {
                experiment.grid.seeds = (0..3400).collect();
                experiment.grid.pretraining = pretraining;
            })?;
            assert_eq!(plan.rows.len(), 3 * 3400);
            assert!(plan.rows.iter().all(|row| plan.stage(&row.prune).is_some()));
            // A tenth of this where the machine does nothing else; what grows with the square takes minutes.
            let seconds = start.elapsed().as_secs_f64();
            assert!(seconds < 40.0, "{seconds:.1} s for {pretraining:?}");
        }
        Ok(())
    }

    #[test]
    fn metrics_are_measured_once_whoever_asks() -> Result<()> {
        let measured = |metrics: &[&str]| -> Result<Vec<String>> {
            let plan = plan(|experiment| {
                experiment.grid.metrics = metrics.iter().map(|name| PluginChoice::named(name)).collect();
                if metrics.contains(&"mrs") {
                    experiment.grid.metrics[0] = experiment.prune.sensitivity.clone();
                }
            })?;
            Ok(plan.dense[0]
                .measure
                .iter()
                .map(|(metric, _)| metric.split(' ').next().unwrap_or_default().to_owned())
                .collect())
        };
        assert_eq!(measured(&[])?, ["mrs"]);
        assert_eq!(measured(&["mrs"])?, ["mrs"], "the method's own");
        assert_eq!(measured(&["mrc", "clean-sensitivity"])?, ["mrs", "mrc", "clean-sensitivity"]);
        Ok(())
    }

    #[test]
    fn a_dense_network_says_which_settings_it_depends_on() -> Result<()> {
        let plan = plan(|experiment| {
            experiment.grid.vary.insert("network.architecture".into(), vec![json!("resnet-8"), json!("resnet-14")]);
            experiment.grid.vary.insert("prune.ratio".into(), vec![json!(0.5), json!(0.7)]);
        })?;
        let settings: Vec<_> = plan.dense.iter().map(|dense| dense.settings.clone()).collect();
        let of = |value: &str| BTreeMap::from([("network.architecture".to_owned(), value.to_owned())]);
        assert_eq!(settings, [of("resnet-8"), of("resnet-14")]);
        assert_eq!(plan.stages[0].name, "train dense, architecture resnet-8");
        Ok(())
    }

    #[test]
    fn only_what_a_result_depends_on_is_in_its_key() -> Result<()> {
        let keys = |change: fn(&mut Experiment)| -> Result<Vec<String>> {
            Ok(plan(change)?.stages.into_iter().map(|stage| stage.key).collect())
        };
        let same = keys(|_| {})?;
        assert_eq!(same, keys(|experiment| experiment.name = "other".into())?);
        assert_eq!(same, keys(|experiment| experiment.data.dir = Some("/elsewhere".into()))?);
        assert_eq!(same, keys(|experiment| experiment.evaluate.batch = 7)?);
        let evaluated = keys(|experiment| experiment.evaluate.images = Some(50))?;
        let kept = same.iter().filter(|key| evaluated.contains(key)).count();
        assert_eq!(kept, same.iter().filter(|key| !key.starts_with("attack")).count());
        let tuned = keys(|experiment| experiment.finetune.epochs += 1)?;
        assert!(same.iter().all(|key| tuned.contains(key) != (key.starts_with("prune") || !known_dense(key, &same))));
        Ok(())
    }

    #[test]
    fn only_times_belong_to_a_device() -> Result<()> {
        let keys = |device: &str, budget: BudgetKind| -> Result<Vec<String>> {
            let change = |experiment: &mut Experiment| experiment.prune.budget = budget;
            Ok(plan_on(device, change)?.stages.into_iter().map(|stage| stage.key).collect())
        };
        assert_eq!(keys("cpu", BudgetKind::Macs)?, keys("cuda:0", BudgetKind::Macs)?);
        let [cpu, gpu] = [keys("cpu", BudgetKind::Latency)?, keys("cuda:0", BudgetKind::Latency)?];
        assert_eq!(cpu.len(), gpu.len());
        assert!(cpu.iter().any(|key| key.starts_with("time")));
        for (cpu, gpu) in cpu.iter().zip(&gpu) {
            let is_dense = ["train", "measure"].iter().any(|kind| cpu.starts_with(kind));
            assert!(cpu != gpu || is_dense || cpu.starts_with("attack"), "{cpu} {gpu}");
            assert!(cpu == gpu || !is_dense, "{cpu} {gpu}");
        }
        Ok(())
    }

    /// The attack on the dense network stands second in the plan; all others are attacks on pruned ones.
    fn known_dense(key: &str, keys: &[String]) -> bool {
        !key.starts_with("attack") || keys[1] == key
    }
}
