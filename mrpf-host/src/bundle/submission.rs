//! What a leaderboard asks for that no evaluation can tell: the paper, its authors, what the training was.

use mrpf_api::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::path::Path;

use crate::files::{SETTINGS, failed, read_text};

/// The file given with `--about`, TOML; everything may be missing, and is then said to be.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Submission {
    /// First author, year and first word of the title: `Sehwag2020Hydra`.
    pub entry: Option<String>,
    /// Title of the paper.
    pub title: Option<String>,
    /// Address of the paper.
    pub link: Option<String>,
    /// Its authors.
    pub authors: Vec<String>,
    /// Where it appeared.
    pub venue: Option<String>,
    /// The network's usual name, such as `ResNet-18`.
    pub architecture: Option<String>,
    /// Whether other images than the data set's were trained on.
    pub additional_data: Option<bool>,
    /// Robust accuracy as the paper reports it, in percent.
    pub reported: Option<f64>,
    /// Addresses of code and checkpoint.
    pub checkpoint: Option<String>,
    /// Address of the file of distances.
    pub distances: Option<String>,
    /// Short name of the pruning method: the part of the model key before the entry's name.
    pub method: Option<String>,
    /// Share removed as the benchmark counts it, in percent: 50, 75 or 90.
    pub sparsity: Option<u32>,
    /// When pruning happens: before, after or during training.
    pub pipeline: Option<Pipeline>,
    /// What the dense network was trained with.
    pub pretraining: Option<String>,
    /// What the pruned network was trained with.
    pub finetuning: Option<String>,
    /// Whether pruning took several rounds.
    pub iterative: Option<bool>,
    /// `filters` or `channels`.
    pub structure: Option<String>,
    /// `local` (layer by layer) or `global`.
    pub locality: Option<Locality>,
    /// The benchmark's class of criteria, such as `Lowest Weight Magnitude (LWM)`.
    pub criterion: Option<String>,
}

/// When pruning happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pipeline {
    /// Of a trained network.
    After,
    /// Of an untrained one.
    Before,
    /// While it is trained.
    During,
}

/// Whether layers compete for the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Locality {
    /// No.
    Local,
    /// Yes.
    Global,
}

impl Submission {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it cannot be read, [`ErrorKind::Settings`] for an unknown or wrong entry.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_text(path, SETTINGS).map_err(|error| failed("read", path, &error))?;
        toml::from_str(&text).map_err(|error| {
            Error::new(ErrorKind::Settings, format!("{}: {error}", path.display()))
                .hint("README.md, `Robustness figures`, shows such a file")
        })
    }
}
