//! Attacks that look for a misclassified image, image by image.
//!
//! An attack that implements [`Search`] sees images that are classified rightly, as plain numbers; [`Searches`] makes an [`Attack`] of
//! it and looks after the rest: settings that cannot be, bad labels and logits, images that are wrong without any attack, epsilon 0,
//! empty batches, and the verdict at the end.

mod ball;
mod ground;

pub use ball::{Ball, TINY, distance, length, sign};
pub use ground::{Case, Form, Ground, Logits, Slopes, numbers, pick};

use candle_core::Tensor;
use std::sync::Arc;

use super::{Attack, AttackMeans, AttackOutcome, AttackPart, Norm, ThreatModel};
use crate::context::CallContext;
use crate::data::{Batch, ImageShape};
use crate::foresight::Foresight;
use crate::network::Classifier;
use crate::{Error, ErrorKind, Result};

/// A way of looking for a misclassified image in a ball.
pub trait Search: Send + Sync {
    /// The name of its random streams.
    fn name(&self) -> &'static str;

    /// How it comes by its images.
    fn means(&self) -> AttackMeans {
        AttackMeans::default()
    }

    /// Whether it goes on to the nearest misclassified image that it finds.
    fn seeks_nearest(&self) -> bool {
        false
    }

    /// The least number of classes that it works with.
    fn least_classes(&self) -> usize {
        2
    }

    /// Refuses what it cannot do.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a norm that it does not know.
    fn check(&self, _norm: Norm) -> Result<()> {
        Ok(())
    }

    /// The worst image found for each case of the ground, inside the ball.
    fn search(&self, cx: &CallContext<'_>, ball: Ball, ground: &Ground<'_>) -> Result<Vec<Vec<f64>>>;
}

/// Several searches, each on the images that those before it left whole.
pub struct Searches(pub Vec<Arc<dyn Search>>);

impl Searches {
    /// An attack of one search.
    pub fn one(search: impl Search + 'static) -> Box<dyn Attack> {
        Box::new(Self(vec![Arc::new(search)]))
    }
}

/// One of several searches, as an attack of its own whose streams are already those of its name.
struct Part(Arc<dyn Search>);

impl Attack for Searches {
    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        run(&self.0, &|search| cx.child(search.name()), classifier, threat, batch)
    }

    fn check(&self, threat: &ThreatModel, classes: usize, _shape: ImageShape) -> Result<Foresight> {
        check(&self.0, threat, classes)?;
        Ok(Foresight::Fits)
    }

    fn means(&self) -> AttackMeans {
        let mut means = self.0.iter().map(|search| search.means());
        let first = means.next().unwrap_or_default();
        if means.all(|other| other == first) { first } else { AttackMeans::Gradients }
    }

    fn seeks_nearest(&self) -> bool {
        matches!(self.0.as_slice(), [only] if only.seeks_nearest())
    }

    fn parts(&self, _classes: usize) -> Result<Vec<AttackPart>> {
        if self.0.len() < 2 {
            return Ok(Vec::new());
        }
        let part = |search: &Arc<dyn Search>| -> AttackPart { (search.name().into(), Box::new(Part(search.clone()))) };
        Ok(self.0.iter().map(part).collect())
    }
}

impl Attack for Part {
    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        run(std::slice::from_ref(&self.0), &|_| cx.clone(), classifier, threat, batch)
    }

    fn check(&self, threat: &ThreatModel, classes: usize, _shape: ImageShape) -> Result<Foresight> {
        check(std::slice::from_ref(&self.0), threat, classes)?;
        Ok(Foresight::Fits)
    }

    fn means(&self) -> AttackMeans {
        self.0.means()
    }
}

