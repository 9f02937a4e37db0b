//! What signals do: the first wish to stop keeps what was done, and one that was ignored at the start stays ignored.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::comparison::GRID;
use crate::support::{Playground, Ran, quick};

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(120), "in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
}

fn begun(ground: &Playground, arguments: &[&str]) -> Child {
    let mut command = ground.command_that_heeds_signals(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn long_training<'a>(out: &'a str, epochs: &'a str) -> Vec<&'a str> {
    quick(&["train", "--out", out]).into_iter().chain(["--set", epochs]).collect()
}

#[test]
fn every_wish_to_stop_keeps_what_was_done() {
    let ground = Playground::new();
    for name in ["INT", "TERM", "HUP", "USR1"] {
        let arguments = long_training(name, "pretrain.epochs=4000");
        let child = begun(&ground, &arguments);
        let checkpoint = ground.path(name).join("checkpoints/dense.safetensors");
        wait_until("the first epoch", || checkpoint.is_file());
        signal(&child, name);
        if name != "INT" {
            // Once more at once, as `timeout` does it: the same wish.
            signal(&child, name);
        }
        let ran = Ran::new(&arguments, child.wait_with_output().expect("it ends"));
        ran.fails(130, &["stopping after this step", "stopped on request; epoch", "is kept in"]);
        assert!(checkpoint.is_file());
    }
}

#[test]
fn what_was_ignored_at_the_start_stays_ignored() {
    let ground = Playground::new();
    let arguments = long_training("run", "pretrain.epochs=12");
    let mut ignoring = Command::new("bash");
    ignoring.args(["-c", "trap '' HUP INT USR1; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_mrpf")]).args(&arguments);
    ignoring.current_dir(ground.path("")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = ignoring.spawn().expect("bash starts");
    let (checkpoint, network) =
        (ground.path("run/checkpoints/dense.safetensors"), ground.path("run/networks/dense.safetensors"));
    wait_until("the first epoch", || checkpoint.is_file() || network.is_file());
    ["HUP", "INT", "USR1"].iter().for_each(|name| signal(&child, name));
    Ran::new(&arguments, child.wait_with_output().expect("it ends")).ok();
    assert!(network.is_file());
}

/// Whether the process has a handler for SIGINT.
fn listens(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 0b10 != 0)
}

#[test]
fn a_benchmark_stops_between_two_repetitions() {
    let ground = Playground::new();
    for what in ["conv", "forward"] {
        let arguments = ["bench", "--what", what, "--batch", "2", "--arch", "resnet18", "--steps", "1000000"];
        let child = begun(&ground, &arguments);
        wait_until("the handler", || listens(&child));
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, "INT");
        Ran::new(&arguments, child.wait_with_output().expect("it ends")).fails(130, &["stopped on request"]);
    }
}

#[test]
fn a_comparison_stops_all_its_stages() {
    let ground = Playground::new();
    ground.write("grid.toml", &GRID.replace("epochs = 2\n", "epochs = 4000\n"));
    for name in ["USR1", "TERM"] {
        let arguments = ["compare", "grid.toml", "--jobs", "2", "--out", name];
        let child = begun(&ground, &arguments);
        let stages = ground.path(name).join("stages");
        let has_checkpoint = |stage: std::fs::DirEntry| stage.path().join("checkpoints").is_dir();
        wait_until("a checkpoint of a stage", || {
            std::fs::read_dir(&stages).is_ok_and(|mut stages| stages.any(|stage| stage.is_ok_and(has_checkpoint)))
        });
        signal(&child, name);
        Ran::new(&arguments, child.wait_with_output().expect("it ends")).fails(130, &["the same command goes on"]);
        assert_eq!(working_in(&stages), 0, "a stage is left behind");
    }
}

/// How many processes have the folder in their arguments.
fn working_in(folder: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let folder = folder.to_string_lossy().into_owned();
    lines.filter(|line| String::from_utf8_lossy(line).contains(&folder)).count()
}
