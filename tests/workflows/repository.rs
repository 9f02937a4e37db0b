//! Invariants of the source tree that no compiler checks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::repository;

/// All files of a kind below a folder of the repository.
fn files(folder: &str, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                // What a plugin crate was compiled into is not part of the tree.
                true if path.ends_with("target") => {}
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == kind) => found.push(path),
                false => {}
            }
        }
    }
    found
}

/// All Rust files below a folder of the repository.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let found = files(folder, "rs");
    assert!(!found.is_empty(), "{folder}");
    found
}

fn everywhere() -> Vec<PathBuf> {
    ["mrpf-api", "mrpf-data-files", "mrpf-host", "plugins", "examples", "tests"]
        .iter()
        .flat_map(|folder| rust_files(folder))
        .collect()
}

/// The text of a file before its unit tests.
fn program_text(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a text file");
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| ["tests", "benches", "examples"].contains(&part.as_os_str().to_string_lossy().as_ref()))
        || path.file_name().is_some_and(|name| name == "tests.rs" || name == "hostile.rs")
}

fn offenders(files: Vec<PathBuf>, wrong: impl Fn(&Path, &str) -> bool) -> Vec<PathBuf> {
    files.into_iter().filter(|path| wrong(path, &program_text(path))).collect()
}

#[test]
fn only_one_file_writes_to_the_terminal() {
    let told = offenders(everywhere(), |path, text| {
        let prints = ["println!", "eprintln!", "print!(", "eprint!(", "io::stdout()", "dbg!"];
        !is_test(path)
            && !path.ends_with("output/print.rs")
            && !path.ends_with("build.rs")
            && text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && prints.iter().any(|print| line.contains(print)))
    });
    // One file asks whether the output is a terminal.
    let told: Vec<_> = told.into_iter().filter(|path| !path.ends_with("output/mod.rs")).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn unsafe_code_is_where_it_is_known_to_be() {
    let found = offenders(everywhere(), |_, text| {
        text.lines().any(|line| line.trim_start().starts_with("unsafe ") || line.contains(" unsafe {"))
    });
    let mut names: Vec<_> =
        found.iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    names.sort();
    // What is said to a GPU and its libraries, the matrix product's raw pointers, the system's loader, an environment variable set
    // before there are threads, and which signals are ignored.
    let gpu = [
        "augment.rs",
        "convolution.rs",
        "cudnn.rs",
        "cudnn_calls.rs",
        "device.rs",
        "fused.rs",
        "gpu.rs",
        "memory.rs",
        "queue.rs",
    ];
    let mut known = [gpu.as_slice(), &["gemm.rs", "interrupt.rs", "system.rs", "threads.rs"]].concat();
    known.sort_unstable();
    assert_eq!(names, known, "{found:?}");
}

