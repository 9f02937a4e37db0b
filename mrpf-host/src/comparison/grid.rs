//! The grid: every combination of the varied settings, with every method and every seed.

use mrpf_api::{Context, Error, ErrorKind, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use super::findings::{Axis, Place};
use crate::experiment::{Experiment, PluginChoice, Pretraining, Repeated, Variant};

/// Settings that the grid cannot vary, with what to do in place of that.
const FIXED: [(&str, &str); 5] = [
    ("seed", "`grid.seeds` lists the seeds"),
    ("compare", "each method is a [[compare]] table of its own"),
    ("grid", "a grid has no grid in it"),
    ("plugins", "all runs use the same libraries; methods choose among their plugins"),
    ("name", "rows are named by what is varied"),
];

/// What is computed: one cell for each pruned network.
#[derive(Debug, Clone)]
pub struct Grid {
    /// What is varied.
    pub axes: Vec<Axis>,
    /// The methods, in their order.
    pub methods: Vec<String>,
    /// Settings by settings, methods in them, seeds in those.
    pub cells: Vec<Cell>,
    /// What its user may not expect: methods that are left out somewhere, and those that a varied setting does not change.
    pub notes: Vec<String>,
}

/// One pruned network of the grid.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Where it stands.
    pub place: Place,
    /// The experiment with the settings of this place; its seed is that of the dense network.
    pub experiment: Experiment,
    /// How it is pruned and fine-tuned.
    pub variant: Variant,
}

impl Grid {
    /// The grid of an experiment. A method that is the same as an earlier one at the same settings is left out there.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] and [`ErrorKind::UnknownName`] for settings that cannot be varied, or not to such a value.
    pub fn new(experiment: &Experiment) -> Result<Self> {
        let vary = &experiment.grid.vary;
        for (setting, values) in vary {
            check_axis(setting, values)?;
        }
        let seeds = seeds(experiment)?;
        let mut grid = Self { axes: Vec::new(), methods: Vec::new(), cells: Vec::new(), notes: unchanged(experiment) };
        let mut left_out: BTreeMap<Repeated, Vec<String>> = BTreeMap::new();
        grid.axes.extend(
            vary.iter()
                .map(|(setting, values)| Axis { setting: setting.clone(), values: values.iter().map(shown).collect() }),
        );
        for combination in combinations(vary) {
            let given = || combination.iter().map(|(path, value)| (path.as_str(), *value));
            let changed = experiment.changed(given()).context(|| "setting `grid.vary`".into())?;
            let settings: BTreeMap<String, String> =
                given().map(|(path, value)| (path.to_owned(), shown(value))).collect();
            let (variants, repeated) = changed.variants_and_repeated();
            // A cell is no grid: with its lists in every cell, a grid of n seeds would take n * n of memory.
            let mut changed = changed;
            (changed.grid.vary, changed.grid.seeds, changed.compare) = (BTreeMap::new(), Vec::new(), Vec::new());
            for repeated in repeated {
                left_out.entry(repeated).or_default().push(Place::settings_text(&settings));
            }
            for variant in variants {
                if !grid.methods.contains(&variant.name) {
                    grid.methods.push(variant.name.clone());
                }
                for &seed in &seeds {
                    let mut experiment = changed.clone();
                    experiment.seed = match experiment.grid.pretraining {
                        Pretraining::Shared => experiment.seed,
                        Pretraining::PerSeed => seed,
                    };
                    let place = Place { settings: settings.clone(), method: variant.name.clone(), seed };
                    grid.cells.push(Cell { place, experiment, variant: variant.clone() });
                }
            }
        }
        grid.notes.extend(left_out.into_iter().map(|(Repeated { row, first }, places)| {
            let places: Vec<&str> = places.iter().map(|place| place.trim_start_matches(", ")).collect();
            match places.iter().all(|place| place.is_empty()) {
                true => format!("`{row}` prunes and fine-tunes as `{first}` does, and is left out"),
                false => format!(
                    "`{row}` prunes and fine-tunes as `{first}` does, and is left out, at {}",
                    places.join("; ")
                ),
            }
        }));
        Ok(grid)
    }
}

/// A sentence for each method and varied setting that does not change it.
fn unchanged(experiment: &Experiment) -> Vec<String> {
    let of_axis = |(path, values): (&String, &Vec<Value>)| {
        let rows = if values.len() > 1 { experiment.rows_that_set(path) } else { Vec::new() };
        let path = path.clone();
        rows.into_iter().map(move |row| {
            format!(
                "`{row}` has its own in place of `{path}`, which is varied: it is the same network under every value"
            )
        })
    };
    experiment.grid.vary.iter().flat_map(of_axis).collect()
}

fn check_axis(setting: &str, values: &[Value]) -> Result<()> {
    let first = setting.split('.').next().unwrap_or_default();
    if let Some((_, instead)) = FIXED.iter().find(|(fixed, _)| *fixed == first) {
        let message = format!("setting `grid.vary`: `{setting}` cannot be varied");
        return Err(Error::new(ErrorKind::Settings, message).hint(*instead));
    }
    if values.is_empty() {
        let message = format!("setting `grid.vary.{setting}`: found an empty list, expected the values to compare");
        return Err(Error::new(ErrorKind::Settings, message));
    }
    let mut known = BTreeSet::new();
    match values.iter().find(|value| !known.insert(value.to_string())) {
        None => Ok(()),
        Some(value) => {
            let message = format!("setting `grid.vary.{setting}`: found {} twice", shown(value));
            Err(Error::new(ErrorKind::Settings, message).hint("to repeat a run, give more seeds in `grid.seeds`"))
        }
    }
}

