//! Signs that a robustness figure is not what it seems.

use mrpf_api::Result;
use mrpf_api::attack::{Ascent, Attack, Start, ThreatModel};
use mrpf_api::candle_core::DType;
use mrpf_api::context::CallContext;
use mrpf_api::data::Batch;
use mrpf_api::fraction::Fraction;
use mrpf_api::network::{Classifier, FrozenNetwork};
use mrpf_api::numeric::loss;

use super::robustness::Evaluation;
use crate::experiment::EvaluateSettings;

/// How many images the signs are looked for on.
pub(super) const IMAGES: usize = 128;

/// Looks for signs of false robustness on the first images, `batch`; each sign that shows is one sentence.
///
/// Looked for: images whose input gradient vanishes, epsilon 0 that differs from clean, and random noise that breaks as much as
/// the attacks.
pub fn warning_signs(
    cx: &CallContext<'_>,
    frozen: &FrozenNetwork,
    batch: &Batch,
    settings: &EvaluateSettings,
    evaluation: &Evaluation,
) -> Result<Vec<String>> {
    let mut signs = Vec::new();

    let labels = batch.labels.clone();
    let gradient =
        frozen.input_gradient(&batch.images, &|logits| loss::cross_entropy_per_image(logits, &labels))?.gradient;
    let largest = gradient.abs()?.flatten_from(1)?.max(1)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let vanished = largest.iter().filter(|&&value| value == 0.0).count();
    if vanished > 0 {
        let share = 100.0 * vanished as f64 / batch.len() as f64;
        signs.push(format!(
            "the input gradient is exactly zero for {share:.0} % of the images: attacks that follow it see nothing"
        ));
    }

    let clean = loss::correct(&frozen.logits(&batch.images)?, &labels)?;
    let nowhere = ThreatModel { epsilon: Fraction::from(0.0), ..settings.threat.clone() };
    for choice in &settings.attacks {
        let attack = choice.make::<dyn Attack>()?;
        let outcome = attack.attack(&cx.child("epsilon-0"), frozen, &nowhere, batch)?;
        let differs = outcome.broken.iter().zip(&clean).filter(|(broken, clean)| *broken == *clean).count();
        if differs > 0 {
            signs.push(format!(
                "attack `{}` at epsilon 0 changes the outcome of {differs} images, expected none",
                choice.name
            ));
        }
    }

    let ascent = Ascent { threat: settings.threat.clone(), step_size: 0.0, steps: 0, start: Start::Uniform };
    let noisy = ascent.starting_images(&cx.child("noise"), batch)?;
    let survives_noise = loss::correct(&frozen.logits(&noisy)?, &labels)?.iter().filter(|&&right| right).count();
    let survives_attacks =
        evaluation.outcomes[..batch.len()].iter().filter(|outcome| outcome.survives.iter().all(|&yes| yes)).count();
    let right = clean.iter().filter(|&&right| right).count();
    if survives_noise <= survives_attacks && survives_attacks < right {
        signs.push(format!(
            "random noise breaks as much as the attacks ({} against {} of {right} images): the attacks are too weak here",
            right - survives_noise.min(right),
            right - survives_attacks
        ));
    }
    Ok(signs)
}
