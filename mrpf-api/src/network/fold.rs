//! Folds batch norm in evaluation mode into the convolution before it.

use candle_core::Tensor;
use std::collections::BTreeMap;

use super::declaration::Declaration;
use super::layer_kind::LayerKind;
use super::weights::Weights;
use crate::Result;

/// A network with its batch norms folded.
pub(super) struct Folded {
    pub declaration: Declaration,
    pub weights: Weights,
    pub statistics: Weights,
    /// What the filters of a convolution were multiplied by, `[out]`, by the convolution's name.
    pub factors: BTreeMap<String, Tensor>,
}

/// A batch norm that is folded into the convolution before it.
#[derive(Debug, Clone)]
pub(crate) struct FoldedNorm {
    pub name: String,
    pub epsilon: f64,
}

/// By the convolution's name.
pub(crate) type FoldedNorms = BTreeMap<String, FoldedNorm>;

/// The layers that are left when batch norms are folded, each such convolution with a bias, and which norm went into which.
///
/// Only a batch norm that is the single reader of a convolution is folded.
pub(super) fn fold_layers(declaration: &Declaration) -> (Declaration, FoldedNorms) {
    let mut readers: BTreeMap<&str, usize> = BTreeMap::new();
    for input in declaration.layers.iter().flat_map(|layer| &layer.inputs) {
        *readers.entry(input).or_default() += 1;
    }
    let mut folded = Declaration { layers: Vec::new(), ..declaration.clone() };
    let mut norms = FoldedNorms::new();
    // A folded batch norm's readers read the convolution in its place.
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    for layer in &declaration.layers {
        let mut layer = layer.clone();
        let reads = layer.inputs[0].clone();
        layer.inputs.iter_mut().for_each(|input| {
            if let Some(name) = renamed.get(input) {
                input.clone_from(name);
            }
        });
        let convolution = folded.layers.iter_mut().find(|earlier| earlier.name == layer.inputs[0]);
        if let (LayerKind::BatchNorm(norm), Some(earlier)) = (&layer.kind, convolution)
            && let LayerKind::Conv2d(conv) = &mut earlier.kind
            && reads == earlier.name
            && readers[reads.as_str()] == 1
        {
            conv.bias = true;
            norms.insert(earlier.name.clone(), FoldedNorm { name: layer.name.clone(), epsilon: norm.epsilon });
            renamed.insert(layer.name, earlier.name.clone());
            continue;
        }
        folded.layers.push(layer);
    }
    (folded, norms)
}

/// The same function with fewer layers: `scale * (W x - mean) / sqrt(var + eps) + shift` becomes one convolution with a bias.
///
/// Weights of other layers are passed on as they are.
pub(super) fn fold(declaration: &Declaration, weights: &Weights, statistics: &Weights) -> Result<Folded> {
    let (folded, norms) = fold_layers(declaration);
    let (mut weights, mut statistics) = (weights.clone(), statistics.clone());
    let mut factors = BTreeMap::new();
    for (convolution, FoldedNorm { name, epsilon }) in norms {
        let [scale, shift] = ["weight", "bias"].map(|role| format!("{name}.{role}"));
        let [mean, variance] = ["running_mean", "running_var"].map(|role| format!("{name}.{role}"));
        let factor = (&weights[&scale] / (&statistics[&variance] + epsilon)?.sqrt()?)?;
        let (weight, bias) = (format!("{convolution}.weight"), format!("{convolution}.bias"));
        let before = match weights.get(&bias) {
            Some(bias) => (bias - &statistics[&mean])?,
            None => statistics[&mean].neg()?,
        };
        let offset = ((before * &factor)? + &weights[&shift])?;
        let filters = weights[&weight].broadcast_mul(&factor.reshape(((), 1, 1, 1))?)?;
        factors.insert(convolution, factor);
        weights.insert(weight, filters);
        weights.insert(bias, offset);
        [scale, shift].iter().for_each(|name| drop(weights.remove(name)));
        [mean, variance].iter().for_each(|name| drop(statistics.remove(name)));
    }
    Ok(Folded { declaration: folded, weights, statistics, factors })
}
