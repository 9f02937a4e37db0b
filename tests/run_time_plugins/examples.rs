//! The third-party crates of `examples/plugins`, built by the program and run end to end.

use crate::crates::library;
use crate::support::{Playground, quick};

const EXAMPLES: [&str; 3] = ["logit-pairing", "redundancy", "spectral-norm"];

#[test]
fn every_example_keeps_the_laws_of_its_kind() {
    let playground = Playground::new();
    for example in EXAMPLES {
        let ran = playground.mrpf(&["plugins", "check", &library(example).display().to_string()]).ok();
        assert!(ran.stdout.contains("  holds  ") && !ran.stdout.contains("BROKEN"), "{}", ran.stdout);
    }
}

#[test]
fn a_run_with_three_plugins_from_outside_compares_them_with_what_is_built_in() {
    let playground = Playground::new();
    let libraries = EXAMPLES.map(|example| library(example).display().to_string());
    let experiment = format!(
        "name = \"outside\"\nplugins = [{:?}, {:?}]\nstandard_baseline = false\n\
         [data]\nname = \"digits\"\n[[compare]]\ncriterion = \"redundancy\"\n[[compare]]\ncriterion = \"l1-norm\"\ntrainer = \"logit-pairing\"\n",
        libraries[0], libraries[1]
    );
    playground.write("outside.toml", &experiment);
    let mut arguments = vec!["run", "outside.toml", "--out", "run", "--plugin", &libraries[2]];
    arguments.extend(["--set", "prune.sensitivity=spectral-norm", "--set", "network.architecture.depth=8"]);
    let settings = quick(&arguments);
    // This experiment measures by a metric that looks at no image.
    let settings: Vec<&str> = settings
        .chunks(1)
        .map(|one| one[0])
        .map(|text| if text.starts_with("prune.sensitivity.images") { "prune.sensitivity.rounds=20" } else { text })
        .map(|text| if text.starts_with("prune.sensitivity.steps") { "prune.rounds=1" } else { text })
        .collect();
    let ran = playground.mrpf(&settings).ok();
    for (example, library) in EXAMPLES.iter().zip(&libraries) {
        assert!(ran.stdout.contains(&format!("plugin library {example} 0.1.0: {library}\n")), "{}", ran.stdout);
    }
    let results = playground.json("run/results.json");
    let rows: Vec<String> = results["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {} {}", text("name"), text("sensitivity"), text("criterion"), text("trainer"))
        })
        .collect();
    assert!(rows.iter().any(|row| row.contains("spectral-norm l1-norm trades")), "{rows:?}");
    assert!(rows.iter().any(|row| row.contains("spectral-norm redundancy trades")), "{rows:?}");
    assert!(rows.iter().any(|row| row.contains("spectral-norm l1-norm logit-pairing")), "{rows:?}");

    // The record names each library with its hash, and a later command finds them again by the run's own settings.
    let record = playground.json("run/run.json");
    let recorded: Vec<&str> = record["libraries"]
        .as_array()
        .expect("libraries")
        .iter()
        .filter_map(|library| library["package"].as_str())
        .collect();
    assert_eq!(recorded.len(), 3, "{recorded:?}");
    assert!(
        record["libraries"]
            .as_array()
            .is_some_and(|all| all.iter().all(|one| one["sha256"].as_str().map(str::len) == Some(64)))
    );
    playground.mrpf(&["run", "--resume", "run"]).ok();
    assert_eq!(playground.json("run/results.json"), results);
}
