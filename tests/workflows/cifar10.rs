//! Real CIFAR-10 images, which lie outside the repository for those who develop it.

use crate::support::{Playground, repository};

#[test]
fn the_cifar10_experiment_runs_on_real_images() {
    let data = repository("../shared/data/cifar10");
    if !data.is_dir() {
        println!("skipped: {} is not there", data.display());
        return;
    }
    let ground = Playground::new();
    let experiment = repository("examples/cifar10.toml");
    let (experiment, data) = (experiment.to_string_lossy(), data.to_string_lossy());
    // The whole experiment takes longer than a test should; fewer images and steps go the same way.
    let ran = ground.mrpf(&[
        "run",
        &experiment,
        "--data-dir",
        &data,
        "--out",
        "out",
        "--set",
        "data.train_images=120",
        "--set",
        "pretrain.epochs=1",
        "--set",
        "pretrain.trainer.steps=1",
        "--set",
        "pretrain.validation.steps=1",
        "--set",
        "prune.sensitivity.images=20",
        "--set",
        "prune.sensitivity.steps=1",
        "--set",
        "prune.sensitivity.attack_steps=1",
        "--set",
        "finetune.epochs=1",
        "--set",
        "finetune.trainer.steps=1",
        "--set",
        "finetune.validation.steps=1",
        "--set",
        "evaluate.images=20",
    ]);
    let ran = ran.ok();
    assert!(ran.stdout.contains("3x32x32, 10 classes") && ran.stdout.contains("272.5 k parameters"), "{}", ran.stdout);
    let rows = ground.json("out/results.json")["rows"].clone();
    for row in rows.as_array().expect("rows").iter().skip(1) {
        let achieved = row["ratio_achieved"].as_f64().expect("a ratio");
        assert!((achieved - 0.5).abs() <= 0.01, "{row}");
    }
}
