//! Arguments of the commands that read and write networks of others.

use clap::Args;
use std::path::PathBuf;

/// Weights to import.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The state dictionary, a safetensors file.
    pub file: PathBuf,
    /// The architecture, with its first whole-number settings behind it if you like: resnet18, wide-resnet-34-10.
    #[arg(long, value_name = "NAME", conflicts_with = "like", required_unless_present = "like")]
    pub arch: Option<String>,
    /// Change a setting of the architecture, for example form=imagenet; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "like")]
    pub set: Vec<String>,
    /// A saved network of which the file holds other weights, for example a pruned one that was exported and trained on.
    #[arg(long, value_name = "MODEL")]
    pub like: Option<PathBuf>,
    /// Where the network goes, a .safetensors file of mrpf.
    #[arg(long, value_name = "MODEL")]
    pub out: PathBuf,
    /// Whose names the tensors have; recognised when not given.
    #[arg(long, value_name = "CONVENTION", help = names_help())]
    pub names: Option<String>,
    /// What the network subtracts from each channel of images with values from 0 to 1, before it divides by --std. When not given:
    /// what the file says, else what the data set says, else nothing is subtracted.
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "std", allow_negative_numbers = true)]
    pub mean: Vec<f64>,
    /// What it then divides by.
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "mean")]
    pub std: Vec<f64>,
    /// The data set whose image size, mean and standard deviation are taken; `mrpf plugins list` shows them.
    #[arg(long, value_name = "NAME")]
    pub data: Option<String>,
    /// The folder that holds the data.
    #[arg(long, value_name = "DIR", requires = "data")]
    pub data_dir: Option<PathBuf>,
    /// Channels, height and width of the images; when not given, the first usual size that the weights fit.
    #[arg(long, value_name = "CxHxW", conflicts_with_all = ["data", "like"])]
    pub input: Option<String>,
    /// For files with scores of weights, as HYDRA's `popup_scores`: the share of each layer's weights that is kept, those with the
    /// highest scores; the authors call it k.
    #[arg(long, value_name = "SHARE")]
    pub popup_density: Option<f64>,
    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

fn names_help() -> String {
    let known = crate::exchange::names::listed();
    format!("Whose names the tensors have: {known}, or a file NAME.toml with your own; recognised when not given")
}

/// A network to export.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The saved network, a .safetensors file of mrpf.
    pub model: PathBuf,
    /// For whom.
    #[arg(long, value_enum)]
    pub format: Format,
    /// The folder for the files; made if it is not there. Files that stand there already are left alone.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Name of the files; that of the model's file when not given.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

/// For whom a network is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// NAME.safetensors, a state dictionary, and NAME.py, a module that needs torch alone.
    Pytorch,
}
