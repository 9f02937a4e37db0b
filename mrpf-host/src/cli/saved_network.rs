//! Arguments of the commands that work on a saved network: `mrpf sensitivity`, `mrpf prune`, `mrpf finetune`.

use clap::Args;
use std::path::PathBuf;

use super::Shared;

/// A saved network to work on.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// The saved network, a .safetensors file of mrpf.
    pub model: PathBuf,
    /// The experiment file whose settings are used; one given later is laid over the ones before it. When none is given, the settings
    /// of the run that the network lies in, or the defaults: PGD-20 at 8/255 in evaluation, TRADES in fine-tuning, and so on.
    #[arg(long, value_name = "FILE")]
    pub experiment: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shared: Shared,
}

/// A saved network to train further.
#[derive(Debug, Args)]
pub struct FinetuneArgs {
    /// The saved network, a .safetensors file of mrpf.
    #[arg(required_unless_present = "resume")]
    pub model: Option<PathBuf>,
    /// The experiment file whose settings are used; one given later is laid over the ones before it. When none is given, the settings
    /// of the run that the network lies in, or the defaults: PGD-20 at 8/255 in evaluation, TRADES in fine-tuning, and so on.
    #[arg(long, value_name = "FILE")]
    pub experiment: Vec<PathBuf>,
    /// Go on with a fine-tuning that was stopped, with the network and the settings it was started with.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["model", "experiment", "out", "set", "data", "seed"])]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shared: Shared,
}

/// A saved network to prune.
#[derive(Debug, Args)]
pub struct PruneArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub model: ModelArgs,
    /// Sensitivities measured before by `mrpf sensitivity`; measured now when they are needed and not given.
    #[arg(long, value_name = "FILE")]
    pub sensitivity: Option<PathBuf>,
    /// Only tell what would be left: the channels that each layer keeps, multiply-accumulates, parameters and bytes. Nothing is measured,
    /// cut or written.
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: also time the layers on this machine and tell the latency that would be left.
    #[arg(long, requires = "dry_run")]
    pub latency: bool,
}
