//! The fixed images that a metric measures on.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::attack::{Ascent, Norm, Start, ThreatModel, ascend};
use crate::context::CallContext;
use crate::data::{Batch, ImageSet, LoadedData};
use crate::fraction::Fraction;
use crate::network::{Classifier, FrozenNetwork, Network};
use crate::numeric::loss;
use crate::{Error, ErrorKind, Result};

/// Which images are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Training images, so that nothing is chosen by the test set.
    #[default]
    Train,
    /// Test images, as RiFT's code does for CIFAR.
    Test,
}

/// Images that a metric measures on: a class-balanced part of the data, attacked once by PGD and kept.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeImages {
    /// Which images are looked at.
    pub split: Split,
    /// How many of them, at least 1.
    pub images: usize,
    /// Images attacked at a time, at least 1; changes nothing but the memory.
    pub batch: usize,
    /// Radius of the L-inf ball, in the unit of the pixels.
    pub epsilon: Fraction,
    /// Length of a step of the attack.
    pub attack_step_size: Fraction,
    /// Number of its steps.
    pub attack_steps: usize,
}

impl ProbeImages {
    /// Images of which the attack, for who uses [`ProbeImages::clean`] alone, has no step.
    pub fn unattacked(split: Split, images: usize, batch: usize) -> Self {
        let (epsilon, attack_step_size) = (Fraction::from(0.0), Fraction::from(1.0));
        Self { split, images, batch, epsilon, attack_step_size, attack_steps: 0 }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the setting, what was found and what was expected.
    pub fn check(&self) -> Result<()> {
        let wrong = |found: String, expected: &str| {
            Err(Error::new(ErrorKind::Settings, format!("{found}, expected {expected}")))
        };
        if self.images == 0 || self.batch == 0 {
            return wrong(format!("images {}, batch {}", self.images, self.batch), "at least 1 of each");
        }
        if self.epsilon.value() < 0.0 || self.attack_step_size.value() <= 0.0 {
            let found = format!("epsilon {}, attack_step_size {}", self.epsilon, self.attack_step_size);
            return wrong(found, "a radius of at least 0 and a positive step");
        }
        Ok(())
    }

    /// The images as they are, with the precision and on the device of `network`. The same seed chooses the same images as for
    /// [`ProbeImages::attacked`].
    pub fn clean(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Batch> {
        let (set, indices) = self.chosen(cx, data);
        set.batch(&indices, network.dtype(), network.device())
    }

    /// The images attacked by PGD on the cross-entropy, from a uniform start in the ball. `frozen` is `network` frozen.
    pub fn attacked(
        &self,
        cx: &CallContext<'_>,
        network: &Network,
        frozen: &FrozenNetwork,
        data: &LoadedData,
    ) -> Result<Batch> {
        let (set, indices) = self.chosen(cx, data);
        let ascent = Ascent {
            threat: ThreatModel { norm: Norm::Linf, epsilon: self.epsilon.clone() },
            step_size: self.attack_step_size.value(),
            steps: self.attack_steps,
            start: Start::Uniform,
        };
        let mut attacked = Vec::new();
        let mut parts = cx.parts(indices.len(), self.batch, || frozen.release_memory());
        while let Some(found) = parts.next_part(|part| {
            let batch = set.batch(&indices[part], network.dtype(), network.device())?;
            let start = ascent.starting_images(cx, &batch)?;
            let loss = |logits: &Tensor| loss::cross_entropy_per_image(logits, &batch.labels);
            ascend(cx, frozen, &batch.images, &start, &ascent, &loss)
        })? {
            attacked.push(found);
        }
        Ok(set.batch(&indices, network.dtype(), network.device())?.with_images(Tensor::cat(&attacked, 0)?))
    }

    fn chosen<'a>(&self, cx: &CallContext<'_>, data: &'a LoadedData) -> (&'a ImageSet, Vec<usize>) {
        let set = match self.split {
            Split::Train => &data.train,
            Split::Test => &data.test,
        };
        (set, set.balanced_subset(self.images, &cx.streams.child("subset")))
    }
}
