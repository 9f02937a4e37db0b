//! Robust pruning as a library: declare, train, measure, prune, attack, on the built-in digits.
//!
//! ```text
//! cargo run --release --example whole_run
//! ```

use mrpf_api::attack::{Attack, ThreatModel};
use mrpf_api::context::Unwatched;
use mrpf_api::coupling::cost;
use mrpf_api::data::DataSource;
use mrpf_api::prelude::*;
use mrpf_host::event::Silent;
use mrpf_host::experiment::{Experiment, PluginChoice, Sources};
use mrpf_host::pruning::{Dense, PruneStep, prune_step};
use mrpf_host::training::{Split, TrainingJob, TrainingSettings, train};

fn main() -> Result<()> {
    // The built-in experiment's settings; every one of them could be written here instead.
    let experiment = Experiment::load(&Sources::default())?;
    let streams = Streams::new(experiment.seed);
    let data = experiment.data.name.make::<dyn DataSource>()?.load(None)?;
    let split = Split::new(&data, experiment.data.holdout, None, &streams.child("holdout"))?;

    // A network is a declaration and its weights.
    let request = ArchitectureRequest {
        input: data.shape(),
        classes: data.classes(),
        mean: data.mean.clone(),
        std: data.std.clone(),
    };
    let declaration = experiment.network.architecture.make::<dyn Architecture>()?.declare(&request)?;
    let network = Network::initialise(declaration, &streams.child("initialise"), DType::F32, &Device::Cpu)?;

    // A short robust training.
    let settings = TrainingSettings { epochs: 8, ..experiment.pretrain.clone() };
    let trained = train(TrainingJob {
        stage: "train",
        network,
        teacher: None,
        data: &data,
        split: &split,
        settings: &settings,
        streams: streams.child("train"),
        checkpoint: None,
        events: &Silent,
        watcher: &Unwatched,
    })?;

    // How much robustness hangs on each module, and half of the multiply-accumulates removed by it.
    let cx = CallContext::unwatched(streams.child("prune"));
    let modules =
        experiment.prune.sensitivity.make::<dyn SensitivityMetric>()?.measure(&cx, &trained.network, &data)?;
    let dense = Dense::new(trained.network.declaration(), &experiment.prune)?;
    let step = PruneStep {
        cx: cx.clone(),
        settings: &experiment.prune,
        data: &data,
        modules: &modules,
        dense: &dense,
        ratio: 0.5,
    };
    let pruned = prune_step(&step, &trained.network)?;

    let attack = PluginChoice::named("pgd").with("step_size", 0.025).make::<dyn Attack>()?;
    let threat = ThreatModel { norm: Norm::Linf, epsilon: Fraction::from(0.1) };
    let batch = data.test.batch(&(0..120).collect::<Vec<_>>(), DType::F32, &Device::Cpu)?;
    for (name, network) in [("dense", &trained.network), ("pruned, not yet fine-tuned", &pruned.network)] {
        let outcome = attack.attack(&cx, &network.freeze()?, &threat, &batch)?;
        let survivors = outcome.broken.iter().filter(|&&broken| !broken).count();
        let macs = cost(network.declaration())?.macs;
        println!("{name}: {macs} multiply-accumulates, {survivors} of {} images survive the attack", batch.len());
    }
    Ok(())
}
