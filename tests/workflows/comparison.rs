//! `mrpf compare`: shared stages, the same bytes however it went, and what is told of failures.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::Playground;

/// Two methods, two ratios, two seeds, in a few seconds.
pub(crate) const GRID: &str = r#"
extends = "built-in"
name = "small"
standard_baseline = false

[data]
train_images = 200

[network]
architecture = { width = 4 }

[pretrain]
trainer = { steps = 2 }
epochs = 2
validation = { steps = 2 }

[prune]
sensitivity = { images = 40, steps = 3 }

[finetune]
trainer = { steps = 2 }
epochs = 1
validation = { steps = 2 }

[evaluate]
attacks = [{ name = "pgd", steps = 3, step_size = 0.05 }]
images = 60

[[compare]]
name = "l1-norm-uniform"
criterion = "l1-norm"
allocation = "uniform"

[grid]
seeds = [0, 1]

[grid.vary]
"prune.ratio" = [0.3, 0.6]
"#;

/// Stages of that grid: training, attack on the dense network, MRS, and pruning and attack of eight networks.
const STAGES: usize = 3 + 2 * 8;

fn ground() -> Playground {
    let ground = Playground::new();
    ground.write("grid.toml", GRID);
    ground
}

/// The tables and pages of a comparison, by name.
fn tables(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(root).expect("a comparison") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("report.") || name.starts_with("results.") {
            files.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
    for name in ["report.html", "report.md", "report.tex", "results.csv", "results.json", "results.sqlite"] {
        assert!(files.contains_key(name), "{name} is not among {:?}", files.keys());
    }
    files
}

fn assert_same(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let differing: Vec<_> = a.iter().filter(|(name, bytes)| b[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(differing.is_empty(), "these differ: {differing:?}");
}

#[test]
fn the_same_grid_gives_the_same_tables_however_often_it_is_killed() {
    let ground = ground();
    let ran = ground.mrpf(&["compare", "grid.toml", "--jobs", "2", "--out", "whole"]).ok();
    assert!(ran.stdout.contains(&format!("{STAGES} stages computed, 0 there from before")), "{}", ran.stdout);
    let whole = tables(&ground.path("whole"));
    let rows = ground.json("whole/results.json")["rows"].as_array().map_or(0, Vec::len);
    assert!(rows >= 8, "{rows} rows");

    let arguments = ["compare", "grid.toml", "--jobs", "1", "--out", "killed"];
    let kills = ground.killed_on_the_way(&arguments, &arguments, [150, 150].map(Duration::from_millis), 5);
    assert!(kills >= 2, "killed {kills} times only");
    assert_same(&whole, &tables(&ground.path("killed")));

    // Once more, where everything is there.
    let again = ground.mrpf(&["compare", "grid.toml", "--out", "whole"]).ok();
    assert!(again.stdout.contains(&format!("0 stages computed, {STAGES} there from before")), "{}", again.stdout);
    assert_same(&whole, &tables(&ground.path("whole")));
}

#[test]
fn a_new_method_computes_only_what_is_new() {
    let ground = ground();
    ground.mrpf(&["compare", "grid.toml", "--out", "one"]).ok();
    ground.write("more.toml", &format!("{GRID}\n[[compare]]\ncriterion = \"random\"\nallocation = \"uniform\"\n"));
    let dry = ground.mrpf(&["compare", "more.toml", "--out", "one", "--dry-run"]).ok();
    assert!(dry.stdout.contains(&format!("12 pruned networks, {} stages, {STAGES} there from before", STAGES + 8)));
    let ran = ground.mrpf(&["compare", "more.toml", "--out", "one"]).ok();
    assert!(ran.stdout.contains(&format!("8 stages computed, {STAGES} there from before")), "{}", ran.stdout);
    // In an empty directory the tables are the same.
    ground.mrpf(&["compare", "more.toml", "--out", "anew"]).ok();
    assert_same(&tables(&ground.path("anew")), &tables(&ground.path("one")));
}

#[test]
fn a_method_that_fails_is_shown_with_its_reason_and_stops_no_other() {
    let ground = ground();
    let diverging = GRID.replace("\"prune.ratio\" = [0.3, 0.6]", "\"finetune.learning_rate.peak\" = [0.02, 1e30]");
    ground.write("grid.toml", &diverging);
    let ran = ground.mrpf(&["compare", "grid.toml", "--out", "out"]).fails(1, &["stages failed or could not begin"]);
    assert!(ran.stdout.contains("failed: prune l1-norm-uniform, peak 1e+30, seed 1"), "{}", ran.stdout);
    let report = ground.read("out/report.md");
    assert!(report.contains("the loss is NaN") && report.contains("lower learning_rate.peak"), "{report}");
    let results = ground.json("out/results.json");
    let pruned = |row: &&serde_json::Value| !row["criterion"].is_null();
    assert_eq!(results["rows"].as_array().expect("rows").iter().filter(pruned).count(), 4);
}

#[test]
fn a_dry_run_writes_nothing_and_tells_rows_and_time() {
    let ground = ground();
    let ran = ground.mrpf(&["compare", "grid.toml", "--out", "out", "--dry-run"]).ok();
    for text in [
        "8 pruned networks, 19 stages, 0 there from before",
        "l1-norm-uniform, ratio 0.3: ",
        "  MACs ",
        "  keeps conv1 ",
        "19 stages to compute: at most about ",
    ] {
        assert!(ran.stdout.contains(text), "`{text}` is not in\n{}", ran.stdout);
    }
    assert!(!ground.path("out").exists() && !ground.path("comparisons").exists());
}

#[test]
fn bad_input_is_answered() {
    let ground = ground();
    let changed = |from: &str, to: &str| ground.write("wrong.toml", &GRID.replace(from, to));
    let wrong = |code, texts: &[&str]| {
        ground.mrpf(&["compare", "wrong.toml", "--out", "wrong"]).fails(code, texts);
        assert!(!ground.path("wrong").exists(), "nothing is left behind");
    };
    changed("\"prune.ratio\"", "\"prune.ration\"");
    wrong(2, &["unknown setting `prune.ration`", "did you mean `prune.ratio`"]);
    changed("[0.3, 0.6]", "[0.3, 1.6]");
    wrong(2, &["prune.ratio", "1.6"]);
    changed("\"l1-norm\"", "\"l1-nrom\"");
    wrong(2, &["unknown criterion `l1-nrom`", "l1-norm"]);
    changed("seeds = [0, 1]", "seeds = [1, 1]");
    wrong(2, &["grid.seeds", "twice"]);
    ground.mrpf(&["compare", "absent.toml"]).fails(4, &["absent.toml"]);
    ground.mrpf(&["compare", "grid.toml", "--jobs", "0", "--out", "wrong"]).fails(2, &["--jobs 0"]);
    ground.mrpf(&["compare", "grid.toml", "--memory", "lots", "--out", "wrong"]).fails(2, &["expected a size"]);
    std::fs::create_dir(ground.path("mine")).expect("a folder");
    ground.write("mine/letter.txt", "dear");
    ground.mrpf(&["compare", "grid.toml", "--out", "mine"]).fails(4, &["is no comparison", "--out"]);
}

#[test]
fn two_at_once_do_not_disturb_each_other() {
    let ground = ground();
    let arguments = ["compare", "grid.toml", "--out", "out"];
    let mut first = ground.command(&arguments).stdout(std::process::Stdio::null()).spawn().expect("it starts");
    let start = Instant::now();
    while !ground.path("out/comparison.toml").is_file() {
        assert!(start.elapsed() < Duration::from_secs(60), "the first never began");
        std::thread::sleep(Duration::from_millis(5));
    }
    ground.mrpf(&arguments).fails(4, &["another mrpf is working in"]);
    assert!(first.wait().expect("it ends").success());
    tables(&ground.path("out"));
}
