//! Attacks: the threat model, the trait of attack plugins, and the ascent that most of them share.

mod ascent;
mod l1;
mod length;
pub mod search;
mod threat;

pub use ascent::{Ascent, Start, ascend, ascend_watched};
pub use l1::project_l1;
pub use length::check_length;
pub use threat::{Norm, ThreatModel};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::context::CallContext;
use crate::data::{Batch, ImageShape};
use crate::foresight::Foresight;
use crate::network::Classifier;
use crate::numeric::InF64;
use crate::numeric::loss;
use crate::{Error, ErrorKind, Result};

/// What an attack found for a batch.
#[derive(Debug, Clone)]
pub struct AttackOutcome {
    /// The worst image found for each image, inside the threat model. `[batch, channel, height, width]`
    pub images: Tensor,
    /// Whether that image is misclassified.
    pub broken: Vec<bool>,
    /// Cross-entropy at that image.
    pub loss: Vec<f64>,
}

impl AttackOutcome {
    /// Judges given images: what the classifier says of them.
    pub fn judge(classifier: &dyn Classifier, images: Tensor, labels: &Tensor) -> Result<Self> {
        let logits = classifier.logits(&images)?;
        Self::from_logits(images, &logits, labels)
    }

    /// Judges images by logits that are known already.
    pub fn from_logits(images: Tensor, logits: &Tensor, labels: &Tensor) -> Result<Self> {
        let broken = loss::correct(logits, labels)?.into_iter().map(|correct| !correct).collect();
        let loss = loss::per_image_values(&loss::cross_entropy_per_image(logits, labels)?)?;
        Ok(Self { images, broken, loss })
    }

    /// The same with the outcomes of `part` in the given rows.
    pub fn with_rows(mut self, rows: &[usize], part: &Self) -> Result<Self> {
        let count = self.broken.len();
        let mut places: Vec<u32> = (0..count as u32).collect();
        for (at, &row) in rows.iter().enumerate() {
            places[row] = (count + at) as u32;
            (self.broken[row], self.loss[row]) = (part.broken[at], part.loss[at]);
        }
        let places = Tensor::new(places, self.images.device())?;
        self.images = Tensor::cat(&[&self.images, &part.images], 0)?.index_select(&places, 0)?;
        Ok(self)
    }

    /// For each image the worse of two outcomes: a broken one before an unbroken one, then the higher loss.
    pub fn worse(self, other: Self) -> Result<Self> {
        let takes: Vec<bool> = (0..self.broken.len())
            .map(|i| match (self.broken[i], other.broken[i]) {
                (false, true) => true,
                (true, false) => false,
                _ => other.loss[i] > self.loss[i],
            })
            .collect();
        let choose: Vec<u8> = takes.iter().map(|&take| u8::from(take)).collect();
        let choose = Tensor::from_vec(choose, (takes.len(), 1, 1, 1), self.images.device())?;
        let images = choose.broadcast_as(self.images.shape())?.where_cond(&other.images, &self.images)?;
        let pick = |i: usize| if takes[i] { (other.broken[i], other.loss[i]) } else { (self.broken[i], self.loss[i]) };
        let (broken, loss) = (0..takes.len()).map(pick).unzip();
        Ok(Self { images, broken, loss })
    }
}

/// How an attack comes by its images: what its success or failure says about others depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttackMeans {
    /// It follows gradients (white box).
    #[default]
    Gradients,
    /// It asks for outputs only (black box); where it breaks what gradients did not, the gradients mislead.
    Queries,
    /// It asks for nothing (control); no attack may be weaker.
    Noise,
}

/// An attack that another one consists of, with its name.
pub type AttackPart = (String, Box<dyn Attack>);

/// An attack: images in, images within the threat model out.
pub trait Attack: Send {
    /// Attacks a batch whose images are in [0, 1].
    ///
    /// The result lies inside the threat model's ball and valid range, and equals the input at epsilon 0. Random numbers of an
    /// image come from `cx.streams` addressed by its index, so that neither batch size nor order matters.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a norm that the attack does not know.
    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome>;

    /// Asked before anything is computed: will [`Attack::attack`] take this threat model, so many classes and images of this shape?
    ///
    /// An attack that answers [`Foresight::Fits`] or [`Foresight::FitsBut`] must not refuse that work later.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for what it will refuse, saying what it takes.
    fn check(&self, _threat: &ThreatModel, _classes: usize, _shape: ImageShape) -> Result<Foresight> {
        Ok(Foresight::Unknown)
    }

    /// How it comes by its images.
    fn means(&self) -> AttackMeans {
        AttackMeans::default()
    }

    /// Whether it looks for the nearest misclassified image, so that the distances of what it finds make a curve of accuracy against
    /// the radius.
    fn seeks_nearest(&self) -> bool {
        false
    }

    /// The attacks that this one consists of, each for the images that the ones before it did not break; none for most attacks.
    /// Which these are may depend on the number of classes.
    ///
    /// Running them so with the streams `cx.child(name)` must give what [`Attack::attack`] gives: the host does, so that it can say
    /// what each broke and can go on in the middle.
    ///
    /// # Errors
    /// As making the parts.
    fn parts(&self, _classes: usize) -> Result<Vec<AttackPart>> {
        Ok(Vec::new())
    }
}

/// Fails with a clear message if an attack left its ball or its range by more than rounding.
pub fn check_inside(threat: &ThreatModel, clean: &Tensor, attacked: &Tensor) -> Result<()> {
    let distance = threat.norm.distances(clean, attacked)?;
    let slack = 1e-5;
    let (low, high) = (attacked.min_all()?, attacked.max_all()?);
    let value = |tensor: Tensor| -> Result<f64> { Ok(tensor.in_f64()?.to_scalar::<f64>()?) };
    let (low, high) = (value(low)?, value(high)?);
    let furthest = distance.iter().copied().fold(0.0, f64::max);
    if !(furthest <= threat.epsilon.value() + slack && low >= -slack && high <= 1.0 + slack) {
        let message = format!(
            "the attack returned images at distance {furthest:.6} with values in [{low:.4}, {high:.4}], expected at most {} in [0, 1]",
            threat.epsilon
        );
        return Err(Error::new(ErrorKind::Plugin, message));
    }
    Ok(())
}
