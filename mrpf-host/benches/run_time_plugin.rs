//! What a trainer costs that was opened at run time, beside the same source linked in; and what opening ten libraries costs.
//!
//! `cargo bench -p mrpf-host --bench run_time_plugin`. The two trainers take turns step by step in one process, on the same network
//! and images, so that a machine that grows busier slows both; the ratio of each pair of steps is what is told.

use mrpf_dylib as _;
use mrpf_linked_examples as _;

use criterion::Criterion;
use mrpf_api::prelude::*;
use mrpf_api::registry;
use mrpf_host::plugin_library;
use mrpf_host::plugin_sdk::PluginCrate;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PAIRS: usize = 150;

fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("mrpf-bench-{}", std::process::id()));
    let result = benchmarks(&folder);
    let _ = std::fs::remove_dir_all(folder);
    result
}

fn benchmarks(folder: &Path) -> Result<()> {
    let opened = built(folder, "logit-pairing", "opened")?;
    plugin_library::open(&opened)?;
    paired_steps()?;

    let libraries: Vec<PathBuf> =
        (0..10).map(|number| built(folder, "spectral-norm", &format!("metric-{number}"))).collect::<Result<_>>()?;
    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(10)).configure_from_args();
    criterion.bench_function("the program opens ten libraries and lists all plugins", |bencher| {
        bencher.iter(|| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mrpf"));
            libraries.iter().for_each(|library| {
                command.arg("--plugin").arg(library);
            });
            command.args(["plugins", "list"]).output().map(|output| assert!(output.status.success()))
        });
    });
    criterion.final_summary();
    Ok(())
}

/// Trains with both in turns and prints the ratio of their times.
fn paired_steps() -> Result<()> {
    let data = registry::make::<dyn DataSource>("digits", serde_json::json!({}))?.load(None)?;
    let request = ArchitectureRequest {
        input: data.shape(),
        classes: data.classes(),
        mean: data.mean.clone(),
        std: data.std.clone(),
    };
    let architecture = registry::make::<dyn Architecture>("resnet", serde_json::json!({"depth": 8}))?;
    let network = Network::initialise(architecture.declare(&request)?, &Streams::new(0), DType::F32, &Device::Cpu)?;
    let batch = data.train.batch(&(0..64).collect::<Vec<_>>(), DType::F32, &Device::Cpu)?;
    let cx = CallContext::unwatched(Streams::new(1));
    let step = TrainingStep { cx, epoch: 0, epochs: 1, label_smoothing: 0.0 };
    let make = |name: &str| registry::make::<dyn AdversarialTrainer>(name, serde_json::json!({}));
    let (mut linked, mut opened) = (make("logit-pairing")?, make("opened")?);
    let seconds = |trainer: &mut dyn AdversarialTrainer| -> Result<f64> {
        let start = Instant::now();
        trainer.loss(&step, &network, &batch)?.loss.backward()?;
        Ok(start.elapsed().as_secs_f64())
    };
    let (mut times, mut ratios) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS + 5 {
        // Whoever goes second finds warm caches, so they change places.
        let (of_linked, of_opened) = match pair % 2 {
            0 => (seconds(linked.as_mut())?, seconds(opened.as_mut())?),
            _ => {
                let of_opened = seconds(opened.as_mut())?;
                (seconds(linked.as_mut())?, of_opened)
            }
        };
        if pair >= 5 {
            times.push(of_linked);
            ratios.push(of_opened / of_linked);
        }
    }
    times.sort_by(f64::total_cmp);
    ratios.sort_by(f64::total_cmp);
    // Ranks of a 95 % interval of the median.
    let half = 0.98 * (PAIRS as f64).sqrt();
    let rank = |offset: f64| ratios[(PAIRS as f64 / 2.0 + offset).round() as usize];
    println!(
        "training step, ResNet-8, 64 digits: {:.1} ms linked in; opened at run time / linked in: {:.3} (95 % interval {:.3} to {:.3}, {PAIRS} pairs)",
        1e3 * times[PAIRS / 2],
        rank(0.0),
        rank(-half),
        rank(half)
    );
    Ok(())
}

/// An example built under another name, so that it can stand beside the one that is linked in.
fn built(folder: &Path, example: &str, name: &str) -> Result<PathBuf> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins").join(example);
    let dir = folder.join(name);
    let copy = || -> std::io::Result<()> {
        std::fs::create_dir_all(dir.join("src"))?;
        let manifest = std::fs::read_to_string(from.join("Cargo.toml"))?;
        std::fs::write(dir.join("Cargo.toml"), manifest.replace(example, name))?;
        let source = std::fs::read_to_string(from.join("src/lib.rs"))?;
        let named = source.replace(&format!("name: \"{example}\""), &format!("name: \"{name}\""));
        std::fs::write(dir.join("src/lib.rs"), named)
    };
    copy().map_err(|error| Error::new(ErrorKind::Io, format!("cannot copy the example: {error}")))?;
    Ok(PluginCrate::open(&dir)?.build(&[])?.library)
}
