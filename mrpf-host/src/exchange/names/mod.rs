//! How others call the layers of our architectures: one TOML file for each convention, and nothing about them in code.
//!
//! A file has one table for each architecture whose layers are called otherwise; the layers of others are called as here.
//!
//! ```toml
//! about = "whose names these are"
//! [resnet]
//! rename = [["fc", "linear"]]      # one after the other, see `pattern`
//! ignore = ["sub_block1.*"]        # layers and tensors of the file that are left out, also `*.my_counter`
//! pad_shortcut = "centred"         # where padding shortcuts put their zero channels; "after" when not given
//! [[resnet.split]]                 # a layer of the file, as it is called after `rename`, that holds the rows of several of ours
//! layer = "block{b}.qkv"
//! into = ["block{b}.query", "block{b}.key", "block{b}.value"]
//! ```
//!
//! To add one, write its file and name it in `FILES`.

mod pattern;
mod split;

use mrpf_api::{Context, Error, ErrorKind, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

use crate::files::{SETTINGS, read_text};

pub use pattern::{Pattern, Rename};
use split::Split;

/// The conventions; of those that fit a file equally well, the first is taken.
const FILES: &[(&str, &str)] = &[
    ("mrpf", include_str!("mrpf.toml")),
    ("pytorch-cifar", include_str!("pytorch-cifar.toml")),
    ("trades", include_str!("trades.toml")),
    ("torchvision", include_str!("torchvision.toml")),
    ("timm", include_str!("timm.toml")),
    ("pytorch-cifar-models", include_str!("pytorch-cifar-models.toml")),
    ("pytorch-resnet-cifar10", include_str!("pytorch-resnet-cifar10.toml")),
    ("efficient-densenet", include_str!("efficient-densenet.toml")),
];

/// Last parts of the names of buffers that hold a wrapper's mean and standard deviation.
const NORMALISATION: &str = include_str!("normalisation.toml");

/// The names of all conventions, as people read them.
pub fn listed() -> String {
    FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// How somebody calls the layers of networks.
#[derive(Debug, Clone)]
pub struct Convention {
    /// Its name, as `--names` takes it.
    pub name: String,
    /// Whose names these are.
    pub about: String,
    architectures: BTreeMap<String, LayerNames>,
}

/// How the layers of one architecture are called.
#[derive(Debug, Clone, Default)]
pub struct LayerNames {
    rename: Vec<Rename>,
    ignore: Vec<Pattern>,
    split: Vec<Split>,
    /// Where padding shortcuts put their zero channels.
    pub pad_shortcut: PadShortcut,
}

/// Where a padding shortcut puts its zero channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PadShortcut {
    /// Behind the channels of its input, as here.
    #[default]
    After,
    /// One half before them and one half behind.
    Centred,
}

#[derive(Deserialize)]
struct File {
    about: String,
    #[serde(flatten)]
    architectures: BTreeMap<String, Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    rename: Vec<[String; 2]>,
    #[serde(default)]
    ignore: Vec<String>,
    #[serde(default)]
    split: Vec<split::Table>,
    #[serde(default)]
    pad_shortcut: PadShortcut,
}

/// Last parts of the names of normalisation buffers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormalisationNames {
    /// Of the mean.
    pub mean: Vec<String>,
    /// Of the standard deviation.
    pub std: Vec<String>,
}

impl NormalisationNames {
    /// Those that are built in.
    pub fn built_in() -> Result<Self> {
        toml::from_str(NORMALISATION).map_err(|error| Error::new(ErrorKind::Settings, error.to_string()))
    }
}

impl Convention {
    /// All that are built in.
    pub fn built_in() -> Result<Vec<Self>> {
        FILES.iter().map(|(name, text)| Self::parse(name, text)).collect()
    }