/// Networks, images and everything computed from them follow the device of the run. The processor is named only where things are on it
/// by their nature; what is written to files is read there and moved, and random numbers are drawn there.
#[test]
fn the_processor_is_named_where_things_must_be_on_it_and_nowhere_else() {
    let known = [
        // The engine and the kernels, which compute nowhere else, and the networks that the laws of plugins are tried on.
        "mrpf-api/src/engine/operation.rs",
        "mrpf-api/src/engine/training/mod.rs",
        "mrpf-api/src/engine/training/operation.rs",
        "mrpf-api/src/network/classifier.rs",
        "mrpf-api/src/network/suffix.rs",
        "mrpf-api/src/numeric/float.rs",
        "mrpf-api/src/numeric/gradient_check.rs",
        "mrpf-api/src/conformance/architecture.rs",
        "mrpf-api/src/conformance/problem.rs",
        // Random numbers, images and constants, moved where they are wanted once they are made.
        "mrpf-api/src/random.rs",
        "mrpf-api/src/data.rs",
        "mrpf-api/src/numeric/batch_norm.rs",
        "mrpf-api/src/numeric/resize.rs",
        "mrpf-api/src/attack/l1.rs",
        "mrpf-api/src/attack/search/ground.rs",
        "mrpf-host/src/training/batches.rs",
        // Files.
        "mrpf-api/src/network/file.rs",
        "mrpf-host/src/run_dir/records.rs",
        "mrpf-host/src/pipeline/saved_network.rs",
        "mrpf-host/src/exchange/centred.rs",
        "mrpf-host/src/exchange/pytorch/mod.rs",
        "mrpf-host/src/exchange/state_dict.rs",
        "plugins/trainer-fgsm-rs/src/lib.rs",
        // What the doctor compares with.
        "mrpf-host/src/doctor/operations.rs",
        "mrpf-host/src/doctor/self_test.rs",
        // Figures and pictures made after the computing.
        "mrpf-api/src/numeric/precision.rs",
        "mrpf-host/src/comparison/page/examples.rs",
        "plugins/criterion-activation/src/maps.rs",
        "plugins/criterion-group-norm/src/lamp.rs",
        "plugins/criterion-taylor/src/gate.rs",
        // The choice itself.
        "mrpf-host/src/device/open.rs",
    ];
    let names = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("a text file");
        // Some files have items for tests before the end, so that the module of tests is looked for.
        !is_test(path)
            && text.split("#[cfg(test)]\nmod tests {").next().is_some_and(|text| text.contains("Device::Cpu"))
    };
    let root = repository("");
    let named: BTreeSet<String> = everywhere()
        .iter()
        .filter(|path| names(path))
        .map(|path| path.strip_prefix(&root).unwrap_or(path).to_string_lossy().replace('\\', "/"))
        .collect();
    let known: BTreeSet<String> = known.map(str::to_owned).into();
    let differing: Vec<_> = named.symmetric_difference(&known).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

#[test]
fn the_api_reads_no_files_and_draws_no_unseeded_randomness() {
    let found = offenders(rust_files("mrpf-api/src"), |_, text| {
        ["std::fs", "File::open", "thread_rng", "rand::rng()", "from_os_rng", "Tensor::randn", "Tensor::rand("]
            .iter()
            .any(|word| text.contains(word))
    });
    assert!(found.is_empty(), "{found:?}");
}

/// Everything else is said to the functions of that folder, which replace no device and follow no link that somebody put in the way.
#[test]
fn one_folder_writes_files() {
    let known = [
        // Files that are received bit by bit, and archives that are unpacked into a folder of their own.
        "fetch/mod.rs",
        "fetch/transfer.rs",
        "fetch/unpack.rs",
        // What the compiler of plugins is given, in a folder of the build.
        "plugin_sdk/native.rs",
        // The list of libraries that were opened, which several processes append to, and a copy that nobody else can change.
        "plugin_library/known.rs",
        "plugin_library/private_copy.rs",
    ];
    let found = offenders(rust_files("mrpf-host/src"), |path, text| {
        let writes = ["fs::write(", "File::create", "fs::rename(", "fs::copy(", ".persist(", "OpenOptions::new("];
        let is_known = known.iter().any(|known| path.ends_with(known));
        let writes_here = path.components().any(|part| part.as_os_str() == "files");
        !is_test(path) && !is_known && !writes_here && writes.iter().any(|write| text.contains(write))
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn every_file_says_what_it_is_and_is_one_idea() {
    for path in everywhere() {
        let text = std::fs::read_to_string(&path).expect("a text file");
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(!["utils", "util", "helpers", "common", "misc", "base"].contains(&name.as_str()), "{}", path.display());
        assert!(is_test(&path) || text.starts_with("//!"), "{} has no heading", path.display());
    }
}

#[test]
fn what_documents_link_to_is_there() {
    let mut documents: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "PERFORMANCE.md", "SECURITY.md", "SIGNS.md"]
        .iter()
        .map(|name| repository(name))
        .collect();
    documents.extend(["examples", "plugins", "tests"].iter().flat_map(|folder| files(folder, "md")));
    for document in documents {
        let text = std::fs::read_to_string(&document).expect("a text file");
        let marked =
            text.lines().find(|line| ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark)));
        assert_eq!(marked, None, "{} is half merged", document.display());
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            let there = document.parent().is_some_and(|folder| folder.join(link).exists());
            assert!(there, "{} links to {link}", document.display());
        }
    }
}

