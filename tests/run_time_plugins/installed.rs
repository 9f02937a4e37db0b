//! A folder that `scripts/dist` made, as a user has it: without the sources' target directory.

use std::path::PathBuf;
use std::process::Command;

use crate::crates::PluginCrate;
use crate::support::{Playground, Ran, quick, repository};

/// Runs the program of the installed folder with nothing of a Rust build in its environment.
fn mrpf(playground: &Playground, program: &PathBuf, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(playground.path("")).env("XDG_CONFIG_HOME", playground.path("config"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO") || name.contains("LIBRARY_PATH")) {
        command.env_remove(name);
    }
    Ran::new(arguments, command.output().expect("the installed program starts"))
}

#[test]
fn an_installed_folder_builds_and_opens_plugins_by_itself() {
    let playground = Playground::new();
    let mut dist = Command::new(repository("scripts/dist"));
    dist.arg(playground.path("installed"));
    // What cargo tells a test about its own package would make build scripts that look at it run anew.
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if shown == "OUT_DIR" || (shown.starts_with("CARGO_") && shown != "CARGO_HOME") {
            dist.env_remove(&name);
        }
    }
    let output = dist.output().expect("scripts/dist starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    // It packs what is built already: a rebuild here would pull the shared library from under the other tests.
    assert!(!told.contains("Compiling"), "{told}");
    let program = playground.path("installed/bin/mrpf");

    let made = PluginCrate::of_example(&playground, "logit-pairing", "logit-pairing", &[]);
    let built = mrpf(&playground, &program, &["plugins", "build", &made.dir.display().to_string()]).ok();
    let library = built.stdout.lines().find_map(|line| line.strip_prefix("built ")).expect("a library").to_owned();
    let text = std::fs::read(&library).expect("a library");
    let target = repository("target").canonicalize().expect("a folder").display().to_string();
    let leaks = text.windows(target.len()).any(|window| window == target.as_bytes());
    assert!(!leaks, "the library names the target directory of the sources");

    mrpf(&playground, &program, &["plugins", "check", &library]).ok();
    mrpf(&playground, &program, &["plugins", "test", "logit-pairing"]).ok();
    let arguments = ["run", "--out", "run", "--plugin", &library, "--set", "finetune.trainer=logit-pairing"];
    mrpf(&playground, &program, &quick(&arguments)).ok();
    // What was built against the one does not fit a program whose shared library is another file, unless the bytes agree.
    playground.mrpf(&["plugins", "list", "--plugin", &library]).ok();
}
