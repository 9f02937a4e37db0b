//! Arguments of `mrpf evaluate`.

use clap::Args;
use std::path::PathBuf;

use super::Shared;
use crate::bundle::Leaderboard;

/// A saved network to attack.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The saved network, a .safetensors file of mrpf.
    #[arg(required_unless_present = "resume")]
    pub model: Option<PathBuf>,
    /// Go on with an evaluation that was stopped, with the network and the settings it was started with.
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "model", "experiment", "attacks", "epsilons", "images", "curves", "out", "set", "data", "seed",
    ])]
    pub resume: Option<PathBuf>,
    /// The experiment file whose settings are used; one given later is laid over the ones before it. When none is given, the settings
    /// of the run that the network lies in, or the defaults: PGD-20 at 8/255 in evaluation, TRADES in fine-tuning, and so on.
    #[arg(long, value_name = "FILE")]
    pub experiment: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shared: Shared,
    /// The attacks, in place of evaluate.attacks; each by itself, and robust is what survives all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub attacks: Vec<String>,
    /// The radii, in place of evaluate.threat.epsilon, such as 8/255,0.031; one row of results for each.
    #[arg(long, value_name = "LIST", value_delimiter = ',', allow_hyphen_values = true)]
    pub epsilons: Vec<String>,
    /// Use the first N test images only, in place of evaluate.images.
    #[arg(long, value_name = "N")]
    pub images: Option<usize>,
    /// Draw accuracy against radius and against steps on the first N images, 0 for none, in place of evaluate.curves; on 100 images
    /// where neither is given.
    #[arg(long, value_name = "N")]
    pub curves: Option<usize>,
    /// Write what a leaderboard asks for into DIR/bundle-LEADERBOARD, with what of it is not met; may be given several times.
    #[arg(long, value_name = "LEADERBOARD")]
    pub bundle: Vec<Leaderboard>,
    /// A TOML file with what only you know of the network: paper, authors, sparsity; README.md shows one.
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub about: Option<PathBuf>,
}
