//! Evaluation against classifiers whose faults are known.

mod faulty;
mod memory;
mod resume;
mod signs;

use mrpf_api::Result;
use mrpf_api::candle_core::{DType, Device};
use mrpf_api::context::CallContext;
use mrpf_api::data::{ImageSet, ImageShape};
use mrpf_api::network::Classifier;
use mrpf_api::random::Streams;

use super::cascade::{NamedAttack, Target};
use super::journal::Journal;
use super::outcome::Evaluation;
use super::robustness::evaluate_classifier;
use crate::experiment::{EvaluateSettings, Experiment};

/// Images of two classes: one is brighter on the left half, the other on the right, by `gap` grey values of 255.
fn images(count: usize, gap: u8) -> Result<ImageSet> {
    let shape = ImageShape { channels: 1, height: 2, width: 2 };
    let pixels = (0..count).flat_map(|index| {
        let grey = 120 + (index % 7) as u8;
        let (left, right) = if index % 2 == 0 { (grey + gap, grey) } else { (grey, grey + gap) };
        [left, right, left, right]
    });
    ImageSet::new(shape, pixels.collect(), 255, (0..count).map(|index| (index % 2) as u32).collect(), 2)
}

fn settings(epsilon: f64) -> EvaluateSettings {
    let mut settings = Experiment::default().evaluate;
    settings.threat.epsilon = epsilon.into();
    settings.batch = 16;
    settings.curves = Some(1000);
    settings
}

/// The evaluation of a classifier on 64 images, whose classes are 20 grey values apart.
fn evaluated(classifier: &dyn Classifier, attacks: &[NamedAttack], epsilon: f64) -> Result<Evaluation> {
    let (test, settings) = (images(64, 20)?, settings(epsilon));
    let target = Target { classifier, test: &test, settings: &settings, dtype: DType::F32, device: &Device::Cpu };
    evaluate_classifier(&CallContext::unwatched(Streams::new(0)), &target, attacks, &mut Journal::default())
}