#[test]
fn every_test_that_the_security_page_names_is_there() {
    let page = std::fs::read_to_string(repository("SECURITY.md")).expect("a text file");
    let rows =
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule ") && !line.contains("---"));
    let tests: Vec<_> =
        everywhere().into_iter().map(|path| (std::fs::read_to_string(&path).expect("a text file"), path)).collect();
    for row in rows {
        let named: Vec<&str> = row.split('`').filter(|word| word.contains("::")).collect();
        assert!(!named.is_empty(), "no test shows: {row}");
        for name in named {
            let (file, function) = name.rsplit_once("::").expect("a path");
            let file = file.rsplit("::").find(|part| *part != "tests").expect("a module");
            let is_there = tests.iter().any(|(text, path)| {
                let mut names = path.iter().rev().map(|name| name.to_string_lossy().trim_end_matches(".rs").to_owned());
                let module = names.find(|name| !["tests", "mod"].contains(&name.as_str()));
                module.is_some_and(|module| module == file) && text.contains(&format!("fn {function}("))
            });
            assert!(is_there, "{name}");
        }
    }
}

#[test]
fn plugins_depend_on_the_api_alone() {
    for entry in std::fs::read_dir(repository("plugins")).expect("plugins") {
        let manifest = entry.expect("an entry").path().join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).expect("a manifest");
        let dependencies =
            text.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap_or_default();
        assert!(dependencies.contains("mrpf-api") && !dependencies.contains("mrpf-host"), "{}", manifest.display());
        assert!(!dependencies.contains("candle"), "{} brings its own candle", manifest.display());
    }
}

#[test]
fn example_plugins_are_third_party_crates() {
    for entry in std::fs::read_dir(repository("examples/plugins")).expect("examples") {
        let path = entry.expect("an entry").path();
        if !path.is_dir() {
            continue;
        }
        let manifest = std::fs::read_to_string(path.join("Cargo.toml")).expect("a manifest");
        let lines: Vec<&str> = manifest.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.contains(&"[workspace]"), "{} is a crate by itself", path.display());
        let api = lines.iter().any(|line| line.contains("mrpf") || line.contains("candle"));
        assert!(!api, "{} brings its own copy of what the program lends", path.display());
    }
}

#[test]
fn every_plugin_crate_is_built_in_and_listed_in_the_readme() {
    let (list, readme) = (repository("mrpf-host/src/built_in.rs"), repository("README.md"));
    let [list, readme] = [list, readme].map(|path| std::fs::read_to_string(path).expect("a text file"));
    for entry in std::fs::read_dir(repository("plugins")).expect("plugins") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(list.contains(&format!("use mrpf_{} as _;", name.replace('-', "_"))), "{name}");
    }
    for plugin in mrpf_api::registry::registrations() {
        assert!(readme.contains(&format!("`{}`", plugin.name)), "the README does not name `{}`", plugin.name);
    }
}

#[test]
fn example_experiments_are_valid() {
    let load = |files: &[PathBuf]| {
        let sources = mrpf_host::experiment::Sources { files, ..Default::default() };
        let experiment = mrpf_host::experiment::Experiment::load(&sources)
            .unwrap_or_else(|error| panic!("{files:?}: {error}, {:?}", error.hint_text()));
        let again = mrpf_host::experiment::Experiment::from_toml(&experiment.to_toml().expect("TOML"));
        assert_eq!(again.expect("it reads what it writes"), experiment);
        experiment
    };
    experiments("examples").into_iter().for_each(|path| drop(load(&[path])));
    let [quick, recipe] = ["quick", "recipe"].map(|name| repository(&format!("examples/paper/{name}.toml")));
    let cells: Vec<_> =
        experiments("examples/paper").into_iter().filter(|path| *path != quick && *path != recipe).collect();
    let names: BTreeSet<(String, String)> = cells
        .iter()
        .map(|path| {
            let (full, quick) = (load(std::slice::from_ref(path)), load(&[path.clone(), quick.clone()]));
            assert!(quick.pretrain.epochs < full.pretrain.epochs, "{}", path.display());
            assert_eq!((&full.data.name, &full.network), (&quick.data.name, &quick.network), "{}", path.display());
            (full.data.name.name, full.network.architecture.name)
        })
        .collect();
    // Every data set with every architecture.
    assert_eq!(names.len(), 12, "{names:?}");
}

/// The experiment files of a folder.
fn experiments(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository(folder)).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}
