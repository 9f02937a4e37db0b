//! Where libraries are looked for, and what is said of those that do not fit.

use crate::crates::library;
use crate::support::{Playground, Ran};

#[test]
fn libraries_are_found_in_the_variable_and_in_the_users_folder() {
    let playground = Playground::new();
    let folder = playground.path("mine");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::copy(library("redundancy"), folder.join("libredundancy.so")).expect("a copy");
    std::fs::write(folder.join("notes.txt"), "no library").expect("a file");
    let users = playground.path("config/mrpf/plugins");
    std::fs::create_dir_all(&users).expect("a folder");
    std::fs::copy(library("spectral-norm"), users.join("libspectral_norm.so")).expect("a copy");

    let arguments = ["plugins", "list"];
    let both = std::env::join_paths([&folder, &library("logit-pairing")]).expect("a search path");
    let output = playground.command(&arguments).env("MRPF_PLUGIN_PATH", both).output().expect("it starts");
    let ran = Ran::new(&arguments, output).ok();
    for (name, place) in [
        ("redundancy", folder.join("libredundancy.so")),
        ("logit-pairing", library("logit-pairing")),
        ("spectral-norm", users.join("libspectral_norm.so")),
    ] {
        let place = place.canonicalize().expect("a path");
        let line = ran.stdout.lines().find(|line| line.trim_start().starts_with(name)).expect("a line");
        assert!(line.contains(&format!("0.1.0 ({})", place.display())), "{line}");
    }
    let line = ran.stdout.lines().find(|line| line.trim_start().starts_with("trades")).expect("a line");
    assert!(line.contains("(built in)"), "{line}");

    let shown = Ran::new(
        &["plugins", "show"],
        playground.command(&["plugins", "show", "spectral-norm"]).output().expect("it starts"),
    )
    .ok();
    for text in [
        "sensitivity metric `spectral-norm`",
        "libspectral_norm.so",
        "rounds = 50  (whole number)",
        "Rounds of the power iteration",
    ] {
        assert!(shown.stdout.contains(text), "{}", shown.stdout);
    }
}

#[test]
fn the_order_of_libraries_does_not_matter() {
    let playground = Playground::new();
    let [a, b] = ["redundancy", "spectral-norm"].map(|name| library(name).display().to_string());
    let listed = |first: &str, second: &str| {
        playground.mrpf(&["plugins", "list", "--json", "--plugin", first, "--plugin", second]).ok().stdout
    };
    assert_eq!(listed(&a, &b), listed(&b, &a));
}

#[test]
fn a_library_that_nobody_asked_for_stops_nothing_when_it_does_not_fit() {
    let playground = Playground::new();
    let users = playground.path("config/mrpf/plugins");
    std::fs::create_dir_all(&users).expect("a folder");
    std::fs::write(users.join("old.so"), "no library").expect("a file");
    let listed = playground.mrpf(&["plugins", "list"]).ok();
    assert!(
        listed.stdout.contains("not loaded\n  plugin library ") && listed.stdout.contains("old.so: not a library"),
        "{}",
        listed.stdout
    );
    // Named in the variable it was asked for.
    let output = playground.command(&["plugins", "list"]).env("MRPF_PLUGIN_PATH", users.join("old.so")).output();
    Ran::new(&["plugins", "list"], output.expect("it starts"))
        .fails(6, &["MRPF_PLUGIN_PATH: plugin library ", "not a library"]);
    // A run says so and goes on.
    let ran =
        playground.mrpf(&["train", "--set", "pretrain.epochs=0", "--set", "evaluate.images=5", "--out", "run"]).ok();
    assert!(ran.stdout.contains("old.so: not a library of this system"), "{}", ran.stdout);
}
