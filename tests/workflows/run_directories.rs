//! Run directories: who may go on in them, and when they are free again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::support::{Playground, quick};

/// Every file below `folder`, by its path, but the lock, which names the process that held it last.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if path.ends_with(".lock") => {}
            false => _ = found.insert(path.display().to_string(), std::fs::read(&path).expect("a file")),
        }
    }
    found
}

#[test]
fn a_command_goes_on_with_its_own_runs_only() {
    let ground = Playground::new();
    ground.mrpf(&quick(&["train", "--out", "trained"])).ok();
    ground.mrpf(&quick(&["prune", "trained/networks/dense.safetensors", "--out", "pruned"])).ok();
    let before = [files(&ground.path("trained")), files(&ground.path("pruned"))];
    let way = "`mrpf train --resume trained` does";
    ground.mrpf(&["run", "--resume", "trained"]).fails(2, &["trained was made by `mrpf train`", way]);
    ground.mrpf(&["finetune", "--resume", "trained"]).fails(2, &["`mrpf finetune` cannot go on with it", way]);
    ground
        .mrpf(&["train", "--resume", "pruned"])
        .fails(2, &["pruned was made by `mrpf prune`", "`mrpf prune` begins anew, with another --out"]);
    let taken = quick(&["prune", "trained/networks/dense.safetensors", "--out", "pruned"]);
    let told = ground.mrpf(&taken).fails(4, &["pruned holds a run already", "name another directory with --out"]);
    assert!(!told.stderr.contains("--resume"), "{}", told.stderr);
    assert!(before == [files(&ground.path("trained")), files(&ground.path("pruned"))], "nothing was touched");
}

#[test]
fn what_failed_at_once_can_be_repeated_into_the_same_directory() {
    let ground = Playground::new();
    let train = |data: &[&'static str]| {
        let arguments = quick(&["train", "--out", "run"]);
        ground.mrpf(&arguments.into_iter().chain(data.iter().copied()).collect::<Vec<_>>())
    };
    train(&["--data", "cifar10", "--data-dir", "."]).fails(3, &["cifar-10-batches-bin"]);
    assert!(ground.path("run/experiment.toml").is_file());
    train(&[]).ok();
    let events = ground.read("run/metrics.jsonl");
    assert_eq!(events.matches("\"run-started\"").count(), 1, "{events}");
    train(&[]).fails(4, &["run holds a run already", "`mrpf train --resume run`"]);
    // A damaged file is told with what to do, and that helps.
    let network = ground.path("run/networks/dense.safetensors");
    let whole = std::fs::read(&network).expect("a network");
    std::fs::write(&network, &whole[..whole.len() / 2]).expect("a file");
    ground
        .mrpf(&["train", "--resume", "run"])
        .fails(4, &["run/networks/dense.safetensors has changed since it was written", "remove the file"]);
    std::fs::remove_file(&network).expect("it is removed");
    ground.mrpf(&["train", "--resume", "run"]).ok();
    assert_eq!(std::fs::read(&network).expect("a network"), whole);
}

#[test]
fn a_fine_tuning_that_was_killed_again_and_again_equals_one_that_was_not() {
    let ground = Playground::new();
    ground.mrpf(&quick(&["train", "--out", "run"])).ok();
    std::fs::copy(ground.path("run/networks/dense.safetensors"), ground.path("dense.safetensors")).expect("a copy");
    let finetune = |out| {
        let longer = ["--data", "digits", "--set", "finetune.epochs=12"];
        quick(&["finetune", "dense.safetensors", "--out", out]).into_iter().chain(longer).collect::<Vec<_>>()
    };
    ground.mrpf(&finetune("whole")).ok();
    let resume = ["finetune", "--resume", "killed"];
    let kills = ground.killed_on_the_way(&finetune("killed"), &resume, [150, 60].map(Duration::from_millis), 6);
    assert!(kills >= 2, "killed {kills} times only");
    let network = |run: &str| std::fs::read(ground.path(&format!("{run}/networks/finetuned.safetensors"))).ok();
    assert!(network("whole").is_some() && network("whole") == network("killed"));
    assert_eq!(ground.json("whole/results.json"), ground.json("killed/results.json"));
    // Another network under the same name is not gone on with.
    std::fs::copy(ground.path("whole/networks/finetuned.safetensors"), ground.path("dense.safetensors"))
        .expect("a copy");
    ground.mrpf(&resume).fails(4, &["is not the network that the command was started with", "--out"]);
}
