//! What a trainer costs that was opened at run time, beside the same source linked in; and what opening libraries costs.
//!
//! `cargo bench -p mrpf-host --bench run_time_plugin`. Both trainers run in turns in one process, on the same network and images.

use mrpf_dylib as _;
use mrpf_linked_examples as _;

use criterion::Criterion;
use mrpf_api::prelude::*;
use mrpf_api::registry;
use mrpf_host::plugin_library;
use mrpf_host::plugin_sdk::PluginCrate;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The example built under another name, so that it can stand beside the one that is linked in.
fn renamed_example(example: &str, name: &str) -> std::io::Result<PathBuf> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins").join(example);
    let dir = std::env::temp_dir().join(format!("mrpf-bench-{}", std::process::id())).join(name);
    std::fs::create_dir_all(dir.join("src"))?;
    std::fs::write(dir.join("Cargo.toml"), std::fs::read_to_string(from.join("Cargo.toml"))?.replace(example, name))?;
    let source = std::fs::read_to_string(from.join("src/lib.rs"))?;
    std::fs::write(
        dir.join("src/lib.rs"),
        source.replace(&format!("name: \"{example}\""), &format!("name: \"{name}\"")),
    )?;
    Ok(dir)
}

fn main() -> Result<()> {
    let dir = renamed_example("logit-pairing", "opened")
        .map_err(|error| Error::new(ErrorKind::Io, format!("cannot copy the example: {error}")))?;
    let built = PluginCrate::open(&dir)?.build(&[])?;
    plugin_library::open(&built.library)?;

    let data = registry::make::<dyn DataSource>("digits", serde_json::json!({}))?.load(None)?;
    let request = ArchitectureRequest {
        input: data.shape(),
        classes: data.classes(),
        mean: data.mean.clone(),
        std: data.std.clone(),
    };
    let declaration =
        registry::make::<dyn Architecture>("resnet", serde_json::json!({"depth": 8}))?.declare(&request)?;
    let network = Network::initialise(declaration, &Streams::new(0), DType::F32, &Device::Cpu)?;
    let batch = data.train.batch(&(0..64).collect::<Vec<_>>(), DType::F32, &Device::Cpu)?;
    let step = TrainingStep { cx: CallContext::unwatched(Streams::new(1)), epoch: 0, epochs: 1, label_smoothing: 0.0 };

    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(15)).configure_from_args();
    let mut group = criterion.benchmark_group("training step, ResNet-8, 64 digits");
    // Twice in turns, so that a machine that grows busier shows as a difference between the two turns of one trainer.
    for turn in 1..=2 {
        for (name, what) in [("logit-pairing", "linked in"), ("opened", "opened at run time")] {
            let mut trainer = registry::make::<dyn AdversarialTrainer>(name, serde_json::json!({}))?;
            group.bench_function(format!("{what}, turn {turn}"), |bencher| {
                bencher.iter(|| trainer.loss(&step, &network, &batch).and_then(|found| Ok(found.loss.backward()?)));
            });
        }
    }
    group.finish();
    criterion.final_summary();
    let _ = std::fs::remove_dir_all(dir);
    Ok(())
}
