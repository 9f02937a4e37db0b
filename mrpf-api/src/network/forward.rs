//! The one forward pass over a declaration.

use candle_core::{D, Tensor};

use super::declaration::{BatchNorm, Declaration, Layer, LayerKind};
use super::weights::{Network, Weights};
use crate::numeric;
use crate::{Context, Error, ErrorKind, Result};

/// How batch norm behaves in a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Normalises by the batch and updates the running statistics.
    Train,
    /// Normalises by the batch and leaves the running statistics alone.
    TrainKeepingStatistics,
    /// Normalises by the running statistics.
    Evaluate,
}

pub(super) fn forward(
    network: &Network,
    weights: &Weights,
    images: &Tensor,
    mode: Mode,
    tap: &mut dyn FnMut(&str, &Tensor) -> Result<()>,
) -> Result<Tensor> {
    let (declaration, wiring) = (&network.declaration, &network.wiring);
    check_images(declaration, images)?;
    let mut values: Vec<Option<Tensor>> = vec![None; declaration.layers.len()];
    let mut output = images.clone();
    for (at, layer) in declaration.layers.iter().enumerate() {
        let mut inputs = Vec::with_capacity(wiring.inputs[at].len());
        for &input in &wiring.inputs[at] {
            let value = input.map_or(Some(images), |i| values[i].as_ref());
            let dropped =
                || Error::new(ErrorKind::Declaration, format!("layer `{}` reads a dropped value", layer.name));
            inputs.push(value.ok_or_else(dropped)?.clone());
        }
        output = apply(network, weights, layer, &inputs, mode).context(|| format!("layer `{}`", layer.name))?;
        tap(&layer.name, &output)?;
        values[at] = Some(output.clone());
        // Values are dropped after their last reader, so that a pass without gradients holds only what is still needed.
        for input in wiring.inputs[at].iter().flatten() {
            if wiring.last_use[*input] == at {
                values[*input] = None;
            }
        }
    }
    Ok(output)
}

/// Images `[batch, channel, height, width]` must have the shape that the network was declared for.
pub(super) fn check_images(declaration: &Declaration, images: &Tensor) -> Result<()> {
    let (_, channels, height, width) = images.dims4()?;
    let (found, expected) = ([channels, height, width], declaration.input.dims());
    if found != expected {
        return Err(Error::new(ErrorKind::Data, format!("images of shape {found:?}, expected {expected:?}"))
            .hint("the network was built for another data set"));
    }
    Ok(())
}

fn apply(network: &Network, weights: &Weights, layer: &Layer, inputs: &[Tensor], mode: Mode) -> Result<Tensor> {
    let x = &inputs[0];
    let own = |role: &str| {
        let name = format!("{}.{role}", layer.name);
        weights.get(&name).ok_or_else(|| Error::unknown_name("weight", &name, weights.keys().map(String::as_str)))
    };
    let bias = |has: bool| if has { own("bias").map(Some) } else { Ok(None) };
    match &layer.kind {
        LayerKind::Normalize { mean, std } => numeric::normalize(x, mean, std),
        LayerKind::Conv2d(conv) => numeric::conv2d(x, own("weight")?, bias(conv.bias)?, &conv.geometry),
        LayerKind::Linear(linear) => numeric::linear(x, own("weight")?, bias(linear.bias)?),
        LayerKind::BatchNorm(norm) => batch_norm(network, layer, norm, x, [own("weight")?, own("bias")?], mode),
        LayerKind::Relu => numeric::relu(x),
        LayerKind::Silu => numeric::silu(x),
        LayerKind::Gelu => numeric::gelu(x),
        LayerKind::MaxPool(pool) => numeric::max_pool2d(x, pool),
        LayerKind::AvgPool(pool) => numeric::avg_pool2d(x, pool),
        LayerKind::GlobalAvgPool => numeric::global_avg_pool(x),
        LayerKind::Add => inputs[1..].iter().try_fold(x.clone(), |sum, other| Ok((sum + other)?)),
        LayerKind::Concat => Ok(Tensor::cat(inputs, 1)?),
        LayerKind::Flatten => Ok(x.contiguous()?.flatten(1, D::Minus1)?),
        LayerKind::PadShortcut { stride, channels } => numeric::pad_shortcut(x, *stride, *channels),
    }
}

fn batch_norm(
    network: &Network,
    layer: &Layer,
    norm: &BatchNorm,
    x: &Tensor,
    [scale, shift]: [&Tensor; 2],
    mode: Mode,
) -> Result<Tensor> {
    let names = [format!("{}.running_mean", layer.name), format!("{}.running_var", layer.name)];
    if mode == Mode::Evaluate {
        let statistics = network.statistics.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let [mean, variance] = [&statistics[&names[0]], &statistics[&names[1]]];
        return numeric::batch_norm_eval(x, scale, shift, mean, variance, norm.epsilon);
    }
    let (y, batch) = numeric::batch_norm_train(x, scale, shift, norm.epsilon)?;
    if mode == Mode::Train {
        // As PyTorch: the batch is normalised by the biased variance, the running one takes the unbiased.
        let unbiased = batch.count as f64 / (batch.count - 1) as f64;
        let mut statistics = network.statistics.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (name, new) in names.into_iter().zip([batch.mean, (batch.variance * unbiased)?]) {
            let old = &statistics[&name];
            let updated = ((old * (1.0 - norm.momentum))? + (new * norm.momentum)?)?;
            statistics.insert(name, updated);
        }
    }
    Ok(y)
}
