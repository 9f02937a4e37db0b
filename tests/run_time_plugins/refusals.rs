//! A deliberately bad library for everything that a library can be refused for.

use std::path::{Path, PathBuf};
use std::process::Command;

use mrpf_api::export::Stated;
use mrpf_host::plugin_sdk::Sdk;

use crate::crates::{PluginCrate, library, patched};
use crate::support::{Playground, Ran};

/// Lists plugins with this library opened.
fn list(playground: &Playground, library: &Path) -> Ran {
    playground.mrpf(&["plugins", "list", "--plugin", &library.display().to_string()])
}

/// What the good library states of itself.
fn stated(library: &Path) -> Stated {
    Stated::find(&std::fs::read(library).expect("a library")).expect("a manifest")
}

#[test]
fn a_missing_file_and_a_folder() {
    let playground = Playground::new();
    list(&playground, Path::new("nowhere.so")).fails(4, &["plugin library nowhere.so: cannot be read", "hint: "]);
    std::fs::create_dir(playground.path("folder.so")).expect("a folder");
    list(&playground, Path::new("folder.so")).fails(4, &["folder.so: found a folder, expected a regular file"]);
}

#[test]
fn something_that_is_no_library() {
    let playground = Playground::new();
    playground.write("text.so", "this is no library\n");
    playground.write("empty.so", "");
    list(&playground, Path::new("text.so")).fails(6, &["not a library of this system: it has no header of one"]);
    list(&playground, Path::new("empty.so")).fails(6, &["not a library of this system: it is empty"]);
}

#[test]
fn a_library_for_another_machine() {
    let playground = Playground::new();
    let mut bytes = std::fs::read(library("redundancy")).expect("a library");
    // Bytes 18 and 19 of an ELF header name the machine: 243 is RISC-V.
    if !bytes.starts_with(b"\x7fELF") {
        return;
    }
    bytes[18] = 243;
    std::fs::write(playground.path("foreign.so"), bytes).expect("a file");
    list(&playground, Path::new("foreign.so"))
        .fails(6, &["not a library of this system: it is in format Elf for Riscv64"]);
}

#[test]
fn a_truncated_library_never_reaches_the_loader() {
    let playground = Playground::new();
    let whole = std::fs::read(library("redundancy")).expect("a library");
    for part in [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99] {
        let length = (whole.len() as f64 * part) as usize;
        std::fs::write(playground.path("cut.so"), &whole[..length]).expect("a file");
        // Some lengths leave the manifest whole; the loader would be killed by touching what is missing.
        list(&playground, Path::new("cut.so")).fails(6, &["cut.so: the file is not whole", "mrpf plugins build"]);
    }
}

#[test]
fn a_library_without_a_manifest() {
    let playground = Playground::new();
    let source = include_str!("../../examples/plugins/redundancy/src/lib.rs").replace("export_plugin!();", "");
    let made = PluginCrate::of_source(&playground, "unmarked", &source);
    let ran = playground.mrpf(&["plugins", "build", &made.dir.display().to_string()]);
    ran.fails(6, &["a library, but no plugin of mrpf: it has no manifest", "mrpf_api::export_plugin!();"]);
    let target = made.dir.join("target");
    let library = find(&target, "libunmarked.so").expect("it was compiled all the same");
    list(&playground, &library).fails(6, &["no plugin of mrpf: it has no manifest"]);
}

/// Each ingredient of the handshake, changed in the file.
#[test]
fn a_library_that_was_built_against_something_else() {
    let playground = Playground::new();
    let good = library("redundancy");
    let stated = stated(&good);
    let other = |hash: &str| hash.chars().map(|c| if c == '0' { '1' } else { '0' }).collect::<String>();
    let compiler = stated.build.compiler.replace("rustc 1.", "rustc 9.");
    let (api, lock, shared) = (other(&stated.build.api), other(&stated.build.lock), other(&stated.build.library));
    let target = stated.build.target.replace("unknown", "another");
    let line = |key: &str, value: &str| format!("\n{key}={value}\n");
    let cases: [(&str, &str, &str, &str); 8] = [
        ("compiler", &stated.build.compiler, &compiler, "compiler"),
        ("api", &stated.build.api, &api, "sources of mrpf-api"),
        ("lock", &stated.build.lock, &lock, "lock file"),
        ("library", &stated.build.library, &shared, "shared library"),
        ("candle", &stated.build.candle, "0.00.0", "version of Candle"),
        ("target", &stated.build.target, &target, "target"),
        ("features", "none", "cuda", "features"),
        ("panic", "unwind", "aborts", "panic strategy"),
    ];
    for (key, is, becomes, told) in cases {
        let bad = patched(&playground, &good, &line(key, is), &line(key, becomes));
        let short = |text: &str| if text.len() == 64 { text[..12].to_owned() } else { text.to_owned() };
        let difference = format!("{told}: the plugin has `{}`, this mrpf has `{}`", short(becomes), short(is));
        let ran = list(&playground, &bad);
        let ran =
            ran.fails(6, &["redundancy 0.1.0 was not built against this mrpf", &difference, "mrpf plugins build"]);
        // Nothing else is said to differ.
        assert_eq!(ran.stderr.matches("the plugin has").count(), 1, "{}", ran.stderr);
    }
    let bad = patched(&playground, &good, "manifest=2\n", "manifest=7\n");
    list(&playground, &bad).fails(6, &["its manifest is of generation 7, this mrpf reads generation 2"]);
    let bad = patched(&playground, &good, "\ncandle=", "\nkandle=");
    list(&playground, &bad).fails(6, &["its manifest is damaged: `candle` is missing"]);
}