fn seeds(experiment: &Experiment) -> Result<Vec<u64>> {
    let seeds = &experiment.grid.seeds;
    let mut known = BTreeSet::new();
    if let Some(seed) = seeds.iter().find(|seed| !known.insert(**seed)) {
        let message = format!("setting `grid.seeds`: found {seed} twice, expected different seeds");
        return Err(Error::new(ErrorKind::Settings, message));
    }
    Ok(if seeds.is_empty() { vec![experiment.seed] } else { seeds.clone() })
}

/// All combinations, the last setting changing fastest.
fn combinations(vary: &BTreeMap<String, Vec<Value>>) -> Vec<Vec<(&String, &Value)>> {
    vary.iter().fold(vec![Vec::new()], |combinations, (setting, values)| {
        let extended = combinations.iter().flat_map(|before| {
            values.iter().map(move |value| before.iter().copied().chain([(setting, value)]).collect())
        });
        extended.collect()
    })
}

/// A value as people read it: `0.5`, `trades`, `trades (beta 3)`.
fn shown(value: &Value) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match PluginChoice::from_value(value.clone()) {
        Ok(choice) if value.is_object() && !choice.settings.is_empty() => {
            let settings = choice.settings.iter().map(|(key, value)| format!("{key} {}", plain(value)));
            format!("{} ({})", choice.name, settings.collect::<Vec<_>>().join(", "))
        }
        Ok(choice) => choice.name,
        Err(_) => plain(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn experiment(vary: &[(&str, Value)], seeds: &[u64]) -> Result<Experiment> {
        let mut experiment = Experiment::from_toml(crate::experiment::BUILT_IN)?;
        for (setting, values) in vary {
            experiment.grid.vary.insert((*setting).to_owned(), values.as_array().cloned().unwrap_or_default());
        }
        experiment.grid.seeds = seeds.to_vec();
        Ok(experiment)
    }

    #[test]
    fn every_combination_has_every_method_and_every_seed() -> Result<()> {
        let vary = [
            ("prune.ratio", json!([0.5, 0.7])),
            ("finetune.trainer", json!(["pgd-at", {"name": "trades", "beta": 3}])),
        ];
        let grid = Grid::new(&experiment(&vary, &[0, 4])?)?;
        assert_eq!(grid.methods, ["mrs-l1-norm", "l1-norm-uniform", "random-uniform"]);
        assert_eq!(grid.cells.len(), 2 * 2 * 3 * 2);
        let first = &grid.cells[0];
        assert_eq!((first.place.seed, first.place.settings["finetune.trainer"].as_str()), (0, "pgd-at"));
        let last = &grid.cells[grid.cells.len() - 1];
        assert_eq!(last.place.settings["finetune.trainer"], "trades (beta 3)");
        assert_eq!((last.variant.prune.ratio, last.place.seed, last.experiment.seed), (0.7, 4, 0));
        Ok(())
    }

    #[test]
    fn each_seed_may_have_its_own_dense_network() -> Result<()> {
        let mut experiment = experiment(&[], &[1, 2])?;
        experiment.grid.pretraining = Pretraining::PerSeed;
        let grid = Grid::new(&experiment)?;
        assert!(grid.cells.iter().all(|cell| cell.experiment.seed == cell.place.seed));
        Ok(())
    }

    #[test]
    fn a_setting_that_makes_two_methods_the_same_leaves_one_of_them() -> Result<()> {
        let grid = Grid::new(&experiment(&[("prune.allocation", json!(["sensitivity", "uniform"]))], &[])?)?;
        let of = |allocation: &str| {
            grid.cells.iter().filter(|cell| cell.place.settings["prune.allocation"] == allocation).count()
        };
        assert_eq!((of("sensitivity"), of("uniform")), (3, 2));
        assert_eq!(
            grid.notes,
            [
                "`l1-norm-uniform` has its own in place of `prune.allocation`, which is varied: it is the same network under every value",
                "`random-uniform` has its own in place of `prune.allocation`, which is varied: it is the same network under every value",
            ]
        );
        Ok(())
    }

    #[test]
    fn what_cannot_be_varied_is_answered() -> Result<()> {
        for (setting, values, message) in [
            ("seed", json!([1, 2]), "setting `grid.vary`: `seed` cannot be varied"),
            ("prune.ratio", json!([]), "found an empty list"),
            ("prune.ratio", json!([0.5, 0.5]), "found 0.5 twice"),
            ("prune.ration", json!([0.5]), "unknown setting `prune.ration`"),
            ("prune.criterion", json!(["l1-nrom"]), "unknown criterion `l1-nrom`"),
            ("prune.ratio", json!([1.5]), "setting `prune.ratio`: found 1.5"),
        ] {
            let error = Grid::new(&experiment(&[(setting, values)], &[])?).map(drop).expect_err(setting);
            assert!(error.to_string().contains(message), "{error}");
        }
        assert!(Grid::new(&experiment(&[], &[3, 3])?).is_err());
        Ok(())
    }
}
