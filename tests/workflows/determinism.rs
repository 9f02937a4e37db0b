//! The same seed gives the same bytes, however the run went.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::support::{Playground, quick};

/// Every file of a run that must not differ, by its path.
fn lasting_files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files =
        BTreeMap::from([("results.json".to_owned(), std::fs::read(root.join("results.json")).expect("results"))]);
    for folder in ["networks", "sensitivity", "plans", "evaluation", "training"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")) {
            let path = entry.expect("an entry").path();
            let name = format!("{folder}/{}", path.file_name().expect("a name").to_string_lossy());
            files.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
    files
}

fn assert_same(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let differing: Vec<_> = a.iter().filter(|(name, bytes)| b[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(differing.is_empty(), "these differ: {differing:?}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_at_any_thread_count_and_another_seed_does_not() {
    let ground = Playground::new();
    ground.mrpf(&quick(&["run", "--threads", "1", "--out", "one"])).ok();
    ground.mrpf(&quick(&["run", "--threads", "2", "--out", "two"])).ok();
    let (one, two) = (lasting_files(&ground.path("one")), lasting_files(&ground.path("two")));
    assert!(one.contains_key("networks/mrs-l1-norm.safetensors") && one.len() > 20, "{:?}", one.keys());
    assert_same(&one, &two);
    ground.mrpf(&quick(&["train", "--seed", "1", "--out", "other"])).ok();
    let other = std::fs::read(ground.path("other/networks/dense.safetensors")).expect("a network");
    assert_ne!(other, one["networks/dense.safetensors"]);
}

#[test]
fn a_run_that_was_killed_again_and_again_equals_one_that_was_not() {
    let ground = Playground::new();
    let longer = ["--set", "pretrain.epochs=8"];
    let run = |out| quick(&["run", "--out", out]).into_iter().chain(longer).collect::<Vec<_>>();
    ground.mrpf(&run("whole")).ok();
    let resume = ["run", "--resume", "killed"];
    let kills = ground.killed_on_the_way(&run("killed"), &resume, [150, 60].map(Duration::from_millis), 6);
    assert!(kills >= 2, "killed {kills} times only");
    assert_same(&lasting_files(&ground.path("whole")), &lasting_files(&ground.path("killed")));
}
