//! The manifest of a plugin library: a block of text in the file that says what the library was built against.
//!
//! ```text
//! 16 bytes of magic
//! manifest=2
//! digest=0000... (64 digits, written by `mrpf plugins build` once the file is linked)
//! package=my-trainer
//! version=0.1.0
//! symbol=MRPF_PLUGIN_my_trainer
//! mrpf=0.1.0
//! compiler=rustc 1.95.0 (59807616e 2026-04-14)
//! ...
//! zeros up to 1024 bytes
//! ```
//!
//! It is found by its magic, so that no reader of any object format is needed.
//!
//! The digest is the SHA-256 of the whole file with the digest's own digits taken as zeros. It tells a damaged file from a whole one;
//! it is no signature, for whoever changes the file can write another digest.

use std::fmt;
use std::ops::Range;

use super::HostBuild;
use super::build::{API, CANDLE, COMPILER, FEATURES, LOCK, TARGET, VERSION};

const SIZE: usize = 1024;
const MAGIC: [u8; 16] = *b"\x93mrpf plugin\r\n\x1a\n";

/// The generation of manifests that this copy writes and reads.
pub const GENERATION: &str = "2";

/// The digest of a file that was linked and not sealed yet.
pub const UNSEALED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What the exported symbol's name begins with; the crate's name follows.
pub const SYMBOL_PREFIX: &str = "MRPF_PLUGIN_";

/// The block itself, made while the plugin is compiled.
#[repr(transparent)]
#[derive(Debug)]
pub struct Manifest([u8; SIZE]);

/// What a plugin crate adds to what mrpf-api knows of itself.
#[derive(Debug)]
pub struct Package {
    /// Name of the crate.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The module that exports the plugin; part of the symbol's name.
    pub module: &'static str,
    /// What a panic does in it.
    pub panic: &'static str,
    /// SHA-256 of the shared library that it is compiled against, or `none`.
    pub library: &'static str,
}

impl Manifest {
    /// Writes the manifest of a package; a text that does not fit is a compile error.
    pub const fn of(package: &Package) -> Self {
        let mut writer = Writer { bytes: [0; SIZE], at: 0 };
        writer = writer.raw(&MAGIC);
        writer = writer.line("manifest", GENERATION, "");
        writer = writer.line("digest", UNSEALED, "");
        writer = writer.line("package", package.name, "");
        writer = writer.line("version", package.version, "");
        writer = writer.line("symbol", SYMBOL_PREFIX, package.module);
        writer = writer.line("mrpf", VERSION, "");
        writer = writer.line("compiler", COMPILER, "");
        writer = writer.line("candle", CANDLE, "");
        writer = writer.line("target", TARGET, "");
        writer = writer.line("features", FEATURES, "");
        writer = writer.line("panic", package.panic, "");
        writer = writer.line("api", API, "");
        writer = writer.line("lock", LOCK, "");
        writer = writer.line("library", package.library, "");
        // One zero at least ends the text.
        assert!(writer.at < SIZE, "the manifest of this plugin is too long: shorten the crate's name or version");
        Self(writer.bytes)
    }

    /// The block as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Writes at compile time.
struct Writer {
    bytes: [u8; SIZE],
    at: usize,
}

impl Writer {
    const fn raw(mut self, bytes: &[u8]) -> Self {
        let mut i = 0;
        while i < bytes.len() {
            self.bytes[self.at] = bytes[i];
            self.at += 1;
            i += 1;
        }
        self
    }

    const fn line(self, key: &str, value: &str, rest: &str) -> Self {
        self.raw(key.as_bytes()).raw(b"=").raw(value.as_bytes()).raw(rest.as_bytes()).raw(b"\n")
    }
}

/// What a manifest in a file states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// SHA-256 of the file, taken as if its own digits were zeros; [`UNSEALED`] if nobody has written it yet.
    pub digest: String,
    /// Name of the plugin's crate.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The symbol that shows [`super::Exported`].
    pub symbol: String,
    /// What it was built against.
    pub build: HostBuild,
}

/// Why a file has no manifest that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestError {
    /// No manifest in it.
    None,
    /// A manifest of another generation of mrpf, which this one cannot read.
    OtherGeneration(String),
    /// A manifest without this line, or with one that is no text.
    Damaged(String),
    /// Several manifests that contradict each other.
    Several(usize),
}

