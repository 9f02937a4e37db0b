//! Plugin crates for the tests: copies of the examples, and deliberately bad ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use crate::support::{Playground, repository};

/// A plugin crate in a folder of its own, built by the program itself.
pub struct PluginCrate {
    pub dir: PathBuf,
}

impl PluginCrate {
    /// A copy of an example with some texts replaced, outside the repository.
    pub fn of_example(playground: &Playground, example: &str, name: &str, changes: &[(&str, &str)]) -> Self {
        let from = repository("examples/plugins").join(example);
        let read = |file: &str| std::fs::read_to_string(from.join(file)).expect("a file of the example");
        let mut source = read("src/lib.rs");
        for (old, new) in changes {
            assert!(source.contains(old), "`{old}` is not in the example {example}");
            source = source.replace(old, new);
        }
        Self::write(&playground.path(name), &read("Cargo.toml").replace(example, name), &source)
    }

    /// A crate with the given source, and the manifest that the program writes.
    pub fn of_source(playground: &Playground, name: &str, source: &str) -> Self {
        let manifest = include_str!("../../mrpf-host/templates/plugin/Cargo.toml").replace("plugin-name", name);
        Self::write(&playground.path(name), &manifest, source)
    }

    fn write(dir: &Path, manifest: &str, source: &str) -> Self {
        std::fs::create_dir_all(dir.join("src")).expect("a folder");
        std::fs::write(dir.join("Cargo.toml"), manifest).expect("a manifest");
        std::fs::write(dir.join("src/lib.rs"), source).expect("a source file");
        Self { dir: dir.to_owned() }
    }

    /// Builds it with `mrpf plugins build`.
    #[track_caller]
    pub fn build(&self, playground: &Playground) -> PathBuf {
        let ran = playground.mrpf(&["plugins", "build", &self.dir.display().to_string()]).ok();
        let path = ran.stdout.lines().find_map(|line| line.strip_prefix("built ")).expect("it says what it built");
        PathBuf::from(path)
    }
}

/// A library made from a source in `bad/`, or from an example; built once, and shared by the tests that only open it.
pub fn library(name: &str) -> PathBuf {
    static BUILT: OnceLock<Mutex<BTreeMap<String, PathBuf>>> = OnceLock::new();
    static PLAYGROUND: OnceLock<Playground> = OnceLock::new();
    let playground = PLAYGROUND.get_or_init(|| Playground::lasting("plugins"));
    let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(path) = built.get(name) {
        return path.clone();
    }
    let bad = repository("tests/run_time_plugins/bad").join(format!("{}.rs", name.replace('-', "_")));
    let made = match std::fs::read_to_string(&bad) {
        Ok(source) => PluginCrate::of_source(playground, name, &source),
        Err(_) => PluginCrate::of_example(playground, name, name, &[]),
    };
    let path = made.build(playground);
    built.insert(name.to_owned(), path.clone());
    path
}

/// A copy of a library in the playground, with one run of bytes replaced by another as long.
pub fn patched(playground: &Playground, library: &Path, old: &str, new: &str) -> PathBuf {
    let mut bytes = std::fs::read(library).expect("a library");
    assert_eq!(old.len(), new.len(), "a patch must not move anything");
    let places: Vec<usize> =
        (0..bytes.len() - old.len()).filter(|&at| bytes[at..].starts_with(old.as_bytes())).collect();
    assert!(!places.is_empty(), "`{old}` is not in {}", library.display());
    for at in places {
        bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
    }
    let path = playground.path("patched.so");
    std::fs::write(&path, bytes).expect("a patched library");
    path
}
