//! The threat model: how far an adversarial image may be from the clean one.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::l1::project_all_l1;
use super::length::check_length;
use crate::Result;
use crate::data::ImageShape;
use crate::fraction::Fraction;
use crate::numeric::InF64;

/// How the distance between two images is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Largest change of any value.
    #[default]
    Linf,
    /// Euclidean length of the change.
    L2,
    /// Sum of the absolute changes.
    L1,
}

impl Norm {
    /// Every norm there is.
    pub const ALL: [Self; 3] = [Self::Linf, Self::L2, Self::L1];

    /// The name in settings and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linf => "linf",
            Self::L2 => "l2",
            Self::L1 => "l1",
        }
    }

    /// Distance of each image pair of two `[batch, channel, height, width]` tensors.
    pub fn distances(self, a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
        let difference = (a - b)?.in_f64()?.flatten_from(1)?;
        let distance = match self {
            Self::Linf => difference.abs()?.max(1)?,
            Self::L2 => difference.sqr()?.sum(1)?.sqrt()?,
            Self::L1 => difference.abs()?.sum(1)?,
        };
        Ok(distance.to_vec1::<f64>()?)
    }
}

/// A ball around each image, cut with the valid range [0, 1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ThreatModel {
    /// Shape of the ball.
    pub norm: Norm,
    /// Radius of the ball, in the unit of the pixels, which are in [0, 1].
    pub epsilon: Fraction,
}

impl Default for ThreatModel {
    fn default() -> Self {
        Self { norm: Norm::Linf, epsilon: Fraction::new(8, 255) }
    }
}

impl ThreatModel {
    /// Checks the radius for images of this shape; gives what people should be told of one that is unusually large.
    ///
    /// # Errors
    /// As [`check_length`](super::check_length).
    pub fn check(&self, shape: ImageShape) -> Result<Option<String>> {
        check_length("radius", &self.epsilon, self.norm, Some(shape.len()))
    }

    /// The nearest point of the ball around `clean`, then cut to [0, 1]; both `[batch, channel, height, width]`.
    ///
    /// The result is in ball and range: `clean` itself is in the range, so cutting never moves away from it. For L1 it is the nearest
    /// point of ball and range together, see [`project_l1`](super::project_l1).
    pub fn project(&self, clean: &Tensor, images: &Tensor) -> Result<Tensor> {
        let epsilon = self.epsilon.value();
        let inside = match self.norm {
            Norm::Linf => images.maximum(&(clean - epsilon)?)?.minimum(&(clean + epsilon)?)?,
            Norm::L2 => {
                let change = (images - clean)?;
                let length = l2_lengths(&change)?;
                // Factor min(1, epsilon / length), with a guard against a length of zero.
                let factor = (length.maximum(1e-12)?.recip()? * epsilon)?.minimum(1.0)?;
                (clean + change.broadcast_mul(&factor)?)?
            }
            Norm::L1 => project_all_l1(clean, images, epsilon)?,
        };
        Ok(inside.clamp(0.0, 1.0)?)
    }
}

/// Euclidean length of each image, `[batch, 1, 1, 1]`.
pub(super) fn l2_lengths(images: &Tensor) -> Result<Tensor> {
    let squares = images.sqr()?.flatten_from(1)?.sum_keepdim(1)?;
    Ok(squares.sqrt()?.reshape(((), 1, 1, 1))?)
}
