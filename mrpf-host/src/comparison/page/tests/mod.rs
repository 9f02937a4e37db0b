//! The page as text, and in a browser where there is one.

mod browser;
mod structure;

use mrpf_api::Result;
use mrpf_api::architecture::{Architecture, ArchitectureRequest};
use mrpf_api::candle_core::{DType, Device};
use mrpf_api::data::DataSource;
use mrpf_api::network::Network;
use mrpf_api::random::Streams;
use std::path::Path;

use crate::comparison::findings::Findings;
use crate::comparison::sample::sample_with_a_failure;
use crate::evaluation::{Curves, EpsilonPoint, Evaluation, Sign};
use crate::experiment::PluginChoice;
use crate::files::write_atomically;

/// A comparison that has something for every section.
fn everything() -> Result<Findings> {
    let mut findings = sample_with_a_failure()?;
    let radii = |evaluation: &mut Evaluation| {
        let left = [1.0, 0.9, 0.8, 0.6, 0.35, 0.1, 0.0, 0.0].map(|share| (share * evaluation.robust as f64) as usize);
        let point = |(at, survivors)| EpsilonPoint { epsilon: 0.05 * at as f64, survivors };
        let epsilons = left.into_iter().enumerate().map(point).collect();
        evaluation.curves = Some(Curves { images: evaluation.images, epsilons, steps: Vec::new() });
    };
    findings.dense.iter_mut().for_each(|dense| radii(&mut dense.evaluation));
    findings.pruned.iter_mut().for_each(|finding| radii(&mut finding.evaluation));
    let row = &mut findings.pruned[3].row;
    row.signs.push(Sign {
        name: "noise-as-strong".into(),
        message: "random noise breaks as much as the attacks (3 against 3 of 40 images): the attacks are too weak here"
            .into(),
    });
    row.shortfall = Some("each layer keeps at least one channel".into());
    Ok(findings)
}

/// Puts networks with random weights where the findings say that theirs are.
fn with_networks(findings: &mut Findings, store: &Path) -> Result<()> {
    let data = findings.experiment.data.name.make::<dyn DataSource>()?.load(None)?;
    let request = ArchitectureRequest {
        input: data.shape(),
        classes: data.classes(),
        mean: data.mean.clone(),
        std: data.std.clone(),
    };
    let choice = PluginChoice::named("resnet").with("depth", 8).with("width", 4);
    let declaration = choice.make::<dyn Architecture>()?.declare(&request)?;
    for (at, path) in [&findings.dense[0].network, &findings.pruned[0].network].into_iter().enumerate() {
        let network = Network::initialise(declaration.clone(), &Streams::new(at as u64), DType::F32, &Device::Cpu)?;
        write_atomically(&store.join(path), &network.to_bytes()?)?;
    }
    Ok(())
}
