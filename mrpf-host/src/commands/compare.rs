//! `mrpf compare`: a grid of runs, and what is found in it.

use mrpf_api::architecture::{Architecture, ArchitectureRequest};
use mrpf_api::data::DataSource;
use mrpf_api::registry::PluginLibrary;
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use sysinfo::System;

use super::Console;
use super::open::load;
use crate::cli::CompareArgs;
use crate::comparison::{
    Cell, Forecast, Grid, Ground, Limits, Means, Plan, Schedule, Stage, Store, collect, comparison_table,
    write_digests, write_page, write_results,
};
use crate::device::{Arithmetic, DeviceChoice, OpenDevice, without_number};
use crate::event::{Event, EventSink};
use crate::experiment::{Ahead, Base, Experiment};
use crate::image_digest::ImageDigests;
use crate::load_data::load_data;
use crate::output::{Both, MetricsFile, TensorBoard};
use crate::plugin_library::{Writable, accepts_writable, opened as opened_libraries};

/// Plans the grid, computes what is not there, and writes what is found.
pub fn compare(args: &CompareArgs, console: &Console<'_>) -> Result<()> {
    let start = Instant::now();
    let mut experiment = load(&args.grid, Base::BuiltIn, &args.shared, console)?;
    // The processes of stages may run in another folder.
    if let Some(dir) = &mut experiment.data.dir {
        *dir = std::path::absolute(&*dir).unwrap_or_else(|_| dir.clone());
    }
    let limits = limits(args, console.device)?;
    let grid = Grid::new(&experiment)?;
    let known: RefCell<BTreeMap<String, Images>> = RefCell::new(BTreeMap::new());
    let plan = Plan::new(&grid, &|cell| ground(cell, &known, console))?;
    foresee(&grid, &known.borrow(), console)?;
    let path = args.shared.out.clone().unwrap_or_else(|| PathBuf::from("comparisons").join(&experiment.name));
    for message in &grid.notes {
        console.events.send(Event::Warning { about: "comparison".into(), message: message.clone() });
    }
    if args.dry_run {
        return forecast(&experiment, &plan, &path, &limits.devices, console);
    }
    let store = Store::open(&path)?;
    store.write_experiment(&experiment)?;
    let kept = MetricsFile::open(&store.path().join("metrics.jsonl"))?;
    let curves = TensorBoard::new(&store.path().join("tensorboard"));
    let seen = Both(&curves, console.events);
    let events = Both(&kept, &seen);
    let (together, devices) = (limits.together(), limits.devices.clone());
    let schedule = Schedule::new(&plan, &store, limits, &events, console.watcher)?;
    events.send(Event::ComparisonPlanned {
        name: experiment.name.clone(),
        directory: path.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        networks: plan.rows.len(),
        stages: plan.stages.len(),
        reused: schedule.reused(),
        to_compute: schedule.to_compute(),
        jobs: together,
        devices: sharing(&devices),
    });
    let program = std::env::current_exe()
        .map_err(|error| Error::new(ErrorKind::Io, format!("cannot find this program's own file: {error}")))?;
    let tally =
        schedule.run(&|stage, means| process(&program, &store, stage, means, args.shared.device.arithmetic()))?;
    store.check_present()?;
    let findings = collect(&experiment, &grid, &plan, &store)?;
    write_results(&findings, store.path())?;
    write_page(&findings, store.path(), store.path())?;
    write_digests(store.path())?;
    events.send(Event::ComparisonFinished {
        seconds: start.elapsed().as_secs_f64(),
        computed: tally.computed,
        reused: tally.reused,
        failed: tally.failed,
        table: comparison_table(&findings),
        directory: path,
    });
    match tally.failed {
        0 => Ok(()),
        failed => {
            let message = format!("{failed} of {} stages failed or could not begin", plan.stages.len());
            Err(match tally.by_device {
                0 => Error::new(ErrorKind::Numeric, message)
                    .hint("the report says why; when that is mended, the same command computes what is missing"),
                by_device => {
                    Error::new(ErrorKind::Device, format!("{message}, {by_device} because their device failed")).hint(
                        "the same command computes what is missing, also with another --device; the report says why",
                    )
                }
            })
        }
    }
}

/// Tells what would be computed; nothing is written.
fn forecast(
    experiment: &Experiment,
    plan: &Plan,
    path: &Path,
    devices: &[DeviceChoice],
    console: &Console<'_>,
) -> Result<()> {
    let store = path.exists().then(|| Store::inspect(path)).transpose()?;
    let mut forecast = Forecast::new(&experiment.name, plan, store.as_ref(), console.device, console.watcher)?;
    forecast.devices = sharing(devices);
    console.events.send(Event::ComparisonForecast { forecast });
    Ok(())
}

