//! Which parameters and running statistics a declaration needs, by name and shape.

use super::declaration::Declaration;
use super::layer_kind::LayerKind;

/// A tensor that a layer owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// `<layer>.<role>`, for example `conv1.weight`.
    pub name: String,
    /// The owning layer.
    pub layer: String,
    /// `weight`, `bias`, `running_mean` or `running_var`.
    pub role: &'static str,
    /// Shape of the tensor.
    pub shape: Vec<usize>,
}

/// The trainable parameters in forward order.
pub fn parameter_specs(declaration: &Declaration) -> Vec<TensorSpec> {
    specs(declaration, parameter_shapes)
}

/// Roles and shapes of the parameters of one layer.
pub(super) fn parameter_shapes(kind: &LayerKind) -> Vec<(&'static str, Vec<usize>)> {
    match kind {
        LayerKind::Conv2d(conv) => {
            let [height, width] = conv.geometry.kernel;
            let weight = vec![conv.out_channels, conv.in_channels / conv.geometry.groups.max(1), height, width];
            with_bias(weight, conv.bias)
        }
        LayerKind::Linear(linear) => with_bias(vec![linear.out_features, linear.in_features], linear.bias),
        LayerKind::BatchNorm(norm) => with_bias(vec![norm.channels], true),
        LayerKind::LayerNorm(norm) => with_bias(vec![norm.channels], true),
        _ => Vec::new(),
    }
}

/// The running statistics in forward order; they are no parameters, and no optimiser touches them.
pub fn statistic_specs(declaration: &Declaration) -> Vec<TensorSpec> {
    specs(declaration, |kind| match kind {
        LayerKind::BatchNorm(norm) => vec![("running_mean", vec![norm.channels]), ("running_var", vec![norm.channels])],
        _ => Vec::new(),
    })
}

fn with_bias(weight: Vec<usize>, bias: bool) -> Vec<(&'static str, Vec<usize>)> {
    let outputs = weight[0];
    let bias = bias.then(|| ("bias", vec![outputs]));
    std::iter::once(("weight", weight)).chain(bias).collect()
}

fn specs(declaration: &Declaration, of: impl Fn(&LayerKind) -> Vec<(&'static str, Vec<usize>)>) -> Vec<TensorSpec> {
    let layers = declaration.layers.iter();
    let owned =
        layers.flat_map(|layer| of(&layer.kind).into_iter().map(move |(role, shape)| (&layer.name, role, shape)));
    owned
        .map(|(layer, role, shape)| TensorSpec { name: format!("{layer}.{role}"), layer: layer.clone(), role, shape })
        .collect()
}
