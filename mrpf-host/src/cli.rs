//! Arguments exactly as typed; nothing here has side effects.

mod compare;
mod device;
mod evaluate;
mod exchange;
mod results;
mod saved_network;

use clap::{Args, Parser, Subcommand};
use mrpf_api::numeric::Precision;
use std::path::PathBuf;

use crate::bench::What;
use crate::failure::EXIT_CODES;

pub use compare::{CompareArgs, StageArgs};
pub use device::{DeviceArgs, DoctorArgs};
pub use evaluate::EvaluateArgs;
pub use exchange::{ExportArgs, Format, ImportArgs};
pub use results::{ResultsArgs, ResultsFormat};
pub use saved_network::{FinetuneArgs, ModelArgs, PruneArgs};

/// Makes image classifiers small and keeps them robust: measures how sensitive each module's robustness is (MRS), prunes
/// channels by it, fine-tunes adversarially, attacks the result, and sets it beside other criteria under the same budget.
#[derive(Debug, Parser)]
#[command(name = "mrpf", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub plugins: PluginArgs,
}

/// Plugin libraries to open.
#[derive(Debug, Args)]
#[command(next_help_heading = "Plugins")]
pub struct PluginArgs {
    /// Open this plugin library, as `mrpf plugins build` makes it; may be given several times. Libraries are also looked for in
    /// MRPF_PLUGIN_PATH and in the folder mrpf/plugins of your configuration folder. Those that a saved network's run or a run to resume
    /// asks for are opened only if you have opened the same library before, or name it here.
    #[arg(long = "plugin", value_name = "FILE", global = true)]
    pub files: Vec<PathBuf>,
    /// Open plugin libraries even if others than you and root own them, or can change or replace them.
    #[arg(long, global = true)]
    pub allow_writable_plugins: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole experiment: train, measure, prune, fine-tune, attack, compare.
    ///
    /// Without a file it runs the built-in experiment on 8x8 digits, which takes one or two minutes and needs no download.
    ///
    /// Examples:
    ///   mrpf run
    ///   mrpf run --set prune.ratio=0.7 --set finetune.trainer=pgd-at
    ///   mrpf run examples/cifar10.toml --data-dir ~/data/cifar10 --out runs/mine
    ///   mrpf run examples/paper/svhn-vgg16.toml examples/paper/quick.toml --data-dir ~/data/svhn
    #[command(verbatim_doc_comment)]
    Run(RunArgs),
    /// Train the dense network of an experiment with its `pretrain` settings.
    Train(RunArgs),
    /// Measure the sensitivity of each module of a saved network.
    Sensitivity(ModelArgs),
    /// Prune a saved network with the `prune` settings, without fine-tuning.
    ///
    /// Examples:
    ///   mrpf prune a/networks/dense.safetensors --sensitivity b/sensitivity/mrs.json --out c
    ///   mrpf prune a/networks/dense.safetensors --set prune.constraints.multiple=8 --dry-run
    #[command(verbatim_doc_comment)]
    Prune(PruneArgs),
    /// Train a saved network, pruned or not, with the `finetune` settings.
    Finetune(FinetuneArgs),
    /// Attack a saved network and report clean and robust accuracy.
    Evaluate(EvaluateArgs),
    /// Compare methods over settings and seeds: a grid of runs that share what they can, with statistics, one table and one page.
    ///
    /// Without a file it compares the methods of the built-in experiment. The same command goes on where it was stopped, and
    /// computes only what is new when the grid has grown.
    ///
    /// Examples:
    ///   mrpf compare examples/compare-digits.toml --out digits
    ///   mrpf compare examples/compare-cifar10.toml --data-dir ~/data/cifar10 --out cifar10 --jobs 2 --memory 8G
    ///   mrpf compare examples/compare-digits.toml --dry-run
    #[command(verbatim_doc_comment)]
    Compare(CompareArgs),
    /// Show the networks of a comparison: choose, sort, and write them in another format.
    ///
    /// Examples:
    ///   mrpf results comparisons/digits-criteria --where prune.ratio=0.75 --sort robust_accuracy:desc
    ///   mrpf results comparisons/digits-criteria --columns method,seed,macs,robust_accuracy --format csv --out rows.csv
    #[command(verbatim_doc_comment)]
    Results(ResultsArgs),
    /// Compute one stage of a comparison; `mrpf compare` calls this.
    #[command(hide = true)]
    Stage(StageArgs),
    /// Show which plugins there are and what can be set; write, compile and check new ones.
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// Look at a data set, or download its official files.
    #[command(subcommand)]
    Data(DataCommand),
    /// Measure how fast this machine does the work that a run is made of.
    ///
    /// Example:
    ///   mrpf bench --what attack --arch resnet18 --batch 64 --steps 5
    #[command(verbatim_doc_comment)]
    Bench(BenchArgs),
    /// Examine this build and this machine: what is built in, which devices and libraries there are, whether every operation computes
    /// what it should, how fast, and what is missing.
    ///
    /// Examples:
    ///   mrpf doctor
    ///   mrpf doctor --device cuda:1 --json
    #[command(verbatim_doc_comment)]
    Doctor(DoctorArgs),
    /// Show the layers of a network, their shapes and costs, and which channels can only be removed together.
    ///
    /// Examples:
    ///   mrpf summary --arch wide-resnet-34-10
    ///   mrpf summary --arch resnet18 --set form=imagenet --input 3x224x224 --classes 1000
    ///   mrpf summary --model runs/digits-1/networks/dense.safetensors --json
    #[command(verbatim_doc_comment)]
    Summary(SummaryArgs),
    /// Make a network of weights that PyTorch saved, with the names of torchvision, timm and the common CIFAR repositories.
    ///
    /// Examples:
    ///   mrpf import resnet18.safetensors --arch resnet18 --set form=imagenet --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --out resnet18-mrpf.safetensors
    ///   mrpf import trades.safetensors --arch wide-resnet-34-10 --data cifar10 --data-dir ~/data/cifar10 --out dense.safetensors
    ///   mrpf import tuned.safetensors --like pruned.safetensors --out tuned-mrpf.safetensors
    #[command(verbatim_doc_comment)]
    Import(ImportArgs),
    /// Write a saved network for other tools: its weights, and the code that runs them.
    ///
    /// Example:
    ///   mrpf export runs/digits-1/networks/mrs-l1-norm.safetensors --format pytorch --out exported
    #[command(verbatim_doc_comment)]
    Export(ExportArgs),
    /// Explain what happened to a layer in a run: its group, its sensitivity, its scores, the ratio asked and got.
    Explain(ExplainArgs),
}

