//! `mrpf bench`: how fast the work goes that a run is made of.

use mrpf_api::Result;
use mrpf_api::numeric::Precision;

use super::Console;
use crate::bench::{Settings, as_json_line, as_table, measure, read_peers};
use crate::cli::BenchArgs;
use crate::output::print_error;

/// Measures and prints.
pub fn bench(args: &BenchArgs, console: &Console<'_>) -> Result<()> {
    let peers = args.against.as_deref().map(read_peers).transpose()?.unwrap_or_default();
    let settings = Settings {
        what: args.what,
        arch: args.arch.clone(),
        trainer: args.trainer.clone(),
        attack_steps: args.attack_steps,
        batch: args.batch,
        images: args.images,
        epochs: args.epochs,
        steps: args.steps,
        warmup: args.warmup,
        macs: args.macs,
        precision: args.precision,
        device: console.device.clone(),
    };
    let measured = measure(&settings, console.watcher)?;
    for found in measured.iter().filter_map(|one| one.precision) {
        if settings.precision != Precision::F32 && settings.precision != found {
            print_error(&format!(
                "warning: --precision {} changes nothing here: {found} is computed in",
                settings.precision
            ));
        }
    }
    match args.json {
        true => measured.iter().for_each(|one| (console.print)(&as_json_line(one, &peers))),
        false => (console.print)(&as_table(&measured, &peers)),
    }
    Ok(())
}
