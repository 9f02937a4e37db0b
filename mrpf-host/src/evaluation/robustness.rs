//! Attacks a network on the test images and keeps the outcome of every image.

use mrpf_api::attack::Attack;
use mrpf_api::context::CallContext;
use mrpf_api::data::ImageSet;
use mrpf_api::network::Network;
use mrpf_api::numeric::loss;
use mrpf_api::{Error, ErrorKind, Result};

use super::cascade::{NamedAttack, Target, attack_images};
use super::curves::curves;
use super::journal::Journal;
use super::left_out::unless_it_fails;
use super::outcome::{Evaluation, ImageOutcome};
use super::signs::{self, warning_signs};
use crate::experiment::{EvaluateSettings, PluginChoice};

/// Attacks a network with every attack of the settings on the first images of the test set.
///
/// Each attack by itself gets all images that are classified rightly; what survives all of them counts as robust. Batches that
/// `journal` knows are not attacked again.
///
/// # Errors
/// [`ErrorKind::Plugin`] if an attack leaves its ball, [`ErrorKind::Numeric`] if a logit is not a number, [`ErrorKind::Data`] if there
/// are no test images.
pub fn evaluate(
    cx: &CallContext<'_>,
    network: &Network,
    test: &ImageSet,
    settings: &EvaluateSettings,
    journal: &mut Journal,
) -> Result<Evaluation> {
    let frozen = network.freeze()?;
    let (dtype, device) = (network.dtype(), network.device());
    let attacks = named_attacks(&settings.attacks)?;
    let target = Target { classifier: &frozen, test, settings, dtype, device };
    let evaluation = evaluate_classifier(cx, &target, &attacks, journal)?;
    // Whoever comes next needs other passes than those that are ready now.
    drop(frozen);
    network.release_memory()?;
    Ok(evaluation)
}

/// The same for any classifier and attacks that are made already.
pub(super) fn evaluate_classifier(
    cx: &CallContext<'_>,
    target: &Target<'_>,
    attacks: &[NamedAttack],
    journal: &mut Journal,
) -> Result<Evaluation> {
    let settings = target.settings;
    let images = settings.images.unwrap_or(usize::MAX).min(target.test.len());
    if images == 0 {
        return Err(Error::new(ErrorKind::Data, "there are no test images to attack, expected at least one"));
    }
    let indices: Vec<usize> = (0..images).collect();
    let mut outcomes = clean_outcomes(cx, target, &indices)?;
    let right: Vec<usize> = indices.iter().copied().filter(|&at| outcomes[at].is_right()).collect();
    let mut records = Vec::with_capacity(attacks.len());
    for named in attacks {
        let (record, mut attacked) = attack_images(cx, target, named, &right, journal)?;
        outcomes.iter_mut().for_each(|outcome| outcome.attacks.push(attacked.remove(&outcome.index)));
        records.push(record);
    }
    let mut evaluation = Evaluation {
        images,
        clean: right.len(),
        robust: outcomes.iter().filter(|outcome| outcome.survives_all()).count(),
        attacks: records,
        outcomes,
        signs: Vec::new(),
        curves: None,
        left_out: Vec::new(),
    };
    if let Some(count) = settings.curves.filter(|&count| count > 0) {
        let batch = target.batch(&indices[..count.min(images)])?;
        let step = |done, total| cx.step("steps of the curves", done, total);
        let drawn = curves(cx, target.classifier, &batch, &settings.threat, step);
        evaluation.curves = unless_it_fails("curves", drawn, &mut evaluation.left_out)?.flatten();
    }
    let first = target.batch(&indices[..images.min(signs::IMAGES)])?;
    let (signs, left_out) = warning_signs(cx, target, &first, attacks, &evaluation)?;
    evaluation.signs = signs;
    evaluation.left_out.extend(left_out);
    Ok(evaluation)
}

/// Makes the attacks; one that is used twice gets a number behind its name.
fn named_attacks(choices: &[PluginChoice]) -> Result<Vec<NamedAttack>> {
    let mut attacks = Vec::with_capacity(choices.len());
    for (at, choice) in choices.iter().enumerate() {
        let before = choices[..at].iter().filter(|other| other.name == choice.name).count();
        let name = if before == 0 { choice.name.clone() } else { format!("{}-{}", choice.name, before + 1) };
        attacks.push(NamedAttack { name, attack: choice.make::<dyn Attack>()? });
    }
    Ok(attacks)
}

/// The network's own answer for each image.
fn clean_outcomes(cx: &CallContext<'_>, target: &Target<'_>, indices: &[usize]) -> Result<Vec<ImageOutcome>> {
    let mut outcomes = Vec::with_capacity(indices.len());
    let mut parts = cx.parts(indices.len(), target.settings.batch, || target.classifier.release_memory());
    while let Some((chunk, labels, predicted)) = parts.next_part(|part| {
        cx.step("clean images", part.start, indices.len())?;
        let chunk = &indices[part];
        let batch = target.batch(chunk)?;
        let predicted = loss::predictions(&target.classifier.logits(&batch.images)?)?;
        Ok((chunk, batch.labels.to_vec1::<u32>()?, predicted))
    })? {
        if let Some(row) = predicted.iter().position(|&class| class == u32::MAX) {
            let message = format!("the logits of test image {} are not numbers", chunk[row]);
            return Err(Error::new(ErrorKind::Numeric, message)
                .hint("the network has diverged; train with a lower learning rate"));
        }
        let rows = chunk.iter().zip(labels).zip(predicted);
        outcomes.extend(rows.map(|((&index, label), predicted)| ImageOutcome {
            index,
            label,
            predicted,
            attacks: Vec::new(),
        }));
    }
    cx.step("clean images", indices.len(), indices.len())?;
    Ok(outcomes)
}
