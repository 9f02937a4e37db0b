//! Gates: a factor of 1 on each filter's output, after its batch norm, whose gradient tells what the channel is worth.
//!
//! No gate is built. The output of a layer is linear in the parameters of the last affine layer before it, so that the gradient of a
//! factor on it is `gamma * dgamma + beta * dbeta` for a batch norm, and `sum w * dw + b * db` for a filter that none follows.

use mrpf_api::network::{Layer, LayerKind};
use mrpf_api::prelude::*;
use std::collections::BTreeMap;

use super::gradients::{of, of_batch};

/// Gradient of the gate of every filter, by the layer that has the filters.
pub(crate) type Gates = BTreeMap<String, Vec<f64>>;

/// Gradients of the gates in the mean loss of each batch.
pub(crate) fn of_batches(cx: &CallContext<'_>, network: &Network, batches: &[Batch]) -> Result<Vec<Gates>> {
    let mut all = Vec::with_capacity(batches.len());
    for (at, batch) in batches.iter().enumerate() {
        cx.step("gradients of gates", at, batches.len())?;
        all.push(gates(network, &of_batch(cx, network, batch)?)?);
    }
    Ok(all)
}

/// Gates of all convolutions and linear layers, from the gradients of all parameters.
pub(crate) fn gates(network: &Network, gradients: &Weights) -> Result<Gates> {
    let declaration = network.declaration();
    let product = |name: String| -> Result<Tensor> {
        let value = network.parameter(&name)?.as_detached_tensor().in_f64()?;
        let product = (value * of(gradients, &name)?)?;
        Ok(product.reshape((product.dim(0)?, ()))?.sum(1)?)
    };
    let mut gates = Gates::new();
    for layer in declaration.modules() {
        let affine = norm_behind(declaration, layer).unwrap_or(layer);
        let mut gate = product(format!("{}.weight", affine.name))?;
        let bias = format!("{}.bias", affine.name);
        if network.parameters().contains_key(&bias) {
            gate = (gate + product(bias)?)?;
        }
        gates.insert(layer.name.clone(), gate.to_vec1()?);
    }
    Ok(gates)
}

/// The batch norm that alone reads the layer.
fn norm_behind<'a>(declaration: &'a Declaration, layer: &Layer) -> Option<&'a Layer> {
    let mut readers = declaration.layers.iter().filter(|reader| reader.inputs.contains(&layer.name));
    match (readers.next(), readers.next()) {
        (Some(norm), None) if matches!(norm.kind, LayerKind::BatchNorm(_)) => Some(norm),
        _ => None,
    }
}

/// Squared gradients of the channels' gates, averaged over the batches; a channel made by several filters of a layer has one gate there.
pub(crate) fn scores(group: &ChannelGroup, batches: &[Gates], reduction: Reduction) -> Result<Vec<f64>> {
    let mut rows = Vec::new();
    for member in group.producers() {
        let mut mean = vec![None; group.channels];
        for gates in batches {
            let gates = gates.get(&member.layer).ok_or_else(|| {
                Error::unknown_name("layer with gates", &member.layer, gates.keys().map(String::as_str))
            })?;
            let filters = Tensor::new(gates.as_slice(), &Device::Cpu)?;
            for (mean, gate) in mean.iter_mut().zip(member.sums(&filters)?) {
                *mean = gate.map(|gate| mean.unwrap_or(0.0) + gate * gate / batches.len() as f64);
            }
        }
        rows.push(mean);
    }
    Ok(reduction.reduce(&rows, group.channels))
}
