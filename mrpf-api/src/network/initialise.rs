//! Initial weights.

use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

use super::declaration::Declaration;
use super::limits::check_initialised;
use super::parameters::{parameter_specs, statistic_specs};
use crate::Result;
use crate::random::Streams;

/// Fresh parameters for a declaration.
///
/// Convolutions: normal with standard deviation `sqrt(2 / fan_out)` (He et al. 2015, the choice of torchvision's ResNet and
/// VGG); linear layers: uniform in `±1 / sqrt(fan_in)`, PyTorch's default; batch and layer norm: scale 1, shift 0; other biases 0.
/// Each parameter has a random stream of its own name, so that adding a layer leaves the others' weights as they were.
pub fn initial_parameters(
    declaration: &Declaration,
    streams: &Streams,
    dtype: DType,
    device: &Device,
) -> Result<BTreeMap<String, Tensor>> {
    let specs = parameter_specs(declaration);
    let sizes = specs.iter().map(|spec| spec.shape.iter().map(|&size| size as u128).fold(1, u128::saturating_mul));
    check_initialised(sizes.fold(0, u128::saturating_add))?;
    let mut parameters = BTreeMap::new();
    for spec in specs {
        let shape = spec.shape.as_slice();
        let mut stream = streams.child(&spec.name).stream();
        let value = match (spec.role, shape) {
            ("weight", [outputs, _, height, width]) => {
                let deviation = (2.0 / (outputs * height * width) as f64).sqrt();
                (stream.normal(shape, dtype, device)? * deviation)?
            }
            ("weight", [_, inputs]) => {
                let bound = 1.0 / (*inputs as f64).sqrt();
                stream.uniform(shape, -bound, bound, dtype, device)?
            }
            ("weight", _) => Tensor::ones(shape, dtype, device)?,
            _ => Tensor::zeros(shape, dtype, device)?,
        };
        parameters.insert(spec.name, value);
    }
    Ok(parameters)
}

/// Fresh running statistics: mean 0, variance 1.
pub(super) fn initial_statistics(
    declaration: &Declaration,
    dtype: DType,
    device: &Device,
) -> Result<BTreeMap<String, Tensor>> {
    let mut statistics = BTreeMap::new();
    for spec in statistic_specs(declaration) {
        let value = match spec.role {
            "running_var" => Tensor::ones(spec.shape.as_slice(), dtype, device)?,
            _ => Tensor::zeros(spec.shape.as_slice(), dtype, device)?,
        };
        statistics.insert(spec.name, value);
    }
    Ok(statistics)
}
