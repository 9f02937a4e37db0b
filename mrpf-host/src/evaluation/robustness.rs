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
    /// For each attack, whether the image is still classified rightly; false for images that are wrong without any attack.
    pub survives: Vec<bool>,
}

/// One attack's result over all images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackRecord {
    /// The attack's name; numbered if an attack is used twice.
    pub name: String,
    /// Images that survive this attack.
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
    /// Each attack by itself.
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
/// Only images that are classified rightly are attacked: the others are wrong already.
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
    let mut outcomes = Vec::with_capacity(images);
    let indices: Vec<usize> = (0..images).collect();
    for chunk in indices.chunks(settings.batch) {
        cx.step("images attacked", chunk[0], images)?;
        let batch = test.batch(chunk, network.dtype(), network.device())?;
        let predicted = loss::predictions(&frozen.logits(&batch.images)?)?;
        if let Some(row) = predicted.iter().position(|&class| class == u32::MAX) {
            let message = format!("the logits of test image {} are not numbers", chunk[row]);
            return Err(Error::new(ErrorKind::Numeric, message)
                .hint("the network has diverged; train with a lower learning rate"));
        }
        let labels = batch.labels.to_vec1::<u32>()?;
        let right: Vec<usize> = (0..chunk.len()).filter(|&row| predicted[row] == labels[row]).collect();
        let mut survives = vec![vec![false; attacks.len()]; chunk.len()];
        let target = batch.select(&right)?;
        for (at, (name, attack)) in attacks.iter().enumerate().filter(|_| !right.is_empty()) {
            let about = || format!("attack `{name}`");
            let cx = cx.child("attack").child(name);
            let outcome = attack.attack(&cx, &frozen, &settings.threat, &target).context(about)?;
            check_inside(&settings.threat, &target.images, &outcome.images).context(about)?;
            right.iter().zip(&outcome.broken).for_each(|(&row, broken)| survives[row][at] = !broken);
        }
        let rows = survives.into_iter().enumerate();
        outcomes.extend(rows.map(|(row, survives)| ImageOutcome {
            index: chunk[row],
            label: labels[row],
            predicted: predicted[row],
            survives,
        }));
    }
    cx.step("images attacked", images, images)?;
    let records = attacks.iter().enumerate().map(|(at, (name, _))| AttackRecord {
        name: name.clone(),
        survivors: outcomes.iter().filter(|outcome| outcome.survives[at]).count(),
    });
    let mut evaluation = Evaluation {
        images,
        clean: outcomes.iter().filter(|outcome| outcome.predicted == outcome.label).count(),
        robust: outcomes.iter().filter(|outcome| outcome.survives.iter().all(|&survives| survives)).count(),
        attacks: records.collect(),
        outcomes,
        warnings: Vec::new(),
    };
    let first = test.batch(&indices[..images.min(IMAGES)], network.dtype(), network.device())?;
    evaluation.warnings = warning_signs(cx, &frozen, &first, settings, &evaluation)?;
    Ok(evaluation)
}
