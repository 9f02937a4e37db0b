//! A plugin must not pass for the program: by printing among its output, or by ending the process as if all were done.

use serde_json::Value;

use crate::crates::library;
use crate::support::{Playground, Ran, quick};

fn pruned(playground: &Playground, way: &str) -> Ran {
    let library = library("acts-when-opened").display().to_string();
    let way = format!("prune.criterion.way={way}");
    let arguments =
        ["run", "--json", "--out", "run", "--plugin", &library, "--set", "prune.criterion=acting", "--set", &way];
    let arguments = quick(&arguments);
    let mut command = playground.command(&arguments);
    Ran::new(&arguments, command.env("MRPF_TEST_ACT", "print").output().expect("it starts"))
}

#[test]
fn what_a_plugin_prints_stays_out_of_the_output() {
    let playground = Playground::new();
    let ran = pruned(&playground, "print").ok();
    for text in ["printed at opening", "printed while scoring"] {
        assert!(ran.stderr.contains(text), "{text}\n{}", ran.stderr);
    }
    let lines: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    assert!(lines.iter().any(|line| line["event"] == "run-finished"), "{}", ran.stdout);
}

#[test]
fn a_plugin_that_ends_the_process_is_told() {
    let playground = Playground::new();
    let told = "error: plugin `acting` (acts-when-opened 0.1.0, libacts_when_opened.so) ended the program";
    for way in ["exit", "exit-in-thread"] {
        let ran = pruned(&playground, way).fails(6, &[told, "never exits"]);
        assert!(playground.path("run/networks/dense.safetensors").is_file(), "{}", ran.stderr);
        std::fs::remove_dir_all(playground.path("run")).expect("the run is removed");
    }
}

#[test]
fn a_library_that_ends_the_process_when_it_is_opened_is_told() {
    let playground = Playground::new();
    let library = library("acts-when-opened").display().to_string();
    let arguments = ["plugins", "list", "--plugin", &library];
    let output = playground.command(&arguments).env("MRPF_TEST_ACT", "exit").output().expect("it starts");
    let told = format!("error: plugin library {library}, while it was opened, ended the program");
    Ran::new(&arguments, output).fails(6, &[&told]);
}

#[test]
fn an_end_of_the_programs_own_is_no_fault_of_a_plugin() {
    let playground = Playground::new();
    let library = library("acts-when-opened").display().to_string();
    playground.mrpf(&["plugins", "show", "acting", "--plugin", &library]).ok();
    playground.mrpf(&["plugins", "show", "actin", "--plugin", &library]).fails(2, &["did you mean `acting`?"]);
}
