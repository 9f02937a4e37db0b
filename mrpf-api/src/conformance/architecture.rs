//! Laws of architectures.

use candle_core::{DType, Device};

use super::problem::{numbers, streams};
use super::{Finding, Subject, Verdict, holds_if, law};
use crate::architecture::{Architecture, ArchitectureRequest};
use crate::coupling::{PruningPlan, channel_groups, cut, mask};
use crate::data::ImageShape;
use crate::network::{Declaration, Mode, Network};
use crate::{ErrorKind, Result};

pub(super) fn laws(subject: &Subject<'_>) -> Vec<Finding> {
    vec![
        law("it declares a network for some images, and says why not for others", || declares(subject)),
        law("the network takes the images and classes that were asked for", || every(subject, fits)),
        law("the same request gives the same declaration", || same(subject)),
        law("its logits are finite", || every(subject, runs)),
        law("some of its channels can be pruned, and the cut network is the masked one", || every(subject, prunes)),
    ]
}

fn requests() -> Vec<ArchitectureRequest> {
    let request = |channels, side, classes| ArchitectureRequest {
        input: ImageShape { channels, height: side, width: side },
        classes,
        mean: vec![0.5; channels],
        std: vec![0.25; channels],
    };
    vec![request(1, 8, 10), request(1, 28, 10), request(3, 32, 10), request(3, 32, 100), request(3, 64, 200)]
}

/// The declarations of the requests that it does not refuse.
fn declarations(subject: &Subject<'_>) -> Result<Vec<(ArchitectureRequest, Declaration)>> {
    let architecture = subject.make::<dyn Architecture>()?;
    let mut accepted = Vec::new();
    for request in requests() {
        match architecture.declare(&request) {
            Ok(declaration) => accepted.push((request, declaration)),
            Err(error) if matches!(error.kind(), ErrorKind::Declaration | ErrorKind::Settings) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(accepted)
}

/// Examines the smallest network that it declares.
fn every(subject: &Subject<'_>, examine: fn(&ArchitectureRequest, Declaration) -> Result<Verdict>) -> Result<Verdict> {
    match declarations(subject)?.into_iter().next() {
        Some((request, declaration)) => examine(&request, declaration),
        None => Ok(Verdict::NotExamined("it declares no network".into())),
    }
}

fn declares(subject: &Subject<'_>) -> Result<Verdict> {
    Ok(holds_if(!declarations(subject)?.is_empty(), || "it refuses 1x8x8, 1x28x28, 3x32x32 and 3x64x64 images".into()))
}

fn same(subject: &Subject<'_>) -> Result<Verdict> {
    Ok(holds_if(declarations(subject)? == declarations(subject)?, || "two declarations differ".into()))
}

fn fits(request: &ArchitectureRequest, declaration: Declaration) -> Result<Verdict> {
    let found = (declaration.input, declaration.classes);
    Ok(holds_if(found == (request.input, request.classes), || {
        let (input, classes) = found;
        format!("{:?} in {classes} classes for {:?} in {}", input.dims(), request.input.dims(), request.classes)
    }))
}

fn initialised(declaration: Declaration) -> Result<Network> {
    Network::initialise(declaration, &streams().child("network"), DType::F32, &Device::Cpu)
}

fn logits(network: &Network, request: &ArchitectureRequest) -> Result<Vec<f32>> {
    let [channels, height, width] = request.input.dims();
    let shape = [2, channels, height, width];
    let images = streams().child("images").stream().uniform(&shape, 0.0, 1.0, DType::F32, &Device::Cpu)?;
    numbers(&network.forward(&images, Mode::Evaluate)?)
}

fn runs(request: &ArchitectureRequest, declaration: Declaration) -> Result<Verdict> {
    let logits = logits(&initialised(declaration)?, request)?;
    let right = logits.len() == 2 * request.classes && logits.iter().all(|value| value.is_finite());
    Ok(holds_if(right, || format!("{} logits for 2 images in {} classes: {logits:?}", logits.len(), request.classes)))
}

fn prunes(request: &ArchitectureRequest, declaration: Declaration) -> Result<Verdict> {
    let network = initialised(declaration)?;
    let groups = channel_groups(network.declaration())?;
    let keep: Vec<usize> = groups
        .iter()
        .map(|group| if group.frozen.is_some() { group.channels } else { group.channels - group.channels / 2 })
        .collect();
    if groups.iter().zip(&keep).all(|(group, keep)| group.channels == *keep) {
        return Ok(Verdict::Broken("every channel is frozen; `mrpf explain` says why".into()));
    }
    let scores: Vec<Vec<f64>> =
        groups.iter().map(|group| (0..group.channels).map(|at| ((3 * at) % 7) as f64).collect()).collect();
    let plan = PruningPlan::keep_highest(&groups, &scores, &keep);
    let (masked, pruned) = (logits(&mask(&network, &plan)?, request)?, logits(&cut(&network, &plan)?, request)?);
    let close = masked.iter().zip(&pruned).all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + a.abs()));
    Ok(holds_if(close && masked.len() == pruned.len(), || {
        "the cut network gives other logits than the masked one".into()
    }))
}
