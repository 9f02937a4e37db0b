//! TensorBoard reads the event files of a run, and finds in them what the run told.

use std::collections::BTreeMap;
use std::io::Write;

use crate::support::{Playground, Ran, quick, repository};

#[test]
fn tensorboard_reads_what_a_run_told() {
    let ground = Playground::new();
    ground.mrpf(&quick(&["run", "--out", "out"])).ok();
    let Some(python) = std::env::var_os("MRPF_TENSORBOARD") else {
        // Not by `println!`, which is only shown of tests that fail.
        let told = b"skipped: reading event files, as MRPF_TENSORBOARD names no Python with tensorboard\n";
        std::io::stderr().write_all(told).expect("stderr");
        return;
    };
    let mut command = std::process::Command::new(python);
    let script = repository("tests/fixtures/event_files.py");
    let output = command.arg(script).arg(ground.path("out/tensorboard")).output().expect("Python starts");
    let ran = Ran::new(&["event_files.py"], output).ok();
    let mut read: BTreeMap<(String, String), Vec<(u64, f64)>> = BTreeMap::new();
    for line in ran.stdout.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let points = serde_json::from_value(value["points"].clone()).expect("steps and values");
        read.insert((text(&value["run"]), text(&value["tag"])), points);
    }
    let mut told: BTreeMap<(String, String), Vec<(u64, f64)>> = BTreeMap::new();
    for line in ground.read("out/metrics.jsonl").lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        if event["event"] == "epoch" {
            for (tag, key) in [("loss/train", "loss"), ("accuracy/held-out robust", "holdout_robust")] {
                let point = (event["epoch"].as_u64().expect("an epoch"), event[key].as_f64().expect("a figure"));
                // Spaces in names of folders are written as plus signs.
                told.entry((text(&event["stage"]).replace(' ', "+"), tag.into())).or_default().push(point);
            }
        }
    }
    assert!(told.len() >= 8, "{:?}", told.keys());
    for (key, points) in told {
        let found = read.get(&key).unwrap_or_else(|| panic!("{key:?} is not among {:?}", read.keys()));
        let same = |(a, b): (&(u64, f64), &(u64, f64))| a.0 == b.0 && (a.1 - b.1).abs() <= 1e-6 * b.1.abs();
        assert!(found.len() == points.len() && found.iter().zip(&points).all(same), "{key:?}: {found:?}, {points:?}");
    }
    assert!(read.keys().any(|(run, tag)| run.starts_with("measure+mrs") && tag.starts_with("sensitivity/")));
    assert!(read.keys().any(|(_, tag)| tag == "test/robust in the end"));
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