/// The names of devices that share the stages; none where there is only one.
fn sharing(devices: &[DeviceChoice]) -> Vec<String> {
    match devices {
        [_] => Vec::new(),
        several => several.iter().map(DeviceChoice::to_string).collect(),
    }
}

fn process(program: &Path, store: &Store, stage: &Stage, means: Means, arithmetic: Arithmetic) -> Command {
    let mut command = Command::new(program);
    command.arg("stage").arg(store.stage(&stage.key)).arg("--threads").arg(means.threads.to_string());
    command.arg("--device").arg(means.device.to_string());
    if arithmetic.tf32 {
        command.arg("--tf32");
    }
    if arithmetic.deterministic {
        command.arg("--deterministic");
    }
    // The stage's settings are found in its directory, so the process is told what the user named.
    for library in opened_libraries() {
        command.arg("--plugin").arg(&library.path);
    }
    if accepts_writable() == Writable::Accept {
        command.arg("--allow-writable-plugins");
    }
    command
}

fn limits(args: &CompareArgs, device: &OpenDevice) -> Result<Limits> {
    let cores = mrpf_api::rayon::current_num_threads();
    let jobs = args.jobs.unwrap_or(if device.is_cpu() { cores } else { 1 });
    if jobs == 0 {
        return Err(Error::new(ErrorKind::Settings, "--jobs 0, expected at least 1"));
    }
    // Where the system does not say what is free, only the number of processes is limited.
    let free = || {
        System::new().map_or(u64::MAX, |mut system| {
            system.refresh_memory();
            system.available_memory() / 5 * 4
        })
    };
    let mut devices = args.shared.device.device.each()?;
    devices.retain(|choice| !device.left_out.contains(choice));
    Ok(Limits { cores, devices, jobs, memory: args.memory.unwrap_or_else(free) })
}

/// What is known of a data set without its images.
struct Images {
    digest: String,
    request: ArchitectureRequest,
}

/// Which images a cell's settings choose.
fn images(cell: &Cell) -> String {
    let settings = &cell.experiment.data;
    format!("{:?} {:?}", settings.name, settings.dir)
}

/// Asks everyone who takes part in any cell, before the first stage is begun; cells that differ in seeds alone are one.
fn foresee(grid: &Grid, known: &BTreeMap<String, Images>, console: &Console<'_>) -> Result<()> {
    let (mut asked, mut told) = (BTreeSet::new(), BTreeSet::new());
    for cell in &grid.cells {
        let Cell { experiment, variant, .. } = cell;
        let Some(Images { request, .. }) = known.get(&images(cell)) else { continue };
        let settings = (
            (images(cell), &experiment.network, &experiment.pretrain, &experiment.evaluate),
            (&variant.prune, &variant.finetune, &experiment.grid.metrics),
        );
        if !asked.insert(format!("{settings:?}")) {
            continue;
        }
        let choice = &experiment.network.architecture;
        let declared = choice.make::<dyn Architecture>()?.declare(request);
        let declared = declared.context(|| format!("architecture `{}`", choice.name))?;
        let ahead = Ahead {
            trainings: &[("pretrain", &experiment.pretrain)],
            metrics: &experiment.grid.metrics.iter().collect::<Vec<_>>(),
            variants: std::slice::from_ref(variant),
            attacks: Some(&experiment.evaluate),
        };
        let remarks = ahead.foresee(&declared).context(|| cell.place.to_string())?;
        for message in remarks {
            if told.insert(message.clone()) {
                console.events.send(Event::Warning { about: "settings".into(), message });
            }
        }
    }
    Ok(())
}

/// The images and libraries that a cell's results depend on; each data set is read once.
fn ground(cell: &Cell, known: &RefCell<BTreeMap<String, Images>>, console: &Console<'_>) -> Result<Ground> {
    let settings = &cell.experiment.data;
    let choice = images(cell);
    let mut known = known.borrow_mut();
    let data = match known.get(&choice) {
        Some(images) => images.digest.clone(),
        None => {
            let (name, source) = (&settings.name.name, settings.name.make::<dyn DataSource>()?);
            let data = load_data(name, &*source, settings.dir.as_deref(), console.watcher, console.events)?;
            let request = ArchitectureRequest {
                input: data.shape(),
                classes: data.classes(),
                mean: data.mean.clone(),
                std: data.std.clone(),
            };
            let digest = ImageDigests::of(&data).whole();
            known.insert(choice, Images { digest: digest.clone(), request });
            digest
        }
    };
    let libraries = opened_libraries().iter().map(|PluginLibrary { sha256, .. }| sha256.clone()).collect();
    Ok(Ground { data, libraries, device: without_number(&console.device.name) })
}
