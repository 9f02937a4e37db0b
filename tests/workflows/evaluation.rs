//! `mrpf evaluate`: what it leaves, and that an evaluation that is killed goes on without loss.

use crate::support::{Playground, quick};
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A directory with a saved network in it, `run/networks/dense.safetensors`.
fn trained() -> Playground {
    let ground = Playground::new();
    ground.mrpf(&quick(&["train", "--out", "run"])).ok();
    ground
}

const MODEL: &str = "run/networks/dense.safetensors";

#[test]
fn every_attack_radius_and_class_is_in_the_results() {
    let ground = trained();
    let ran = ground
        .mrpf(&[
            "evaluate",
            MODEL,
            "--attacks",
            "fgsm,pgd",
            "--epsilons",
            "8/255,0.031",
            "--images",
            "50",
            "--out",
            "e",
        ])
        .ok();
    for text in ["epsilon 8/255", "epsilon 0.031", "fgsm: ", "pgd: ", "images/s"] {
        assert!(ran.stdout.contains(text), "`{text}` is not in\n{}", ran.stdout);
    }
    let results = ground.json("e/results.json");
    let share = |value: &Value| value.as_f64().expect("a share");
    let clean = share(&results["clean_accuracy"]);
    for attack in ["fgsm", "pgd"] {
        for epsilon in ["8/255", "0.031"] {
            let found = &results["attacks"][attack][epsilon];
            let robust = share(&found["robust_accuracy"]);
            let interval = [&found["interval"][0], &found["interval"][1]].map(share);
            assert!(interval[0] <= robust && robust <= interval[1] && robust <= clean, "{found}");
            assert_eq!(found["images"], 50);
        }
    }
    assert!(results["signs"].is_array());
    let classes = results["classes"]["8/255"].as_array().expect("classes");
    assert_eq!(classes.iter().map(|class| class["images"].as_u64().expect("a count")).sum::<u64>(), 50);
    let curve = results["curves"]["8/255"]["epsilons"].as_array().expect("a curve");
    assert_eq!((share(&curve[0]["at"]), share(&curve[0]["robust_accuracy"])), (0.0, clean));
    assert_eq!(share(&curve[curve.len() - 1]["at"]), 0.5);
    // A row for each radius, as of a run.
    let rows = results["rows"].as_array().expect("rows");
    assert_eq!([&rows[0]["epsilon"], &rows[1]["epsilon"]], ["8/255", "0.031"]);
    let both = share(&rows[0]["robust_accuracy"]);
    assert!(both <= share(&results["attacks"]["pgd"]["8/255"]["robust_accuracy"]));
    for file in ["e/evaluation/epsilon+0.031.parquet", "e/evaluation/epsilon+0.031.json"] {
        assert!(ground.path(file).is_file(), "{file}");
    }
    let report = ground.read("e/report.md");
    for heading in
        ["## By attack", "## By class, radius 8/255", "## Curves, radius 0.031", "## Signs of false robustness"]
    {
        assert!(report.contains(heading), "{heading}");
    }
}

#[test]
fn a_killed_evaluation_goes_on_without_loss() {
    let ground = trained();
    let settings = [
        "--set",
        "evaluate.attacks=[{ name = \"pgd\", steps = 200, step_size = 0.01, restarts = 4 }]",
        "--set",
        "evaluate.batch=8",
        "--curves",
        "20",
        "--images",
        "360",
    ];
    let arguments = |out| [["evaluate", MODEL, "--out", out].as_slice(), &settings].concat();
    ground.mrpf(&arguments("whole")).ok();
    let kept = ["results.json", "evaluation/epsilon+0.1.json", "evaluation/epsilon+0.1.parquet"];
    let read = |folder: &str, file| std::fs::read(ground.path(folder).join(file)).expect("a file");

    let mut child = ground
        .command(&arguments("killed"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let journal = ground.path("killed/evaluation/epsilon+0.1.journal");
    let lines = || std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
    let start = Instant::now();
    while lines() < 4 {
        assert!(start.elapsed() < Duration::from_secs(120), "no batch has ended");
        assert!(child.try_wait().expect("it can be asked").is_none(), "it ended before it could be killed");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("it is killed");
    child.wait().expect("it ends");
    assert!(lines() >= 4 && !ground.path("killed/evaluation/epsilon+0.1.json").exists(), "it was killed in mid-attack");

    ground.mrpf(&["evaluate", "--resume", "killed"]).ok();
    for file in kept {
        assert!(read("killed", file) == read("whole", file), "{file} differs");
    }
    assert!(!journal.exists(), "what is done needs no journal");
    // Going on with what is complete computes nothing and says the same.
    ground.mrpf(&["evaluate", "--resume", "killed"]).ok();
    assert!(read("killed", "results.json") == read("whole", "results.json"));

    let other = ground.mrpf(&quick(&["train", "--out", "other", "--seed", "7"])).ok();
    drop(other);
    std::fs::copy(ground.path("other/networks/dense.safetensors"), ground.path(MODEL)).expect("a copy");
    ground
        .mrpf(&["evaluate", "--resume", "killed"])
        .fails(4, &["is not the network that the command was started with"]);
    ground
        .mrpf(&["evaluate", "--resume", "other"])
        .fails(2, &["other was made by `mrpf train`", "`mrpf train --resume other` does"]);
}

#[test]
fn what_cannot_be_attacked_is_said() {
    let ground = trained();
    let evaluate =
        |arguments: &[&str]| ground.mrpf(&[["evaluate", MODEL, "--out", "e"].as_slice(), arguments].concat());
    evaluate(&["--epsilons", "8/25x"]).fails(2, &["8/25x"]);
    evaluate(&["--epsilons=-0.1"]).fails(2, &["--epsilons -0.1, expected a length of at least 0"]);
    evaluate(&["--epsilons", "8/0"]).fails(2, &["8/0"]);
    evaluate(&["--attacks", "pdg"]).fails(2, &["pdg", "did you mean `pgd`"]);
    evaluate(&["--images", "0"]).fails(2, &["evaluate.images", "found 0"]);
    ground.mrpf(&["evaluate"]).fails(2, &["<MODEL>"]);
    ground.mrpf(&["evaluate", "--resume", "nowhere"]).fails(4, &["nowhere is no run directory"]);
    ground.mrpf(&["evaluate", MODEL, "--resume", "run"]).fails(2, &["cannot be used with"]);
    assert!(!ground.path("e").exists(), "nothing is made for what cannot be done");
}
