//! The commands: one short function each, put together from the pipeline's stages.

mod bench;
mod compare;
mod data;
mod doctor;
mod dry_run;
mod evaluate;
mod explain;
mod export;
mod finetune;
mod foresee;
mod import;
mod open;
mod plugins;
mod prune;
mod results;
mod run;
mod sensitivity;
mod stage;
mod summary;
mod task;
mod train;

use mrpf_api::context::Watcher;
use mrpf_api::{Error, Result};
use std::path::PathBuf;

use crate::cli::{Cli, Command, DataCommand, DeviceArgs, PluginsCommand, Shared};
use crate::device::{DeviceChoice, OpenDevice};
use crate::event::EventSink;

/// What a command is given beside its arguments.
pub struct Console<'a> {
    /// Told what happens.
    pub events: &'a dyn EventSink,
    /// Progress inside a call, and the wish to stop.
    pub watcher: &'a dyn Watcher,
    /// Takes the text that a command is asked for, such as a listing.
    pub print: &'a dyn Fn(&str),
    /// The arguments as typed, for the run's record.
    pub arguments: &'a [String],
    /// Plugin libraries that the user named with `--plugin`.
    pub plugin_files: &'a [PathBuf],
    /// Why libraries that lie in searched places were not opened.
    pub refused: &'a [Error],
    /// Where to compute.
    pub device: &'a OpenDevice,
    /// The command, as typed.
    pub command: &'static str,
}

/// Does what the arguments ask for.
///
/// # Errors
/// Whatever stops the command; see [`crate::failure`] for how it is told.
pub fn dispatch(cli: &Cli, console: &Console<'_>) -> Result<()> {
    match &cli.command {
        Command::Run(args) => run::run(args, console),
        Command::Train(args) => train::train(args, console),
        Command::Sensitivity(args) => sensitivity::sensitivity(args, console),
        Command::Prune(args) => prune::prune(args, console),
        Command::Finetune(args) => finetune::finetune(args, console),
        Command::Evaluate(args) => evaluate::evaluate(args, console),
        Command::Compare(args) => compare::compare(args, console),
        Command::Results(args) => results::results(args, console),
        Command::Stage(args) => stage::stage(args, console),
        Command::Plugins(command) => plugins::plugins(command, console),
        Command::Data(command) => data::data(command, console),
        Command::Bench(args) => bench::bench(args, console),
        Command::Doctor(args) => doctor::doctor(args, console),
        Command::Summary(args) => summary::summary(args, console),
        Command::Import(args) => import::import(args, console),
        Command::Export(args) => export::export(args, console),
        Command::Explain(args) => explain::explain(args, console),
    }
}

/// The command as it is typed.
pub fn name(command: &Command) -> &'static str {
    match command {
        Command::Run(_) => "run",
        Command::Train(_) => "train",
        Command::Sensitivity(_) => "sensitivity",
        Command::Prune(_) => "prune",
        Command::Finetune(_) => "finetune",
        Command::Evaluate(_) => "evaluate",
        Command::Compare(_) => "compare",
        Command::Results(_) => "results",
        Command::Stage(_) => "stage",
        Command::Plugins(_) => "plugins",
        Command::Data(_) => "data",
        Command::Bench(_) => "bench",
        Command::Doctor(_) => "doctor",
        Command::Summary(_) => "summary",
        Command::Import(_) => "import",
        Command::Export(_) => "export",
        Command::Explain(_) => "explain",
    }
}

/// Whether the command works with plugins, so that libraries are looked for and opened.
pub fn needs_plugins(command: &Command) -> bool {
    match command {
        Command::Doctor(_) | Command::Explain(_) | Command::Export(_) | Command::Results(_) => false,
        Command::Summary(args) => args.model.is_none(),
        Command::Plugins(command) => {
            !matches!(command, PluginsCommand::New { .. } | PluginsCommand::Build(_) | PluginsCommand::Test(_))
        }
        _ => true,
    }
}

/// Whether the command stops when its standard input ends.
pub fn reads_input(command: &Command) -> bool {
    matches!(command, Command::Stage(_))
}

/// Whether the command runs several things side by side, which a dashboard shows best.
pub fn side_by_side(command: &Command) -> bool {
    matches!(command, Command::Compare(args) if !args.dry_run)
}

/// How many threads the user asked for.
pub fn threads(command: &Command) -> Option<usize> {
    match command {
        Command::Bench(args) => args.threads,
        Command::Doctor(args) => args.threads,
        Command::Stage(args) => Some(args.threads),
        other => shared(other).and_then(|shared| shared.threads),
    }
}

/// Where the user asked to compute, if the command computes.
pub fn device(command: &Command) -> Option<&DeviceArgs> {
    match command {
        Command::Bench(args) => Some(&args.device),
        Command::Stage(args) => Some(&args.device),
        other => shared(other).map(|shared| &shared.device),
    }
}

/// The devices of which this process itself opens the first that works; several only for a comparison.
///
/// # Errors
/// [`ErrorKind::Device`](mrpf_api::ErrorKind::Device) if one of several is not there.
pub fn opens(command: &Command, choice: DeviceChoice) -> Result<Vec<DeviceChoice>> {
    match command {
        Command::Compare(_) => choice.each(),
        _ => Ok(vec![choice]),
    }
}

/// Whether the user asked for events as JSON Lines.
pub fn events_as_json(command: &Command) -> bool {
    match command {
        Command::Data(DataCommand::Fetch(args)) => args.json,
        Command::Stage(_) => true,
        // Its answer is one object, which stands alone.
        Command::Prune(args) if args.dry_run => false,
        other => shared(other).is_some_and(|shared| shared.json),
    }
}

/// Whether events belong to what the command prints; the answers of others stand alone.
pub fn events_are_shown(command: &Command) -> bool {
    match command {
        Command::Stage(_) => true,
        Command::Prune(args) => !args.dry_run,
        other => shared(other).is_some(),
    }
}

/// Whether the user asked for silence but for errors. A listing in JSON must stand alone, so no event goes with it.
pub fn quiet(command: &Command) -> bool {
    match command {
        Command::Data(DataCommand::Check(args)) => args.json,
        Command::Import(args) => args.json,
        Command::Prune(args) if args.dry_run => args.model.shared.json || args.model.shared.quiet,
        other => shared(other).is_some_and(|shared| shared.quiet),
    }
}

/// The options shared by all commands that compute, if the command is one.
pub fn shared(command: &Command) -> Option<&Shared> {
    match command {
        Command::Run(args) | Command::Train(args) => Some(&args.shared),
        Command::Sensitivity(args) => Some(&args.shared),
        Command::Finetune(args) => Some(&args.shared),
        Command::Prune(args) => Some(&args.model.shared),
        Command::Evaluate(args) => Some(&args.shared),
        Command::Compare(args) => Some(&args.shared),
        Command::Stage(_) => None,
        Command::Plugins(_) | Command::Data(_) | Command::Bench(_) | Command::Summary(_) | Command::Explain(_) => None,
        Command::Doctor(_) | Command::Import(_) | Command::Export(_) | Command::Results(_) => None,
    }
}
