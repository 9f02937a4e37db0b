//! `mrpf train`: the dense network only.

use mrpf_api::Result;
use std::time::Instant;

use super::Console;
use super::foresee::foresee;
use super::open::open_run;
use crate::cli::RunArgs;
use crate::experiment::Ahead;
use crate::pipeline::Session;

/// Trains the dense network with the `pretrain` settings and attacks it.
pub fn train(args: &RunArgs, console: &Console<'_>) -> Result<()> {
    let start = Instant::now();
    let opened = open_run(args, |experiment| format!("{}-train", experiment.name), console)?;
    let session = Session::open(opened, 2, console.events, console.watcher)?;
    let settings = session.experiment.pretrain.clone();
    let ahead = Ahead {
        trainings: &[("pretrain", &settings)],
        attacks: Some(&session.experiment.evaluate),
        ..Ahead::default()
    };
    foresee(&session, &session.declare()?, &ahead)?;
    session.check_pretraining("train dense", "dense", &settings)?;
    let (dense, training) = session.pretrained("train dense", "dense", &settings)?;
    let row = session.dense_row("dense", &dense, &training)?;
    session.finish(&[row], start.elapsed().as_secs_f64())
}