/// Something in which a plugin and its host differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs, in words.
    pub what: &'static str,
    /// The plugin's.
    pub plugin: String,
    /// The host's.
    pub host: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The first twelve digits tell two hashes apart.
        let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let short = |text: &str| if is_hash(text) { text[..12].to_owned() } else { text.to_owned() };
        write!(f, "{}: the plugin has `{}`, this mrpf has `{}`", self.what, short(&self.plugin), short(&self.host))
    }
}

impl Stated {
    /// Reads the manifest in the bytes of a library file.
    ///
    /// # Errors
    /// [`ManifestError`] if there is none, or none that can be read.
    pub fn find(file: &[u8]) -> Result<Self, ManifestError> {
        let mut found: Vec<Self> = Vec::new();
        for block in blocks(file) {
            let stated = Self::parse(&file[block])?;
            if !found.contains(&stated) {
                found.push(stated);
            }
        }
        match found.len() {
            0 => Err(ManifestError::None),
            1 => Ok(found.swap_remove(0)),
            several => Err(ManifestError::Several(several)),
        }
    }

    fn parse(block: &[u8]) -> Result<Self, ManifestError> {
        let damaged = |what: &str| ManifestError::Damaged(what.into());
        let end = block.iter().position(|&byte| byte == 0).ok_or_else(|| damaged("end"))?;
        let text = std::str::from_utf8(&block[..end]).map_err(|_| damaged("text"))?;
        let line = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.map(str::to_owned).ok_or_else(|| damaged(key))
        };
        let generation = line("manifest")?;
        if generation != GENERATION {
            return Err(ManifestError::OtherGeneration(generation));
        }
        let build = HostBuild {
            mrpf: line("mrpf")?,
            compiler: line("compiler")?,
            candle: line("candle")?,
            target: line("target")?,
            features: line("features")?,
            panic: line("panic")?,
            api: line("api")?,
            lock: line("lock")?,
            library: line("library")?,
        };
        let digest = line("digest")?;
        Ok(Self { digest, package: line("package")?, version: line("version")?, symbol: line("symbol")?, build })
    }

    /// Everything in which the plugin was built against something else than `host`.
    pub fn differences(&self, host: &HostBuild) -> Vec<Difference> {
        let plugin = &self.build;
        [
            ("version of mrpf", &plugin.mrpf, &host.mrpf),
            ("compiler", &plugin.compiler, &host.compiler),
            ("version of Candle", &plugin.candle, &host.candle),
            ("target", &plugin.target, &host.target),
            ("features", &plugin.features, &host.features),
            ("panic strategy", &plugin.panic, &host.panic),
            ("sources of mrpf-api", &plugin.api, &host.api),
            ("lock file", &plugin.lock, &host.lock),
            ("shared library", &plugin.library, &host.library),
        ]
        .into_iter()
        .filter(|(_, plugin, host)| plugin != host)
        .map(|(what, plugin, host)| Difference { what, plugin: plugin.clone(), host: host.clone() })
        .collect()
    }
}

/// Where the digits of the digest stand in a library file, in every copy of its manifest.
pub fn digest_places(file: &[u8]) -> Vec<Range<usize>> {
    const KEY: &[u8] = b"\ndigest=";
    let digits = |block: Range<usize>| {
        let text = file[block.clone()].split(|&byte| byte == 0).next().unwrap_or_default();
        let start = text.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
        let end = start + UNSEALED.len();
        (text.get(end) == Some(&b'\n')).then(|| block.start + start..block.start + end)
    };
    blocks(file).filter_map(digits).collect()
}

