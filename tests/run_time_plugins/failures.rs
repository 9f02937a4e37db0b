//! Panics, errors and wrong settings of a plugin that was accepted: the run stops with the plugin's name, what was done is kept.

use crate::crates::library;
use crate::support::{Playground, Ran, quick};

fn run(playground: &Playground, arguments: &[&str]) -> Ran {
    let library = library("fails-in-use").display().to_string();
    let mut all = vec!["run", "--out", "run", "--plugin", &library];
    all.extend_from_slice(arguments);
    playground.mrpf(&quick(&all))
}

#[test]
fn a_panic_in_a_step_stops_the_run_and_keeps_what_was_done() {
    let playground = Playground::new();
    let ran = run(&playground, &["--set", "finetune.trainer=failing-trainer"]);
    let told = "plugin `failing-trainer` (fails-in-use 0.1.0, libfails_in_use.so) failed with a panic: index 7 is out of range (at src/lib.rs:";
    let ran = ran.fails(6, &["finetune mrs-l1-norm: trainer `failing-trainer`, epoch 1 step 1: ", told]);
    assert_eq!(ran.stderr.lines().filter(|line| line.contains("index 7")).count(), 1, "told once: {}", ran.stderr);
    // The dense network, its attack, the sensitivities: everything before the panic is there, and the run can go on.
    for file in ["networks/dense.safetensors", "evaluation/dense.json", "sensitivity/mrs.json", "metrics.jsonl"] {
        assert!(playground.path("run").join(file).is_file(), "{file}");
    }
    let again = playground.mrpf(&["run", "--resume", "run"]);
    let again = again.fails(6, &["failed with a panic: index 7 is out of range"]);
    assert!(again.stdout.contains("train dense") && again.stdout.contains("done before"), "{}", again.stdout);
}

#[test]
fn rows_that_were_finished_are_in_the_results() {
    let playground = Playground::new();
    let library = library("fails-in-use");
    let experiment = format!(
        "name = \"half\"\nplugins = [{:?}]\nstandard_baseline = false\n[data]\nname = \"digits\"\n\
         [network]\narchitecture = {{ name = \"resnet\", depth = 8 }}\n[[compare]]\ncriterion = \"random\"\n\
         [[compare]]\ntrainer = \"failing-trainer\"\n",
        library.display().to_string()
    );
    playground.write("half.toml", &experiment);
    let ran = playground.mrpf(&quick(&["run", "half.toml", "--out", "run"]));
    ran.fails(6, &["plugin `failing-trainer` (fails-in-use 0.1.0, libfails_in_use.so) failed with a panic"]);
    let results = playground.json("run/results.json");
    let names: Vec<&str> =
        results["rows"].as_array().expect("rows").iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["dense", "mrs-l1-norm", "mrs-random"]);
    assert!(playground.read("run/report.md").contains("mrs-random"));
}

#[test]
fn a_panic_in_a_worker_thread_is_the_plugins_too() {
    let playground = Playground::new();
    let ran = run(
        &playground,
        &["--set", "pretrain.trainer=failing-trainer", "--set", "pretrain.trainer.way=panic-in-thread"],
    );
    ran.fails(6, &["plugin `failing-trainer`", "failed with a panic: worker 63 has nothing to do"]);
}

#[test]
fn a_panic_where_nothing_can_fail_is_an_error_all_the_same() {
    let playground = Playground::new();
    let ran = run(&playground, &["--set", "prune.schedule=failing-schedule"]);
    ran.fails(6, &["plugin `failing-schedule`", "failed with a panic: index 7 is out of range"]);
}

#[test]
fn an_error_keeps_its_kind_and_its_hint() {
    let playground = Playground::new();
    let ran = run(&playground, &["--set", "pretrain.trainer=failing-trainer", "--set", "pretrain.trainer.way=error"]);
    ran.fails(1, &["trainer `failing-trainer`, epoch 1 step 1: the inner problem has no solution", "hint: lower rho"]);
    let ran = playground.mrpf(&["plugins", "list"]);
    ran.ok();
}

#[test]
fn a_loss_that_is_no_number_is_told() {
    let playground = Playground::new();
    let ran = run(&playground, &["--set", "pretrain.trainer=failing-trainer", "--set", "pretrain.trainer.way=nan"]);
    ran.fails(1, &["trainer `failing-trainer`, epoch 1 step 1: the loss is NaN"]);
}

#[test]
fn settings_are_answered_as_those_of_built_in_plugins() {
    let playground = Playground::new();
    let ran = run(&playground, &["--set", "finetune.trainer=failing-trainer", "--set", "finetune.trainer.afterr=3"]);
    ran.fails(2, &["finetune.trainer", "trainer `failing-trainer`: unknown setting `afterr`", "did you mean `after`?"]);
    let ran = run(&playground, &["--set", "finetune.trainer=failing-trainer", "--set", "finetune.trainer.after=often"]);
    ran.fails(2, &["trainer `failing-trainer`: setting `after`: invalid type: string \"often\", expected usize"]);
    let ran = run(&playground, &["--set", "finetune.trainer=failing-trainr"]);
    ran.fails(2, &["unknown trainer `failing-trainr`", "did you mean `failing-trainer`?"]);
}
