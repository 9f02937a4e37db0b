//! A step of stochastic gradient descent for all parameters at once, where the device makes that one piece of work.

use candle_core::{Tensor, Var};

use crate::Result;

/// A parameter in a step.
#[derive(Debug)]
pub struct SgdParameter<'a> {
    /// Moved in place.
    pub weight: &'a Var,
    /// Of the same shape.
    pub gradient: &'a Tensor,
    /// From the step before; none at first.
    pub velocity: Option<&'a Tensor>,
    /// Weight decay, coupled.
    pub decay: f64,
}

/// What holds for all parameters in a step.
#[derive(Debug, Clone, Copy)]
pub struct SgdStep {
    /// What gradients are multiplied by first.
    pub gradient_scale: f64,
    /// Share of the velocity that is kept; 0 for none.
    pub momentum: f64,
    /// Nesterov's form.
    pub nesterov: bool,
    /// Length of the step.
    pub learning_rate: f64,
}

/// `d = scale * g + decay * w; v = momentum * v + d` (v = d at first); `w -= lr * v`, or `w -= lr * (d + momentum * v)` for Nesterov.
///
/// Gives the new velocities in the order of the parameters, empty without momentum. None, with nothing moved, where the parameters are
/// not in f32 on an NVIDIA GPU, or the build has no `cudnn`: single operations are as good there.
pub fn sgd_together(parameters: &[SgdParameter<'_>], step: SgdStep) -> Result<Option<Vec<Tensor>>> {
    #[cfg(feature = "cudnn")]
    return crate::engine::cuda::sgd(parameters, step);
    #[cfg(not(feature = "cudnn"))]
    {
        let _ = (parameters, step);
        Ok(None)
    }
}
