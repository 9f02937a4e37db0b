//! `mrpf doctor`: what it says on a machine whose only device is the processor, and what it answers to devices that are not there.

use std::collections::BTreeSet;

use crate::support::{Playground, quick};

#[test]
fn the_doctor_finds_every_operation_right() {
    let report: serde_json::Value =
        serde_json::from_str(&Playground::new().mrpf(&["doctor", "--device", "cpu", "--json"]).ok().stdout)
            .expect("JSON");
    let tested = report["self_test"].as_array().expect("a list");
    let names: BTreeSet<&str> = tested.iter().filter_map(|tested| tested["operation"].as_str()).collect();
    for name in [
        "conv2d 3x3",
        "conv2d, depthwise",
        "batch_norm, training",
        "attention",
        "augment",
        "random numbers",
        "network, training step",
    ] {
        assert!(names.contains(name), "{names:?}");
    }
    assert_eq!(tested.len(), names.len(), "the processor alone is tried");
    for tested in tested {
        assert_eq!(tested["passed"], true, "{tested}");
        // f32 differs from f64, or nothing was compared.
        let [forward, gradients] = ["forward", "gradients"].map(|which| tested[which].as_f64().expect("a number"));
        assert!(forward < 1e-4 && gradients < 1e-4, "{tested}");
    }
    assert!(tested.iter().any(|tested| tested["gradients"].as_f64() > Some(0.0)));
    assert_eq!(report["device"]["opened"], "cpu");
    assert_eq!(report["build"]["candle"], "0.11.1");
    let rates = report["throughput"].as_array().expect("a list");
    assert!(!rates.is_empty() && rates.iter().all(|rate| rate["gflops"].as_f64() > Some(0.0)), "{rates:?}");
}

#[test]
fn the_report_for_people_has_every_part() {
    let told = Playground::new().mrpf(&["doctor", "--threads", "1"]).ok().stdout;
    let mut at = 0;
    for part in [
        "Built in\n",
        "Processor\n",
        "1 threads for computations",
        "NVIDIA GPUs\n",
        "Device tried: auto\n",
        "Self-test: f32 against f64",
        "right    output",
        "0 wrong (100.0 %)",
        "Throughput\n",
        "GFLOP/s",
        "Advice\n",
    ] {
        at += told[at..].find(part).unwrap_or_else(|| panic!("`{part}` is not where it should be:\n{told}"));
    }
}

/// A device that cannot be used is examined all the same: the report comes, then the error.
#[test]
#[cfg(not(feature = "cuda"))]
fn a_device_that_is_not_there_is_told_beside_the_report() {
    let ran = Playground::new().mrpf(&["doctor", "--device", "cuda:1"]);
    assert!(ran.stdout.contains("Device tried: cuda:1\n  cannot be used\n") && ran.stdout.contains("0 wrong"));
    ran.fails(7, &["--device cuda:1: this build of mrpf has no CUDA", "scripts/cuda/build.sh"]);
}

/// A run names its device, is told to have moved where it goes on on another, and goes on all the same.
#[test]
fn a_run_that_goes_on_on_another_device_says_so() {
    let ground = Playground::new();
    ground.mrpf(&quick(&["train", "--out", "run"])).ok();
    assert_eq!(ground.json("run/run.json")["device"], "cpu");
    let network = std::fs::read(ground.path("run/networks/dense.safetensors")).expect("a network");
    let moved = ground.read("run/run.json").replace("\"device\": \"cpu\"", "\"device\": \"cuda:0\"");
    ground.write("run/run.json", &moved);
    let told = ground.mrpf(&["train", "--resume", "run"]).ok();
    let told = format!("{}{}", told.stdout, told.stderr);
    assert!(told.contains("this run was started on cuda:0 and goes on on cpu"), "{told}");
    let provenance = ground.json("run/run.json");
    assert_eq!((&provenance["device"], &provenance["resumed"][0]["device"]), (&"cuda:0".into(), &"cpu".into()));
    assert!(network == std::fs::read(ground.path("run/networks/dense.safetensors")).expect("a network"));
    let again = ground.mrpf(&["train", "--resume", "run", "--device", "auto"]).ok();
    assert!(format!("{}{}", again.stdout, again.stderr).contains("--device auto: computing on the CPU, because"));
}

/// What is to be known of a device does not get between the lines of an answer.
#[test]
fn notes_stand_beside_answers() {
    let ran = Playground::new().mrpf(&[
        "bench",
        "--what",
        "forward",
        "--arch",
        "resnet8",
        "--batch",
        "1",
        "--steps",
        "1",
        "--tf32",
        "--precision",
        "bf16",
        "--json",
    ]);
    let ran = ran.ok();
    let line: serde_json::Value = serde_json::from_str(&ran.stdout).expect("one object");
    assert_eq!((&line["device"], &line["precision"]), (&"cpu".into(), &"f32".into()));
    assert!(
        ran.stderr.contains("warning: --precision bf16 changes nothing here: f32 is computed in"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("warning: --tf32 changes nothing on cpu"), "{}", ran.stderr);
}