/// What every command that computes takes.
#[derive(Debug, Args)]
pub struct Shared {
    /// Change a setting, for example prune.ratio=0.7 or finetune.trainer.beta=3; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The run directory to make; runs/NAME-1, runs/NAME-2, ... when not given.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The data set; `mrpf plugins list` shows them.
    #[arg(long, value_name = "NAME")]
    pub data: Option<String>,
    /// The folder that holds the data, for example the one with cifar-10-batches-bin in it.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The seed that all randomness comes from.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Threads for computations; all cores when not given. The results do not depend on it.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    /// Print events as JSON objects, one a line.
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    /// Print nothing but errors.
    #[arg(long, short)]
    pub quiet: bool,
}

/// An experiment to run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Experiment files, each laid over the ones before it; the built-in experiment when none is given.
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: Vec<PathBuf>,
    /// Go on with a run that was stopped, with the settings it was started with.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["experiment", "out", "set", "data", "seed"])]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shared: Shared,
}

/// About plugins.
#[derive(Debug, Subcommand)]
pub enum PluginsCommand {
    /// List all plugins by kind, each with one line.
    List {
        /// Only this kind, for example trainer.
        #[arg(long)]
        kind: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a plugin: what it does, its source, and every setting with its default.
    Show {
        /// The plugin's name, for example trades.
        name: String,
        /// As JSON, with the schema of the settings.
        #[arg(long)]
        json: bool,
    },
    /// Write a new plugin crate that builds and passes its own tests.
    ///
    /// Example:
    ///   mrpf plugins new my-trainer --kind trainer
    #[command(verbatim_doc_comment)]
    New {
        /// Name of the plugin and its crate, for example my-trainer.
        name: String,
        /// What it is: trainer, attack, metric, criterion, allocation, schedule, architecture or dataset.
        #[arg(long)]
        kind: String,
        /// The folder to make; one called NAME here when not given.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Compile a plugin crate into a library that fits this very program.
    Build(CrateArgs),
    /// Run the tests of a plugin crate, against this very program.
    Test(CrateArgs),
    /// Put a plugin to the test: does it keep the laws of its kind?
    ///
    /// Examples:
    ///   mrpf plugins check my-trainer/target/x86_64-unknown-linux-gnu/release/libmy_trainer.so
    ///   mrpf plugins check trades --set steps=2
    #[command(verbatim_doc_comment)]
    Check {
        /// A library, whose plugins are all checked, or the name of a plugin.
        plugin: String,
        /// Change a setting of the plugin, for example steps=2; may be given several times.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// The folder that holds the data, for a data set that needs one.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// About images.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Show what a data set holds: counts of each class, pixel statistics, equal images within and across its parts.
    ///
    /// Examples:
    ///   mrpf data check --data digits --out digits.png
    ///   mrpf data check --data cifar100 --set labels=coarse --data-dir ~/data/cifar100
    #[command(verbatim_doc_comment)]
    Check(DataCheckArgs),
    /// Download the official files of a data set, check and unpack them; goes on where an earlier call was stopped.
    ///
    /// Examples:
    ///   mrpf data fetch cifar10 --data-dir ~/data/cifar10
    ///   mrpf data fetch svhn --set extra=true --data-dir ~/data/svhn
    #[command(verbatim_doc_comment)]
    Fetch(DataFetchArgs),
}

/// Images to look at.
#[derive(Debug, Args)]
pub struct DataCheckArgs {
    /// The data set; `mrpf plugins list --kind dataset` shows them.
    #[arg(long, value_name = "NAME")]
    pub data: String,
    /// The folder that holds the data.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Change a setting of the data set, for example labels=coarse; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Draw a contact sheet into this PNG file: a row for each class, training images on the left, test images on the right.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Files to download.
#[derive(Debug, Args)]
pub struct DataFetchArgs {
    /// The data set.
    pub name: String,
    /// The folder for its files; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Change a setting of the data set, for example extra=true; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Take the files from this address in place of the official ones; their checksums must be the same.
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// Print events as JSON objects, one a line.
    #[arg(long)]
    pub json: bool,
}

/// A plugin crate to compile.
#[derive(Debug, Args)]
pub struct CrateArgs {
    /// The folder of the crate, with its Cargo.toml.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// What is passed on to cargo, behind `--`; for example -- --features fast
    #[arg(last = true, value_name = "CARGO ARGUMENTS")]
    pub cargo: Vec<std::ffi::OsString>,
}

/// What to measure.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The work.
    #[arg(long, value_enum, default_value = "train_step")]
    pub what: What,
    /// The network: an architecture, with numbers and words of its settings behind it: resnet18, mobilevit-xs.
    #[arg(long, value_name = "NAME", default_value = "resnet18")]
    pub arch: String,
    /// The trainer of train_step.
    #[arg(long, value_name = "NAME", default_value = "pgd-at")]
    pub trainer: String,
    /// Steps of the attack in attack and train_step.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub attack_steps: usize,
    /// Images in a batch.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub batch: usize,
    /// Size of the fixed adversarial set of mrs.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub images: usize,
    /// Ascent epochs of mrs for each module.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub epochs: usize,
    /// Repetitions that count.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub steps: usize,
    /// Repetitions before them.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub warmup: usize,
    /// Cut the network to this share of its multiply-accumulates first, every layer alike.
    #[arg(long, value_name = "SHARE")]
    pub macs: Option<f64>,
    /// The numbers that forward, attack and train_step are computed in on an NVIDIA GPU: f32, tf32, bf16 or f16.
    #[arg(long, value_name = "PRECISION", default_value_t)]
    pub precision: Precision,
    /// Threads for computations; all cores when not given.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    /// Print JSON objects, one a line.
    #[arg(long)]
    pub json: bool,
    /// A file of such JSON objects, of this or another program, to compare with.
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
}

/// What to summarise.
#[derive(Debug, Args)]
pub struct SummaryArgs {
    /// An architecture, with numbers and words of its settings behind it if you like: resnet18, wide-resnet-34-10, mobilevit-xs.
    #[arg(long, value_name = "NAME", conflicts_with = "model", required_unless_present = "model")]
    pub arch: Option<String>,
    /// A saved network, a .safetensors file of mrpf.
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Change a setting of the architecture, for example shortcut=padding; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "model")]
    pub set: Vec<String>,
    /// Channels, height and width of the images.
    #[arg(long, value_name = "CxHxW", default_value = "3x32x32", conflicts_with = "model")]
    pub input: String,
    /// Number of classes.
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "model")]
    pub classes: usize,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// What to explain.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The run directory.
    pub run: PathBuf,
    /// A layer, for example layer2.0.conv1; every channel group when not given.
    pub layer: Option<String>,
    /// Only this row of the comparison; all rows when not given.
    #[arg(long)]
    pub row: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
