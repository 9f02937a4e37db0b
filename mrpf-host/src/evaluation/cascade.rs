//! Runs one attack on the images that are classified rightly, part after part, each on what the ones before left.

use mrpf_api::attack::{Attack, AttackOutcome, check_inside};
use mrpf_api::candle_core::{DType, Device};
use mrpf_api::context::CallContext;
use mrpf_api::data::{Batch, ImageSet};
use mrpf_api::network::Classifier;
use mrpf_api::{Context, Result};
use std::collections::BTreeMap;

use super::journal::{AttackedBatch, Journal};
use super::outcome::{AttackRecord, AttackedImage, PartRecord};
use super::progress::Within;
use crate::experiment::EvaluateSettings;

/// What is attacked, and how.
pub(super) struct Target<'a> {
    /// The classifier.
    pub classifier: &'a dyn Classifier,
    /// The images.
    pub test: &'a ImageSet,
    /// The settings.
    pub settings: &'a EvaluateSettings,
    /// Type of the images.
    pub dtype: DType,
    /// Where the images go.
    pub device: &'a Device,
}

impl Target<'_> {
    /// The images at `indices`.
    pub fn batch(&self, indices: &[usize]) -> Result<Batch> {
        self.test.batch(indices, self.dtype, self.device)
    }
}

/// An attack with the name that it has in the results.
pub(super) struct NamedAttack {
    /// The name; numbered if an attack is used twice.
    pub name: String,
    /// The attack.
    pub attack: Box<dyn Attack>,
}

/// Attacks the images at `right`; what is in `journal` already is not done again.
///
/// Gives the counts, and what became of each image by its index.
pub(super) fn attack_images(
    cx: &CallContext<'_>,
    target: &Target<'_>,
    named: &NamedAttack,
    right: &[usize],
    journal: &mut Journal,
) -> Result<(AttackRecord, BTreeMap<usize, AttackedImage>)> {
    let NamedAttack { name, attack } = named;
    let cx = cx.child("attack").child(name);
    let about = || format!("attack `{name}`");
    let (classes, shape) = (target.classifier.classes(), target.test.shape());
    let remarks = attack.check(&target.settings.threat, classes, shape).context(about)?.remarks();
    let parts = attack.parts(classes).context(about)?;
    let mut outcomes = BTreeMap::new();
    let mut records = Vec::new();
    if parts.is_empty() {
        let what = format!("images attacked by {name}");
        attack_part(&cx, target, attack.as_ref(), [name, name, &what], right, journal, &mut outcomes)?;
    }
    let mut left = right.to_vec();
    for (part, attack) in &parts {
        let what = format!("images attacked by {name}, {part}");
        let cx = cx.child(part);
        let mut after = BTreeMap::new();
        attack_part(&cx, target, attack.as_ref(), [name, part, &what], &left, journal, &mut after)?;
        for outcome in after.values_mut().filter(|outcome| !outcome.survives) {
            outcome.broken_by = Some(part.clone());
        }
        left.retain(|index| after.get(index).is_some_and(|outcome| outcome.survives));
        outcomes.extend(after);
        records.push(PartRecord { name: part.clone(), means: attack.means(), survivors: left.len() });
    }
    let survivors = outcomes.values().filter(|outcome| outcome.survives).count();
    let (means, nearest) = (attack.means(), attack.seeks_nearest());
    Ok((AttackRecord { name: name.clone(), means, survivors, nearest, parts: records, remarks }, outcomes))
}

/// Attacks the images at `left` that the journal does not know yet, batch after batch.
fn attack_part(
    cx: &CallContext<'_>,
    target: &Target<'_>,
    attack: &dyn Attack,
    [name, part, what]: [&String; 3],
    left: &[usize],
    journal: &mut Journal,
    outcomes: &mut BTreeMap<usize, AttackedImage>,
) -> Result<()> {
    let threat = &target.settings.threat;
    let about = || format!("attack `{part}`");
    outcomes.extend(journal.known(name, part).into_iter().map(|(index, outcome)| (index, outcome.clone())));
    let open: Vec<usize> = left.iter().copied().filter(|index| !outcomes.contains_key(index)).collect();
    let before = left.len() - open.len();
    let mut parts = cx.parts(open.len(), target.settings.batch, || target.classifier.release_memory());
    while let Some((chunk, attacked)) = parts.next_part(|part| {
        let done = before + part.start;
        let chunk = &open[part];
        cx.step(what, done, left.len())?;
        let batch = target.batch(chunk)?;
        let within = Within { outer: cx.watcher, what, done, batch: chunk.len(), total: left.len() };
        let inner = cx.watched_by(&within);
        let found = attack.attack(&inner, target.classifier, threat, &batch).context(about)?;
        check_inside(threat, &batch.images, &found.images).context(about)?;
        let AttackOutcome { images, broken, loss } = found;
        let distances = threat.norm.distances(&batch.images, &images)?;
        let attacked = (0..chunk.len()).map(|row| AttackedImage {
            survives: !broken[row],
            loss: Some(loss[row]).filter(|loss| loss.is_finite()),
            distance: distances[row],
            broken_by: None,
        });
        Ok((chunk, attacked.collect::<Vec<AttackedImage>>()))
    })? {
        outcomes.extend(chunk.iter().copied().zip(attacked.iter().cloned()));
        let (attack, part) = (name.clone(), part.clone());
        journal.keep(AttackedBatch { attack, part, images: chunk.to_vec(), outcomes: attacked })?;
    }
    cx.step(what, left.len(), left.len())
}
