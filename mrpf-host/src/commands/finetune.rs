//! `mrpf finetune`: trains a saved network further.

use mrpf_api::network::Network;
use mrpf_api::{Error, ErrorKind, Result};
use std::path::Path;
use std::time::Instant;

use super::Console;
use super::foresee::foresee;
use super::open::{open_fresh, reopen};
use super::task::{SavedNetwork, task};
use crate::cli::FinetuneArgs;
use crate::experiment::Ahead;
use crate::pipeline::{Opened, Session, read_model};

/// Trains with the `finetune` settings and attacks the result.
pub fn finetune(args: &FinetuneArgs, console: &Console<'_>) -> Result<()> {
    let start = Instant::now();
    let (opened, network) = match (&args.resume, &args.model) {
        (Some(dir), _) => {
            let opened = reopen(dir, &args.shared, console)?;
            let network = task::<SavedNetwork>(&opened.dir)?.read(console)?;
            (opened, network)
        }
        (None, Some(model)) => begin(model, args, console)?,
        (None, None) => return Err(Error::new(ErrorKind::Settings, "no network to train, expected a file")),
    };
    let session = Session::open(opened, 2, console.events, console.watcher)?;
    session.check_fits(&network)?;
    let ahead = Ahead {
        trainings: &[("finetune", &session.experiment.finetune)],
        attacks: Some(&session.experiment.evaluate),
        ..Ahead::default()
    };
    foresee(&session, network.declaration(), &ahead)?;
    session.check_attack("finetuned")?;
    let (network, training) = session.finetuned("finetune", "finetuned", network)?;
    let row = session.dense_row("finetuned", &network, &training)?;
    session.finish(&[row], start.elapsed().as_secs_f64())
}

fn begin(model: &Path, args: &FinetuneArgs, console: &Console<'_>) -> Result<(Opened, Network)> {
    let network = read_model(model)?.to_device(&console.device.device)?;
    let opened = open_fresh(model, &args.experiment, &args.shared, |_| Ok(()), console)?;
    opened.dir.write_task(&SavedNetwork::new(model, &network)?)?;
    Ok((opened, network))
}
