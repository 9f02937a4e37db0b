//! `plugins new`, `build`, `test` and `check`, for every kind; and the guide.

use crate::crates::{PluginCrate, library};
use crate::support::{Playground, repository};

const KINDS: [&str; 8] =
    ["trainer", "attack", "metric", "criterion", "allocation", "schedule", "architecture", "dataset"];

#[test]
fn a_new_crate_of_every_kind_builds_passes_its_tests_and_keeps_the_laws() {
    let playground = Playground::new();
    for kind in KINDS {
        let name = format!("my-{kind}");
        let ran = playground.mrpf(&["plugins", "new", &name, "--kind", kind]).ok();
        assert!(ran.stdout.contains(&format!("mrpf plugins build {name}")), "{}", ran.stdout);
        let tested = playground.mrpf(&["plugins", "test", &name]).ok();
        assert!(tested.stdout.contains("it_keeps_the_laws_of_its_kind ... ok"), "{}", tested.stdout);
        let built = PluginCrate { dir: playground.path(&name) }.build(&playground);
        let checked = playground.mrpf(&["plugins", "check", &built.display().to_string()]).ok();
        assert!(
            checked.stdout.contains(&format!("`{name}`")) && !checked.stdout.contains("BROKEN"),
            "{}",
            checked.stdout
        );
    }
}

#[test]
fn mistakes_in_what_is_asked_for_are_answered() {
    let playground = Playground::new();
    playground
        .mrpf(&["plugins", "new", "my-trainer", "--kind", "trainr"])
        .fails(2, &["unknown kind of plugin `trainr`", "did you mean `trainer`"]);
    playground
        .mrpf(&["plugins", "new", "My Trainer", "--kind", "trainer"])
        .fails(2, &["`My Trainer` does not begin with a small letter"]);
    playground
        .mrpf(&["plugins", "build", "nowhere"])
        .fails(4, &["nowhere is no crate: it does not exist", "mrpf plugins new"]);
    std::fs::create_dir(playground.path("empty")).expect("a folder");
    playground.mrpf(&["plugins", "build", "empty"]).fails(4, &["empty is no crate: it has no Cargo.toml"]);
    let broken =
        PluginCrate::of_source(&playground, "broken", "mrpf_api::export_plugin!();\nfn wrong() -> u8 { \"text\" }\n");
    let ran = playground.mrpf(&["plugins", "build", &broken.dir.display().to_string()]);
    ran.fails(6, &["building ", "cargo ended with exit code 101", "error[E0308]: mismatched types"]);
    playground.mrpf(&["plugins", "check", "nothing-like-it"]).fails(2, &["unknown plugin `nothing-like-it`"]);
}

/// Another release of Rust in the path than the one that the program was built with.
#[cfg(unix)]
#[test]
fn the_compiler_must_be_the_one_that_built_the_program() {
    use std::os::unix::fs::PermissionsExt;
    let playground = Playground::new();
    playground.mrpf(&["plugins", "new", "mine", "--kind", "schedule"]).ok();
    std::fs::create_dir(playground.path("bin")).expect("a folder");
    let rustc = playground.write("bin/rustc", "#!/bin/sh\necho 'rustc 1.80.0 (051478957 2024-07-21)'\n");
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let arguments = ["plugins", "build", "mine"];
    let run = |path: std::ffi::OsString| {
        let output = playground.command(&arguments).env("PATH", path).output().expect("the program starts");
        crate::support::Ran::new(&arguments, output)
    };
    let before = std::env::var_os("PATH").unwrap_or_default();
    let places = [playground.path("bin")].into_iter().chain(std::env::split_paths(&before));
    let ran = run(std::env::join_paths(places).expect("a search path"));
    ran.fails(
        6,
        &[
            "found `rustc 1.80.0 (051478957 2024-07-21)`",
            "the compiler that made this mrpf, `rustc ",
            "rustup toolchain install 1.",
        ],
    );
    run(playground.path("nothing").into()).fails(6, &["found no rustc, but a plugin must be compiled by"]);
}