/// The ball, if every search knows its norm and works with so many classes.
fn check(searches: &[Arc<dyn Search>], threat: &ThreatModel, classes: usize) -> Result<Ball> {
    for search in searches {
        search.check(threat.norm)?;
        if classes < search.least_classes() {
            let (name, least) = (search.name(), search.least_classes());
            let message = format!("`{name}` needs {least} classes at least, found {classes}");
            return Err(Error::new(ErrorKind::Settings, message)
                .hint("`apgd-ce`, `fab`, `fab-t`, `square` and `pgd` work with two classes"));
        }
    }
    let ball = Ball::of(threat);
    if !(ball.epsilon >= 0.0 && ball.epsilon.is_finite()) {
        let message = format!("epsilon {}, expected a number of at least 0", threat.epsilon);
        return Err(Error::new(ErrorKind::Settings, message));
    }
    Ok(ball)
}

/// The searches one after another, each with its context.
fn run<'a>(
    searches: &[Arc<dyn Search>],
    context: &dyn Fn(&dyn Search) -> CallContext<'a>,
    classifier: &dyn Classifier,
    threat: &ThreatModel,
    batch: &Batch,
) -> Result<AttackOutcome> {
    let ball = check(searches, threat, classifier.classes())?;
    if batch.is_empty() {
        return Ok(AttackOutcome { images: batch.images.clone(), broken: Vec::new(), loss: Vec::new() });
    }
    let (cases, mut outcome) = cases(classifier, batch)?;
    for search in searches {
        let left: Vec<usize> = (0..batch.len()).filter(|&row| !outcome.broken[row]).collect();
        if left.is_empty() || ball.epsilon == 0.0 {
            break;
        }
        let rest = batch.select(&left)?;
        let cases = left.iter().map(|&row| cases[row].clone()).collect();
        let ground = Ground { classifier, form: Form::of(&batch.images)?, cases };
        let found = search.search(&context(search.as_ref()), ball, &ground)?;
        let found = ground.form.tensor(found.iter().map(Vec::as_slice))?;
        let found = AttackOutcome::judge(classifier, found, &rest.labels)?;
        let before = rows(&outcome, &left)?;
        outcome = outcome.with_rows(&left, &before.worse(found)?)?;
    }
    Ok(outcome)
}

/// The outcomes in the given rows.
fn rows(outcome: &AttackOutcome, rows: &[usize]) -> Result<AttackOutcome> {
    let at: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
    Ok(AttackOutcome {
        images: outcome.images.index_select(&Tensor::new(at, outcome.images.device())?, 0)?,
        broken: rows.iter().map(|&row| outcome.broken[row]).collect(),
        loss: rows.iter().map(|&row| outcome.loss[row]).collect(),
    })
}

/// The images of a batch, and what the classifier says of them as they are.
///
/// # Errors
/// [`ErrorKind::Data`] for a label that the classifier does not have, [`ErrorKind::Numeric`] for a logit that is not finite.
pub fn cases(classifier: &dyn Classifier, batch: &Batch) -> Result<(Vec<Case>, AttackOutcome)> {
    let (labels, classes) = (batch.labels.to_vec1::<u32>()?, classifier.classes());
    if let Some(row) = labels.iter().position(|&label| label as usize >= classes) {
        let (index, label, last) = (batch.indices[row], labels[row], classes.saturating_sub(1));
        let message = format!("image {index} has label {label}, expected 0 to {last}");
        return Err(
            Error::new(ErrorKind::Data, message).hint("the network was made for other classes than the data has")
        );
    }
    let logits = classifier.logits(&batch.images)?;
    let outcome = AttackOutcome::from_logits(batch.images.clone(), &logits, &batch.labels)?;
    let (logits, pixels) = (Logits::new(&logits)?, numbers(&batch.images)?);
    let each = pixels.len() / batch.len();
    let case = |row: usize| Case {
        index: batch.indices[row],
        label: labels[row] as usize,
        clean: pixels[row * each..(row + 1) * each].to_vec(),
        ranking: logits.ranking(row),
    };
    Ok(((0..batch.len()).map(case).collect(), outcome))
}
