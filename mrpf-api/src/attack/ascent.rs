//! Projected gradient ascent on the images: the loop that FGSM, PGD, PGD-AT, TRADES and MRS share.

use candle_core::Tensor;

use super::threat::{Norm, ThreatModel, l2_lengths};
use crate::context::CallContext;
use crate::data::Batch;
use crate::network::{Classifier, InputGradient, LossOnLogits};
use crate::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the ascent begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the clean image.
    Clean,
    /// Uniformly in the ball, cut to the valid range (Madry et al. 2018).
    #[default]
    Uniform,
    /// At the clean image plus 0.001 times a standard normal number, not cut before the first gradient (TRADES).
    SmallNormal,
}

/// Settings of the ascent.
#[derive(Debug, Clone, PartialEq)]
pub struct Ascent {
    /// Ball and range.
    pub threat: ThreatModel,
    /// Length of one step, in the unit of the pixels.
    pub step_size: f64,
    /// Number of steps.
    pub steps: usize,
    /// Where to begin.
    pub start: Start,
}

impl Ascent {
    /// The starting images for a batch, from the streams of `cx`.
    pub fn starting_images(&self, cx: &CallContext<'_>, batch: &Batch) -> Result<Tensor> {
        let (clean, epsilon) = (&batch.images, self.threat.epsilon.value());
        let shape = &clean.dims()[1..];
        let streams = cx.streams.child("start");
        match (self.start, self.threat.norm) {
            (Start::Clean, _) => Ok(clean.clone()),
            (Start::Uniform, Norm::Linf) => {
                let noise = streams.uniform_per_image(&batch.indices, shape, -epsilon, epsilon, clean)?;
                Ok((clean + noise)?.clamp(0.0, 1.0)?)
            }
            (Start::Uniform, Norm::L2) => {
                // A direction from the normal distribution and a radius r^(1/n) would be uniform in the ball but lies almost
                // always on its surface; as torchattacks' PGDL2 the radius is uniform instead.
                let noise = streams.normal_per_image(&batch.indices, shape, clean)?;
                let radius =
                    streams.child("radius").uniform_per_image(&batch.indices, &[1, 1, 1], 0.0, epsilon, clean)?;
                let unit = noise.broadcast_div(&l2_lengths(&noise)?)?;
                Ok((clean + unit.broadcast_mul(&radius)?)?.clamp(0.0, 1.0)?)
            }
            // Normal noise put into the ball: most of it is longer than the radius and ends on the surface.
            (Start::Uniform, Norm::L1) => {
                let noise = streams.normal_per_image(&batch.indices, shape, clean)?;
                self.threat.project(clean, &(clean + noise)?)
            }
            (Start::SmallNormal, _) => {
                let noise = streams.normal_per_image(&batch.indices, shape, clean)?;
                Ok((clean + (noise * 0.001)?)?)
            }
        }
    }

    /// Refuses a norm in which no step is known.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for L1, whose steepest ascent moves one value alone; `apgd-ce` has a better way.
    pub fn check(norm: Norm) -> Result<()> {
        match norm {
            Norm::Linf | Norm::L2 => Ok(()),
            Norm::L1 => Err(no_step_in_l1()),
        }
    }

    /// One step from `images` along the gradient there, put back into the ball around `clean`; see [`ascend`].
    ///
    /// # Errors
    /// As [`Ascent::check`].
    pub fn step(&self, clean: &Tensor, images: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        #[cfg(feature = "cudnn")]
        if self.threat.norm == Norm::Linf
            && let Some(moved) =
                crate::engine::cuda::ascend_linf(images, clean, gradient, self.step_size, self.threat.epsilon.value())?
        {
            return Ok(moved);
        }
        let direction = match self.threat.norm {
            Norm::Linf => gradient.sign()?,
            // The constant keeps a vanished gradient from becoming a division by zero, as in torchattacks.
            Norm::L2 => gradient.broadcast_div(&(l2_lengths(gradient)? + 1e-10)?)?,
            Norm::L1 => return Err(no_step_in_l1()),
        };
        self.threat.project(clean, &(images + (direction * self.step_size)?)?)
    }
}

fn no_step_in_l1() -> Error {
    Error::new(ErrorKind::Settings, "plain gradient ascent knows the norms linf and l2, found l1")
        .hint("apgd-ce, fab-t, square and autoattack know l1")
}

/// Climbs `loss` from `start`, which need not be inside the ball; the result is.
///
/// L-inf: `x <- project(x + step * sign(gradient))`; L2: `x <- project(x + step * gradient / |gradient|)`
/// (Madry et al. 2018; torchattacks' PGD and PGDL2 compute the same). Nothing here computes a weight's gradient.
pub fn ascend(
    cx: &CallContext<'_>,
    classifier: &dyn Classifier,
    clean: &Tensor,
    start: &Tensor,
    ascent: &Ascent,
    loss: &LossOnLogits<'_>,
) -> Result<Tensor> {
    ascend_watched(cx, classifier, clean, start, ascent, loss, &mut |_, _| Ok(()))
}

/// As [`ascend`], and shows `watch` every point that a gradient is taken at, with the logits there: the start and all points
/// but the last. Looking costs no further passes.
pub fn ascend_watched(
    cx: &CallContext<'_>,
    classifier: &dyn Classifier,
    clean: &Tensor,
    start: &Tensor,
    ascent: &Ascent,
    loss: &LossOnLogits<'_>,
    watch: &mut dyn FnMut(&Tensor, &InputGradient) -> Result<()>,
) -> Result<Tensor> {
    let mut images = start.clone();
    for _ in 0..ascent.steps {
        cx.check_interrupt()?;
        let at = classifier.input_gradient(&images, loss)?;
        watch(&images, &at)?;
        images = ascent.step(clean, &images, &at.gradient)?;
    }
    ascent.threat.project(clean, &images)
}