/// Where the text of each manifest stands in a file, with the zeros behind it.
fn blocks(file: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            from += file[from..].windows(MAGIC.len()).position(|window| window == MAGIC)? + MAGIC.len();
            // A library with its own copy of mrpf-api holds the bare magic as well, without any text behind it.
            if file[from..].starts_with(b"manifest=") {
                return Some(from..file.len().min(from + SIZE - MAGIC.len()));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static OURS: Manifest = Manifest::of(&Package {
        name: "my-trainer",
        version: "1.2.3",
        module: "my_trainer",
        panic: "unwind",
        library: "none",
    });

    #[test]
    fn a_manifest_states_what_it_was_built_from() {
        let stated = Stated::find(OURS.bytes()).expect("a manifest");
        assert_eq!((stated.package.as_str(), stated.version.as_str()), ("my-trainer", "1.2.3"));
        assert_eq!((stated.symbol.as_str(), stated.digest.as_str()), ("MRPF_PLUGIN_my_trainer", UNSEALED));
        assert_eq!(stated.build, HostBuild::of_this_copy("none"));
        assert!(stated.build.compiler.starts_with("rustc ") && stated.build.candle.starts_with("0."));
        assert_eq!((stated.build.api.len(), stated.build.lock.len()), (64, 64));
    }

    #[test]
    fn every_ingredient_that_differs_is_named_with_both_values() {
        let stated = Stated::find(OURS.bytes()).expect("a manifest");
        let same = HostBuild::of_this_copy("none");
        assert_eq!(stated.differences(&same), []);
        type Change = fn(&mut HostBuild) -> &mut String;
        let changes: [(&str, Change); 9] = [
            ("version of mrpf", |build| &mut build.mrpf),
            ("compiler", |build| &mut build.compiler),
            ("version of Candle", |build| &mut build.candle),
            ("target", |build| &mut build.target),
            ("features", |build| &mut build.features),
            ("panic strategy", |build| &mut build.panic),
            ("sources of mrpf-api", |build| &mut build.api),
            ("lock file", |build| &mut build.lock),
            ("shared library", |build| &mut build.library),
        ];
        for (what, field) in changes {
            let mut host = same.clone();
            *field(&mut host) = "other".into();
            let differences = stated.differences(&host);
            assert_eq!(differences.len(), 1, "{what}");
            assert_eq!((differences[0].what, differences[0].host.as_str()), (what, "other"));
        }
    }

    #[test]
    fn hashes_are_shown_short() {
        let difference = Difference { what: "lock file", plugin: "ab".repeat(32), host: "none".into() };
        assert_eq!(difference.to_string(), "lock file: the plugin has `abababababab`, this mrpf has `none`");
    }

    #[test]
    fn damage_is_told() {
        let replaced = |from: &str, to: &str| {
            let text = String::from_utf8_lossy(&OURS.bytes()[16..]).replace(from, to);
            [&MAGIC[..], text.as_bytes()].concat()
        };
        assert_eq!(Stated::find(&MAGIC), Err(ManifestError::None));
        assert_eq!(
            Stated::find(&replaced("manifest=2", "manifest=1")),
            Err(ManifestError::OtherGeneration("1".into()))
        );
        assert_eq!(Stated::find(&replaced("candle=", "kandle=")), Err(ManifestError::Damaged("candle".into())));
        let two = [OURS.bytes(), &replaced("1.2.3", "1.2.4")].concat();
        assert_eq!(Stated::find(&two), Err(ManifestError::Several(2)));
        assert!(Stated::find(&[OURS.bytes(), OURS.bytes()].concat()).is_ok());
    }

    proptest! {
        #[test]
        fn a_manifest_is_found_wherever_it_lies(
            before in prop::collection::vec(any::<u8>(), 0..3000),
            after in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            let file = [&before[..], OURS.bytes(), &after[..]].concat();
            prop_assert_eq!(Stated::find(&file), Stated::find(OURS.bytes()));
        }

        #[test]
        fn the_digest_can_be_written_wherever_the_manifest_lies(
            before in prop::collection::vec(any::<u8>(), 0..300),
            copies in 1_usize..3,
        ) {
            let mut file = [&before[..], &OURS.bytes().repeat(copies)].concat();
            let places = digest_places(&file);
            prop_assert_eq!(places.len(), copies);
            let digest = "5a".repeat(32);
            for place in places.clone() {
                prop_assert_eq!(&file[place.clone()], UNSEALED.as_bytes());
                file[place].copy_from_slice(digest.as_bytes());
            }
            prop_assert_eq!(digest_places(&file), places);
            prop_assert_eq!(Stated::find(&file).map(|stated| stated.digest), Ok(digest));
        }

        #[test]
        fn no_bytes_upset_the_reader(cut in 0..SIZE, noise in prop::collection::vec(any::<u8>(), 0..64)) {
            let file = [&OURS.bytes()[..cut], &noise].concat();
            let _ = (Stated::find(&file), digest_places(&file));
        }
    }
}