#[test]
fn a_plugin_that_breaks_its_laws_is_found_out() {
    let playground = Playground::new();
    let library = library("fails-in-use").display().to_string();
    let ran = playground.mrpf(&["plugins", "check", &library, "--set", "way=nan"]).fails(6, &["laws are broken"]);
    for told in [
        "BROKEN        the loss of a batch is one finite number",
        "BROKEN        it never falls",
        "holds         it can be made",
    ] {
        assert!(ran.stdout.contains(told), "{told}\n{}", ran.stdout);
    }
    let ran = playground.mrpf(&["plugins", "check", &library, "--json"]).fails(6, &[]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let findings = report[0]["findings"].as_array().expect("findings");
    assert!(
        findings
            .iter()
            .any(|finding| finding["reason"].as_str().is_some_and(|text| text.contains("failed with a panic"))),
        "{report}"
    );
}

/// Every plugin of the program keeps the laws that others are held to.
#[test]
fn what_is_built_in_keeps_the_laws() {
    use mrpf_api::conformance::{Surroundings, Verdict, examine};
    // Their laws need files that are not at hand everywhere; tests of their own read them.
    let need_a_folder = ["cifar10", "cifar100", "mnist", "fashion-mnist", "svhn", "tiny-imagenet", "image-folder"];
    let mut examined = 0;
    for plugin in mrpf_api::registry::registrations() {
        // What the other tests open and link in is examined by them.
        if plugin.origin.library().is_some() || plugin.package == "mrpf-linked-examples" {
            continue;
        }
        examined += 1;
        let surroundings = Surroundings { settings: small_budget(plugin.name), ..Surroundings::default() };
        for finding in examine(plugin, &surroundings) {
            match finding.verdict {
                Verdict::Holds => {}
                Verdict::NotExamined(_) if need_a_folder.contains(&plugin.name) => {}
                other => panic!("{} `{}`, {}: {other:?}", plugin.kind().name(), plugin.name, finding.law),
            }
        }
    }
    assert!(examined > 15, "{examined}");
}

/// Settings with which a plugin takes less time, for attacks that take thousands of passes.
fn small_budget(name: &str) -> serde_json::Map<String, serde_json::Value> {
    let settings = match name {
        "apgd-ce" | "apgd-dlr" | "fab" => serde_json::json!({ "steps": 10 }),
        "apgd-t" | "fab-t" => serde_json::json!({ "steps": 5 }),
        "cw-l2" => serde_json::json!({ "steps": 10, "searches": 4, "initial_weight": 1.0 }),
        "square" => serde_json::json!({ "queries": 50 }),
        "autoattack" => serde_json::json!({ "steps": 5, "queries": 20 }),
        _ => serde_json::json!({}),
    };
    settings.as_object().cloned().unwrap_or_default()
}

/// The code blocks of the guide, put where the guide says, and its commands as they stand.
#[test]
fn the_guide_works_as_it_is_written() {
    let guide = std::fs::read_to_string(repository("examples/plugins/README.md")).expect("the guide");
    let blocks = |language: &str| -> Vec<String> {
        let opening = format!("```{language}\n");
        guide.split(&opening).skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
    };
    let playground = Playground::new();
    let [source] = blocks("rust").try_into().expect("the guide has one program");
    let mut ran = 0;
    for line in blocks("sh").join("\n").lines().filter(|line| !line.trim().is_empty()) {
        let command = line.split('#').next().unwrap_or_default().trim();
        let Some(arguments) = command.strip_prefix("mrpf ") else { panic!("not a command of mrpf: {command}") };
        let target = &mrpf_host::plugin_library::shared_library().expect("this test links it").build.target;
        let library = playground.path(&format!("soft-targets/target/{target}/release/libsoft_targets.so"));
        let arguments = arguments.replace("LIBRARY", &library.display().to_string());
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let arguments = if arguments[0] == "run" { crate::support::quick(&arguments) } else { arguments };
        playground.mrpf(&arguments).ok();
        ran += 1;
        if arguments[1] == "new" {
            std::fs::write(playground.path("soft-targets/src/lib.rs"), &source).expect("the program of the guide");
        }
    }
    assert!(ran >= 5, "{ran} commands");
}