#[test]
fn the_hint_names_the_crate_where_it_can() {
    let playground = Playground::new();
    let made = PluginCrate::of_example(&playground, "redundancy", "stale", &[]);
    let library = made.build(&playground);
    let stated = stated(&library);
    let bad =
        patched(&playground, &library, &stated.build.compiler, &stated.build.compiler.replace("rustc 1.", "rustc 9."));
    std::fs::rename(&bad, &library).expect("the library is replaced");
    let dir = made.dir.canonicalize().expect("a folder");
    let ran = list(&playground, &library).fails(6, &["rebuild it: mrpf plugins build"]);
    assert!(ran.stderr.contains(&dir.display().to_string()), "{}", ran.stderr);
    // The command that it names mends it.
    made.build(&playground);
    std::fs::write(made.dir.join("src/lib.rs"), std::fs::read(made.dir.join("src/lib.rs")).expect("text"))
        .expect("touched");
    let library = made.build(&playground);
    list(&playground, &library).fails(0, &[]);
}

/// A plugin that is linked with the API instead of sharing it, honest and lying about it.
#[test]
fn a_library_with_its_own_copy_of_candle() {
    let playground = Playground::new();
    let made = PluginCrate::of_example(&playground, "logit-pairing", "private", &[]);
    let sdk = Sdk::locate().expect("the test links the shared library");
    let copy = newest_rlib(&sdk.metadata);
    let flags = format!("--extern\x1fmrpf_api={}\x1f-L\x1fdependency={}", copy.display(), sdk.metadata.display());
    let stripped = format!("{flags}\x1f-C\x1fstrip=symbols");
    let lie = Some(&sdk.library.build.library);
    for (id, flags, of, proof) in [
        (None, &flags, "mrpf-api and Candle", "its manifest names no shared library"),
        (lie, &flags, "", "its symbols say so"),
        (lie, &stripped, "mrpf-api and Candle", "it sees another copy in memory"),
    ] {
        let mut command = Command::new("cargo");
        command
            .args(["rustc", "--release", "--lib", "--crate-type", "cdylib", "--target", &sdk.library.build.target])
            .current_dir(&made.dir)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_TARGET_DIR")
            .env("CARGO_ENCODED_RUSTFLAGS", flags);
        match id {
            Some(id) => command.env("MRPF_LIBRARY_ID", id),
            None => command.env_remove("MRPF_LIBRARY_ID"),
        };
        let output = command.output().expect("cargo starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let library = find(&made.dir.join("target"), "libprivate.so").expect("a library");
        mrpf_host::plugin_library::seal(&library).expect("it is sealed");
        let ran = list(&playground, &library).fails(6, &["private 0.1.0 carries a copy of ", of, proof]);
        assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
}

/// A crate called `package`, whose library is called `candle_core` and counts as Candle does.
fn stand_in_for_candle(playground: &Playground, package: &str) -> String {
    let dir = playground.path(package);
    std::fs::create_dir_all(dir.join("src")).expect("a folder");
    let manifest = format!(
        "[package]\nname = \"{package}\"\nversion = \"0.9.1\"\nedition = \"2021\"\n[lib]\nname = \"candle_core\"\n"
    );
    std::fs::write(dir.join("Cargo.toml"), manifest).expect("a manifest");
    let source = "pub mod tensor {\n    pub struct TensorId(pub usize);\n    impl TensorId {\n        #[inline(never)]\n        pub fn new() -> Self {\n            \
                  static COUNTER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);\n            \
                  Self(COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed))\n        }\n    }\n}\n";
    std::fs::write(dir.join("src/lib.rs"), source).expect("a source file");
    format!("[dependencies]\n{package} = {{ path = {:?} }}", dir.display().to_string())
}

/// Candle of another version, as `candle-core = "0.9"` among the dependencies; and a fork of it under another name.
#[test]
fn a_crate_that_brings_its_own_candle() {
    let playground = Playground::new();
    for (package, told) in [
        ("candle-core", "the crate depends on `candle-core v0.9.1"),
        ("my-candle", "my-candle#0.9.1`, so that it would carry a copy of its own"),
    ] {
        let made = PluginCrate::of_example(
            &playground,
            "redundancy",
            "mine",
            &[(
                "export_plugin!();",
                "export_plugin!();\n#[unsafe(no_mangle)]\npub extern \"C\" fn count() -> usize {\n    ::candle_core::tensor::TensorId::new().0\n}\n",
            )],
        );
        let manifest = std::fs::read_to_string(made.dir.join("Cargo.toml")).expect("a manifest");
        let dependency = stand_in_for_candle(&playground, package);
        std::fs::write(made.dir.join("Cargo.toml"), manifest.replace("[dependencies]", &dependency))
            .expect("a manifest");
        let ran = playground.mrpf(&["plugins", "build", &made.dir.display().to_string()]);
        ran.fails(6, &[told, "remove it from [dependencies]"]);
    }
    let library = find(&playground.path("mine"), "libmine.so").expect("it was compiled all the same");
    mrpf_host::plugin_library::seal(&library).expect("it is sealed");
    list(&playground, &library).fails(6, &["mine 0.1.0 carries a copy of Candle of its own (its symbols say so)"]);
}

#[test]
fn a_crate_that_names_the_api_among_its_dependencies() {
    let playground = Playground::new();
    let made = PluginCrate::of_example(&playground, "redundancy", "dependent", &[]);
    let api = crate::support::repository("mrpf-api").canonicalize().expect("a folder");
    let manifest = std::fs::read_to_string(made.dir.join("Cargo.toml")).expect("a manifest");
    let dependency = format!("[dependencies]\nmrpf-api = {{ path = {:?} }}", api.display().to_string());
    std::fs::write(made.dir.join("Cargo.toml"), manifest.replace("[dependencies]", &dependency)).expect("a manifest");
    // The versions are those of the workspace, so that nothing is looked up.
    std::fs::copy(api.join("../Cargo.lock"), made.dir.join("Cargo.lock")).expect("a lock file");
    let ran = playground.mrpf(&["plugins", "build", &made.dir.display().to_string()]);
    ran.fails(6, &["the crate depends on `mrpf-api v0.1.0", "remove it from [dependencies]"]);
}

#[test]
fn a_panic_in_registration() {
    let playground = Playground::new();
    let ran = list(&playground, &library("panics-in-registration"));
    ran.fails(
        6,
        &["panics-in-registration 0.1.0 registers something broken", "the defaults are not known yet", "lib.rs:"],
    );
}

#[test]
fn nothing_registered() {
    let playground = Playground::new();
    list(&playground, &library("registers-nothing")).fails(6, &["registers-nothing 0.1.0 registers no plugin"]);
}

#[test]
fn a_name_that_is_taken() {
    let playground = Playground::new();
    let twice = library("duplicate-name");
    let ran = list(&playground, &twice);
    ran.fails(
        6,
        &[
            "trainer `trades` comes from mrpf-trainer-trades 0.1.0 (built in) and from duplicate-name 0.1.0 (",
            "rename one",
        ],
    );

    let first = library("redundancy");
    let second = PluginCrate::of_example(&playground, "redundancy", "rival", &[]).build(&playground);
    let [first, second] = [first, second].map(|path| path.display().to_string());
    let ran = playground.mrpf(&["plugins", "list", "--plugin", &first, "--plugin", &second]);
    ran.fails(
        6,
        &[&format!("criterion `redundancy` comes from redundancy 0.1.0 ({first}) and from rival 0.1.0 ({second})")],
    );
}

#[test]
fn the_same_library_twice_is_one() {
    let playground = Playground::new();
    let good = library("redundancy");
    let copy = playground.path("copy.so");
    std::fs::copy(&good, &copy).expect("a copy");
    let [good, copy] = [good, copy].map(|path| path.display().to_string());
    playground.mrpf(&["plugins", "list", "--plugin", &good, "--plugin", &good, "--plugin", &copy]).ok();
}

/// The file of that name below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    let here = entries.iter().find(|path| path.is_file() && path.file_name().is_some_and(|found| found == name));
    here.cloned().or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name)))
}

/// mrpf-api as it is linked into programs statically.
fn newest_rlib(deps: &Path) -> PathBuf {
    let is_api = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("libmrpf_api-") && name.ends_with(".rlib")
    };
    let all = std::fs::read_dir(deps).expect("a folder").flatten().map(|entry| entry.path()).filter(is_api);
    all.max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok()).expect("an rlib of mrpf-api")
}
