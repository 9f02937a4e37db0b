//! Erdős-Rényi-kernel densities of layers.

use mrpf_api::network::{Layer, LayerKind};

/// What a layer's density depends on: the axes of its weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerShape {
    /// Filters or rows, inputs (of one block in a grouped convolution), and of a convolution height and width of the kernel.
    pub axes: Vec<usize>,
}

impl LayerShape {
    /// The weight of a convolution or linear layer; none of others.
    pub fn of(layer: &Layer) -> Option<Self> {
        match &layer.kind {
            LayerKind::Conv2d(conv) => {
                let [height, width] = conv.geometry.kernel;
                let inputs = conv.in_channels / conv.geometry.groups.max(1);
                Some(Self { axes: vec![conv.out_channels, inputs, height, width] })
            }
            LayerKind::Linear(linear) => Some(Self { axes: vec![linear.out_features, linear.in_features] }),
            _ => None,
        }
    }

    /// Numbers in the weight.
    pub fn weights(&self) -> f64 {
        self.axes.iter().map(|&axis| axis as f64).product()
    }

    /// The density up to a factor that all layers share: the sum of the axes over their product.
    fn raw(&self, power: f64) -> f64 {
        (self.axes.iter().map(|&axis| axis as f64).sum::<f64>() / self.weights().max(1.0)).powf(power)
    }
}

/// The share of its weights that each layer keeps when the share `sparsity` in [0, 1] of all weights goes.
///
/// Layer l keeps min(1, e * ((n_in + n_out + k_h + k_w) / (n_in * n_out * k_h * k_w))^power), with the one e for which the sum is
/// right (Evci et al. 2020, arXiv 1911.11134, section 3; `sparse_utils.py` of the authors' code finds the layers that stay dense one
/// by one, which ends at the same e). No density falls when `sparsity` does.
pub fn erk_densities(shapes: &[LayerShape], sparsity: f64, power: f64) -> Vec<f64> {
    let raw: Vec<f64> = shapes.iter().map(|shape| shape.raw(power)).collect();
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    order.sort_by(|&a, &b| raw[b].total_cmp(&raw[a]).then(a.cmp(&b)));
    let mut left = (1.0 - sparsity.clamp(0.0, 1.0)) * shapes.iter().map(LayerShape::weights).sum::<f64>();
    let mut of_factor: f64 = order.iter().map(|&at| raw[at] * shapes[at].weights()).sum();
    let mut densities = vec![1.0; shapes.len()];
    for (place, &at) in order.iter().enumerate() {
        let factor = left / of_factor.max(f64::MIN_POSITIVE);
        // The layers are sorted: if this one is not dense, none of the others is.
        if factor * raw[at] <= 1.0 {
            order[place..].iter().for_each(|&at| densities[at] = (factor * raw[at]).clamp(0.0, 1.0));
            break;
        }
        left -= shapes[at].weights();
        of_factor -= raw[at] * shapes[at].weights();
    }
    densities
}
