//! The one forward pass over a declaration.

use candle_core::{D, DType, Tensor};
use std::ops::Range;
use std::sync::Arc;

use super::declaration::{Declaration, Layer};
use super::layer_kind::{BatchNorm, LayerKind};
use super::parameters::parameter_specs;
use super::tokens::Attention;
use super::weights::{Network, Weights};
use crate::engine::{Forward, Plan, TrainingPass, attach};
use crate::numeric::kernel::{is_native, read};
use crate::numeric::{self, BatchStatistics};
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

/// Logits; in training mode by the engine where it knows the network, else layer by layer.
pub(super) fn forward(network: &Network, weights: &Weights, images: &Tensor, mode: Mode) -> Result<Tensor> {
    #[cfg(feature = "cudnn")]
    if let Some(logits) = super::gpu::forward(network, weights, images, mode)? {
        return Ok(logits);
    }
    let in_f32 = |tensor: &Tensor| tensor.dtype() == DType::F32 && is_native(tensor);
    match &network.plan {
        Some(plan) if mode != Mode::Evaluate && in_f32(images) && weights.values().all(in_f32) => {
            check_images(&network.declaration, images)?;
            engine_forward(network, plan.clone(), weights, images, mode)
        }
        _ => forward_by_layers(network, weights, images, mode, &mut |_, _| Ok(())),
    }
}

fn engine_forward(
    network: &Network,
    plan: Arc<Plan>,
    weights: &Weights,
    images: &Tensor,
    mode: Mode,
) -> Result<Tensor> {
    for spec in parameter_specs(&network.declaration) {
        if !weights.contains_key(&spec.name) {
            return Err(Error::unknown_name("weight", &spec.name, weights.keys().map(String::as_str)));
        }
    }
    let constants: Weights = weights.iter().map(|(name, weight)| (name.clone(), weight.detach())).collect();
    let (declaration, memory) = (network.declaration.clone(), network.memory.clone());
    let mut result = None;
    read(images, |images| {
        result = Some(TrainingPass::run(plan, declaration, memory, constants, images));
        Ok(())
    })?;
    let Some(result) = result else { return Err(Error::new(ErrorKind::Tensor, "images without values")) };
    let (pass, Forward { logits, statistics }) = result?;
    if mode == Mode::Train {
        for (layer, batch) in statistics {
            let layer = &network.declaration.layers[layer];
            if let LayerKind::BatchNorm(norm) = &layer.kind {
                update_statistics(network, &layer.name, norm, &batch)?;
            }
        }
    }
    attach(pass, logits, images, weights)
}

pub(super) fn forward_by_layers(
    network: &Network,
    weights: &Weights,
    images: &Tensor,
    mode: Mode,
    tap: &mut dyn FnMut(&str, &Tensor) -> Result<()>,
) -> Result<Tensor> {
    check_images(&network.declaration, images)?;
    let mut values: Vec<Option<Tensor>> = vec![None; network.declaration.layers.len()];
    let output = run_layers(network, weights, images, mode, 0..values.len(), &mut values, tap)?;
    Ok(output.unwrap_or_else(|| images.clone()))
}

/// Runs some layers one after the other; `values` holds what they read of layers before them, and afterwards what later ones will read.
/// Gives the output of the last one.
pub(super) fn run_layers(
    network: &Network,
    weights: &Weights,
    images: &Tensor,
    mode: Mode,
    layers: Range<usize>,
    values: &mut [Option<Tensor>],
    tap: &mut dyn FnMut(&str, &Tensor) -> Result<()>,
) -> Result<Option<Tensor>> {
    let (declaration, wiring) = (&network.declaration, &network.wiring);
    let mut last = None;
    for at in layers {
        let layer = &declaration.layers[at];
        let mut inputs = Vec::with_capacity(wiring.inputs[at].len());
        for &input in &wiring.inputs[at] {
            let value = input.map_or(Some(images), |i| values[i].as_ref());
            let dropped =
                || Error::new(ErrorKind::Declaration, format!("layer `{}` reads a dropped value", layer.name));
            inputs.push(value.ok_or_else(dropped)?.clone());
        }
        let output = apply(network, weights, layer, &inputs, mode).context(|| format!("layer `{}`", layer.name))?;
        tap(&layer.name, &output)?;
        values[at] = Some(output.clone());
        last = Some(output);
        // Values are dropped after their last reader, so that a pass without gradients holds only what is still needed.
        for input in wiring.inputs[at].iter().flatten() {
            if wiring.last_use[*input] == at {
                values[*input] = None;
            }
        }
    }
    Ok(last)
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
        LayerKind::Relu6 => numeric::relu6(x),
        LayerKind::Silu => numeric::silu(x),
        LayerKind::Gelu => numeric::gelu(x),
        LayerKind::MaxPool(pool) => numeric::max_pool2d(x, pool),
        LayerKind::AvgPool(pool) => numeric::avg_pool2d(x, pool),
        LayerKind::GlobalAvgPool => numeric::global_avg_pool(x),
        LayerKind::Add => inputs[1..].iter().try_fold(x.clone(), |sum, other| Ok((sum + other)?)),
        LayerKind::Concat => Ok(Tensor::cat(inputs, 1)?),
        LayerKind::Flatten => Ok(x.contiguous()?.flatten(1, D::Minus1)?),
        LayerKind::LayerNorm(norm) => numeric::layer_norm(x, own("weight")?, own("bias")?, norm.epsilon),
        LayerKind::Attention(Attention { heads, scale, .. }) => {
            numeric::attention([x, &inputs[1], &inputs[2]], *heads, *scale)
        }
        LayerKind::Unfold { patch } => numeric::unfold(x, *patch),
        LayerKind::Fold { patch, size } => numeric::fold(x, *patch, *size),
        LayerKind::Resize { size } => numeric::resize(x, *size),
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
        update_statistics(network, &layer.name, norm, &batch)?;
    }
    Ok(y)
}

/// As PyTorch: the batch is normalised by the biased variance, the running one takes the unbiased.
fn update_statistics(network: &Network, layer: &str, norm: &BatchNorm, batch: &BatchStatistics) -> Result<()> {
    let unbiased = batch.count as f64 / (batch.count - 1) as f64;
    let mut statistics = network.statistics.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (role, new) in [("running_mean", batch.mean.clone()), ("running_var", (&batch.variance * unbiased)?)] {
        let name = format!("{layer}.{role}");
        let old = &statistics[&name];
        let updated = ((old * (1.0 - norm.momentum))? + (new * norm.momentum)?)?;
        statistics.insert(name, updated);
    }
    Ok(())
}
