//! Attacks a network on the test images and keeps the outcome of every image.

use mrpf_api::attack::{Attack, check_inside};
use mrpf_api::context::CallContext;
use mrpf_api::data::ImageSet;
use mrpf_api::network::{Classifier, Network};
use mrpf_api::numeric::loss;
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::signs::{IMAGES, warning_signs};
use crate::experiment::EvaluateSettings;

/// What became of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOutcome {
    /// Where the image stands in the test set.
    pub index: usize,
    /// Its label.
    pub label: u32,
    /// The class that the network gives the clean image.
    pub predicted: u32,
    /// For each attack, whether the image is still classified rightly after it and all before it; false for images that are wrong
    /// without any attack.
    pub survives: Vec<bool>,
}

impl ImageOutcome {
    /// Whether the clean image is classified rightly.
    pub fn is_right(&self) -> bool {
        self.predicted == self.label
    }
}

/// What is left after an attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackRecord {
    /// The attack's name; numbered if an attack is used twice.
    pub name: String,
    /// Images that survive this attack and all before it.
    pub survivors: usize,
}

/// Everything known about a network under attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of images.
    pub images: usize,
    /// Images classified rightly without attack.
    pub clean: usize,
    /// Images that survive every attack.
    pub robust: usize,
    /// The attacks in their order; each sees only what the ones before it left.
    pub attacks: Vec<AttackRecord>,
    /// Each image.
    pub outcomes: Vec<ImageOutcome>,
    /// Signs of false robustness that showed, as sentences.
    pub warnings: Vec<String>,
}

impl Evaluation {
    /// Share classified rightly without attack.
    pub fn clean_accuracy(&self) -> f64 {
        self.clean as f64 / self.images.max(1) as f64
    }

    /// Share that survives every attack.
    pub fn robust_accuracy(&self) -> f64 {
        self.robust as f64 / self.images.max(1) as f64
    }
}

/// Attacks a network with every attack of the settings on the first images of the test set.
///
/// Only images that are classified rightly are attacked, and no longer than until an attack has broken them.
///
/// # Errors
/// [`ErrorKind::Plugin`] if an attack leaves its ball, [`ErrorKind::Numeric`] if a logit is not a number.
pub fn evaluate(
    cx: &CallContext<'_>,
    network: &Network,
    test: &ImageSet,
    settings: &EvaluateSettings,
) -> Result<Evaluation> {
    let images = settings.images.unwrap_or(usize::MAX).min(test.len());
    let frozen = network.freeze()?;
    let mut attacks = Vec::new();
    for choice in &settings.attacks {
        let used =
            attacks.iter().filter(|(name, _): &&(String, Box<dyn Attack>)| name.starts_with(&choice.name)).count();
        let name = if used == 0 { choice.name.clone() } else { format!("{}-{}", choice.name, used + 1) };
        attacks.push((name, choice.make::<dyn Attack>()?));
    }
    let indices: Vec<usize> = (0..images).collect();
    let mut outcomes = Vec::with_capacity(images);
    for chunk in indices.chunks(settings.batch) {
        cx.step("clean images", chunk[0], images)?;
        let batch = test.batch(chunk, network.dtype(), network.device())?;
        let predicted = loss::predictions(&frozen.logits(&batch.images)?)?;
        if let Some(row) = predicted.iter().position(|&class| class == u32::MAX) {
            let message = format!("the logits of test image {} are not numbers", chunk[row]);
            return Err(Error::new(ErrorKind::Numeric, message)
                .hint("the network has diverged; train with a lower learning rate"));
        }
        let rows = chunk.iter().zip(batch.labels.to_vec1::<u32>()?).zip(predicted);
        outcomes.extend(rows.map(|((&index, label), predicted)| {
            let survives = vec![label == predicted; attacks.len()];
            ImageOutcome { index, label, predicted, survives }
        }));
    }
    let mut left: Vec<usize> = indices.iter().copied().filter(|&at| outcomes[at].is_right()).collect();
    for (at, (name, attack)) in attacks.iter().enumerate() {
        let about = || format!("attack `{name}`");
        // Each batch is as full as it can be: of images that nothing has broken yet.
        for chunk in left.chunks(settings.batch) {
            cx.step(&format!("images attacked by {name}"), chunk[0], images)?;
            let target = test.batch(chunk, network.dtype(), network.device())?;
            let cx = cx.child("attack").child(name);
            let outcome = attack.attack(&cx, &frozen, &settings.threat, &target).context(about)?;
            check_inside(&settings.threat, &target.images, &outcome.images).context(about)?;
            for (&index, _) in chunk.iter().zip(&outcome.broken).filter(|(_, broken)| **broken) {
                outcomes[index].survives[at..].fill(false);
            }
        }
        left.retain(|&index| outcomes[index].survives[at]);
        cx.step(&format!("images attacked by {name}"), images, images)?;
    }
    let records = attacks.iter().enumerate().map(|(at, (name, _))| AttackRecord {
        name: name.clone(),
        survivors: outcomes.iter().filter(|outcome| outcome.survives[at]).count(),
    });
    let mut evaluation = Evaluation {
        images,
        clean: outcomes.iter().filter(|outcome| outcome.is_right()).count(),
        robust: outcomes.iter().filter(|outcome| outcome.survives.iter().all(|&survives| survives)).count(),
        attacks: records.collect(),
        outcomes,
        warnings: Vec::new(),
    };
    let first = test.batch(&indices[..images.min(IMAGES)], network.dtype(), network.device())?;
    evaluation.warnings = warning_signs(cx, &frozen, &first, settings, &evaluation)?;
    Ok(evaluation)
}
