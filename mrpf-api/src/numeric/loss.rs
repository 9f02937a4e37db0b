//! Losses of logits `[batch, class]`, per image or as a mean; all expect logits, never probabilities.

use candle_core::{D, Tensor};

use super::InF64;
use crate::Result;

/// Logarithm of the softmax over the classes: `[batch, class]`.
pub fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    // The maximum is only a shift; without its gradient the result's gradient is the same.
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&total)?)
}

/// Cross-entropy of each image, `[batch]`, for `labels` `[batch]` u32.
pub fn cross_entropy_per_image(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cudnn")]
    if let Some(losses) = crate::engine::cuda::cross_entropy(logits, labels)? {
        return Ok(losses);
    }
    let picked = log_softmax(logits)?.gather(&labels.unsqueeze(1)?, 1)?;
    Ok(picked.squeeze(1)?.neg()?)
}

/// Mean cross-entropy, a scalar.
///
/// With `smoothing` s in [0, 1) the target is `1 - s` on the label plus `s / classes` everywhere (Szegedy et al. 2016,
/// the convention of PyTorch).
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let hard = cross_entropy_per_image(logits, labels)?.mean_all()?;
    if smoothing == 0.0 {
        return Ok(hard);
    }
    let uniform = log_softmax(logits)?.mean_all()?.neg()?;
    Ok(((hard * (1.0 - smoothing))? + (uniform * smoothing)?)?)
}

/// Kullback-Leibler divergence KL(p || q) of each image, `[batch]`, where p and q are the softmax of `p_logits` and `q_logits`.
///
/// Gradients flow into both; detach what must stay constant.
pub fn kl_divergence_per_image(p_logits: &Tensor, q_logits: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cudnn")]
    if let Some(divergences) = crate::engine::cuda::kl_divergence(p_logits, q_logits)? {
        return Ok(divergences);
    }
    let (log_p, log_q) = (log_softmax(p_logits)?, log_softmax(q_logits)?);
    Ok((log_p.exp()? * (log_p - log_q)?)?.sum(1)?)
}

/// Whether each image is classified as its label.
pub fn correct(logits: &Tensor, labels: &Tensor) -> Result<Vec<bool>> {
    let predicted = predictions(logits)?;
    let labels = labels.to_vec1::<u32>()?;
    Ok(predicted.iter().zip(&labels).map(|(predicted, label)| predicted == label).collect())
}

/// The class with the largest logit of each image; the first of equals, and no class (`u32::MAX`) if a logit is not a number.
pub fn predictions(logits: &Tensor) -> Result<Vec<u32>> {
    let rows = logits.in_f64()?.to_vec2::<f64>()?;
    Ok(rows.iter().map(|row| best(row)).collect())
}

fn best(row: &[f64]) -> u32 {
    if row.iter().any(|value| value.is_nan()) {
        return u32::MAX;
    }
    let mut top = 0;
    for (class, value) in row.iter().enumerate() {
        if *value > row[top] {
            top = class;
        }
    }
    top as u32
}

/// A tensor `[batch]` of losses as numbers.
pub fn per_image_values(losses: &Tensor) -> Result<Vec<f64>> {
    Ok(losses.in_f64()?.to_vec1::<f64>()?)
}