    /// The one of that name, or that of a file whose name ends in `.toml`.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] with the nearest known names; [`ErrorKind::Settings`] and [`ErrorKind::Io`] for a file.
    pub fn named(name: &str) -> Result<Self> {
        if name.ends_with(".toml") {
            let text = read_text(Path::new(name), SETTINGS)
                .map_err(|error| Error::new(ErrorKind::Io, format!("cannot read the names in {name}: {error}")))?;
            let stem = Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
            return Self::parse(&stem.unwrap_or_default(), &text).context(|| format!("reading {name}"));
        }
        let found = Self::built_in()?.into_iter().find(|convention| convention.name == name);
        found.ok_or_else(|| Error::unknown_name("convention of names", name, FILES.iter().map(|(name, _)| *name)))
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let wrong = |why: String| Error::new(ErrorKind::Settings, format!("names `{name}`: {why}"));
        let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let mut architectures = BTreeMap::new();
        for (architecture, table) in file.architectures {
            let rename = table.rename.iter().map(|[from, to]| Rename::parse(from, to)).collect::<Result<_, _>>();
            let ignore = table.ignore.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>();
            let split = table.split.iter().map(Split::parse).collect::<Result<_, _>>();
            let names = LayerNames {
                rename: rename.map_err(wrong)?,
                ignore: ignore.map_err(wrong)?,
                split: split.map_err(wrong)?,
                pad_shortcut: table.pad_shortcut,
            };
            architectures.insert(architecture, names);
        }
        Ok(Self { name: name.into(), about: file.about, architectures })
    }

    /// How the layers of that architecture are called; as here if nothing is said about it.
    pub fn of(&self, architecture: &str) -> LayerNames {
        self.architectures.get(architecture).cloned().unwrap_or_default()
    }
}

impl LayerNames {
    /// Our name of a tensor, or of each tensor whose rows it holds, the same number of each and in this order; none if the network
    /// does not need it.
    pub fn ours(&self, tensor: &str) -> Vec<String> {
        let (layer, role) = tensor.rsplit_once('.').unwrap_or((tensor, ""));
        if self.ignore.iter().any(|pattern| pattern.fits(layer) || pattern.fits(tensor)) {
            return Vec::new();
        }
        self.layers(layer).into_iter().map(|layer| format!("{layer}.{role}")).collect()
    }

    fn layers(&self, layer: &str) -> Vec<String> {
        let renamed = |name: String, rename: &Rename| rename.apply(&name).unwrap_or(name);
        let name = self.rename.iter().fold(layer.to_owned(), renamed);
        self.split.iter().find_map(|split| split.apply(&name)).unwrap_or_else(|| vec![name])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_ones_can_be_read_and_say_whose_they_are() -> Result<()> {
        for convention in Convention::built_in()? {
            assert!(!convention.about.is_empty(), "{}", convention.name);
            assert_eq!(Convention::named(&convention.name)?.about, convention.about);
        }
        assert!(NormalisationNames::built_in()?.mean.contains(&"mean".to_owned()));
        Ok(())
    }

    #[test]
    fn layers_and_tensors_are_ignored_by_their_names() -> Result<()> {
        let text = "about = \"x\"\n[resnet]\nignore = [\"sub.*\", \"norm\", \"*.my_counter\", \"a{n}.bias\"]\nrename = [[\"fc\", \"linear\"]]";
        let names = Convention::parse("mine", text)?.of("resnet");
        for ignored in ["sub.conv.weight", "norm.weight", "conv1.my_counter", "a.b.my_counter", "a3.bias"] {
            assert!(names.ours(ignored).is_empty(), "{ignored}");
        }
        for (taken, ours) in
            [("fc.weight", "linear.weight"), ("a3.weight", "a3.weight"), ("norms.weight", "norms.weight")]
        {
            assert_eq!(names.ours(taken), [ours]);
        }
        Ok(())
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_list() -> Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/exchange/names");
        let entries = std::fs::read_dir(&folder).map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_some_and(|extension| extension == "toml")
                && !["normalisation", "beside"].contains(&stem.as_str())
            {
                assert!(FILES.iter().any(|(name, _)| *name == stem), "{stem} is not in FILES");
            }
        }
        Ok(())
    }

    #[test]
    fn a_file_that_is_wrong_says_where() {
        for (text, told) in [
            ("[resnet]\nrename = []", "about"),
            ("about = \"x\"\n[resnet]\nrenames = []", "renames"),
            ("about = \"x\"\n[resnet]\nrename = [[\"a{\", \"b\"]]", "names `mine`: `a{`"),
            ("about = \"x\"\n[[resnet.split]]\nlayer = \"a\"", "into"),
            ("about = \"x\"\n[[resnet.split]]\nlayer = \"a\"\ninto = [\"b\"]", "names `mine`: `a` is split into 1"),
            ("about = \"x\"\n[resnet]\npad_shortcut = \"left\"", "left"),
        ] {
            let error = Convention::parse("mine", text).expect_err(text).to_string();
            assert!(error.contains(told), "{error}");
        }
        let error = Convention::named("torchvison").expect_err("a typo");
        assert!(error.hint_text().is_some_and(|hint| hint.starts_with("did you mean `torchvision`?")), "{error:?}");
    }
}
