//! What `mrpf prune --dry-run` tells is what `mrpf prune` does; budgets of latency in a real run.

use crate::support::{Playground, quick};

const MODEL: &str = "dense/networks/dense.safetensors";

/// A dense network of the built-in experiment.
fn trained() -> Playground {
    let ground = Playground::new();
    ground.mrpf(&quick(&["train", "--out", "dense"])).ok();
    ground
}

fn forecast(ground: &Playground, arguments: &[&str]) -> serde_json::Value {
    let ran = ground.mrpf(&[&["prune", MODEL, "--dry-run", "--json"], arguments].concat()).ok();
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}

#[test]
fn what_is_told_is_what_is_done() {
    let ground = trained();
    let cases: [(&str, &[&str]); 3] = [
        ("a", &["--set", "prune.allocation=uniform", "--set", "prune.ratio=0.4"]),
        (
            "b",
            &[
                "--set",
                "prune.allocation=uniform",
                "--set",
                "prune.budget=bytes",
                "--set",
                "prune.constraints.multiple=2",
            ],
        ),
        (
            "c",
            &[
                "--set",
                "prune.allocation=uniform",
                "--set",
                "prune.budget=params",
                "--set",
                "prune.constraints.keep=layer1.*",
            ],
        ),
    ];
    for (out, arguments) in cases {
        let told = forecast(&ground, arguments);
        assert!(!ground.path("runs").exists(), "a dry run leaves nothing");
        assert_eq!(told["unknown"], serde_json::json!([]), "{told}");
        ground.mrpf(&[&["prune", MODEL, "--out", out], arguments].concat()).ok();
        let plan = ground.json(&format!("{out}/plans/l1-norm-uniform.json"));
        assert_eq!(told["before"], plan["dense"]);
        assert_eq!(told["after"], plan["pruned"]);
        assert_eq!(told["ratio_achieved"], plan["rounds"][0]["ratio_achieved"]);
        for layer in told["layers"].as_array().expect("layers") {
            let kept = plan["plan"]["keep"][layer["group"].as_str().expect("a group")].as_array().expect("a group");
            assert_eq!(layer["keep"], kept.len(), "{layer}");
        }
    }
    let whole = forecast(&ground, &["--set", "prune.allocation=uniform", "--set", "prune.constraints.keep=layer1.*"]);
    let layer =
        whole["layers"].as_array().expect("layers").iter().find(|layer| layer["layer"] == "layer1.0.conv1").cloned();
    assert_eq!(layer.map(|layer| layer["whole"].clone()), Some("the constraints leave it whole".into()));
}

#[test]
fn what_is_not_known_yet_is_said() {
    let ground = trained();
    let told = forecast(&ground, &[]);
    let unknown = "the sensitivities of `mrs` are not known yet: all groups are taken to be equally sensitive";
    assert_eq!(told["unknown"], serde_json::json!([unknown]));
    let told = forecast(&ground, &["--set", "prune.allocation=global"]);
    let unknown = "the scores of `l1-norm` are not known yet: all groups are taken to be scored alike";
    assert_eq!(told["unknown"], serde_json::json!([unknown]));
    ground.mrpf(&quick(&["sensitivity", MODEL, "--out", "s"])).ok();
    let told = forecast(&ground, &["--sensitivity", "s/sensitivity/mrs.json"]);
    assert_eq!(told["unknown"], serde_json::json!([]));
    let text = ground.mrpf(&["prune", MODEL, "--dry-run", "--latency"]).ok().stdout;
    for line in ["MACs", "parameters", "bytes", "latency", "budget", "not known"] {
        assert!(text.lines().any(|found| found.starts_with(line)), "`{line}` is not in\n{text}");
    }
    ground
        .mrpf(&["prune", MODEL, "--dry-run", "--set", "prune.constraints.keep=layer9*"])
        .fails(2, &["layer with channels"]);
}

#[test]
fn a_budget_of_latency_is_met_by_its_table_and_is_the_same_again() {
    let ground = trained();
    let latency = ["--set", "prune.budget=latency", "--set", "prune.allocation=uniform", "--set", "prune.ratio=0.2"];
    let first = ground.mrpf(&[&["prune", MODEL, "--out", "a"], &latency[..]].concat());
    if first.code != Some(0) {
        // On a network as small as this one most of the time may be no layer's: then that is the answer.
        first.fails(5, &["the budget asks to remove 20.0 % of the latency, at most"]);
        return;
    }
    let achieved = |out: &str| ground.json(&format!("{out}/plans/l1-norm-uniform.json"))["rounds"][0].clone();
    let table = ground.path("a/latency-table.json");
    let given = format!("prune.latency_table={}", table.display());
    ground.mrpf(&[&["prune", MODEL, "--out", "b", "--set", &given], &latency[..]].concat()).ok();
    assert_eq!(achieved("a"), achieved("b"));
    assert_eq!(ground.read("a/latency-table.json"), ground.read("b/latency-table.json"));
    let gone = achieved("a")["ratio_achieved"].as_f64().expect("a number");
    assert!((gone - 0.2).abs() <= 0.01 || achieved("a")["shortfall"].is_string(), "{gone}");
    ground.write("bad.json", "{}");
    ground
        .mrpf(&[&["prune", MODEL, "--out", "c", "--set", "prune.latency_table=bad.json"], &latency[..]].concat())
        .fails(3, &["is no table of layer times"]);
}
