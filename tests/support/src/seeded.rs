//! Weights and images that are a function of their names, as the recording scripts make them, and what is recorded with them.

use mrpf_api::network::{TensorSpec, parameter_specs, statistic_specs};
use mrpf_api::prelude::*;

const LABEL: u32 = 3;
/// Every seventh number of a gradient is recorded.
const EVERY: usize = 7;

/// Numbers in [0, 1): splitmix64 from the FNV-1a hash of the name, as in the recording script.
pub fn uniform(name: &str, shape: &[usize]) -> Vec<f64> {
    let seed = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let number = |at: u64| {
        let z = seed.wrapping_add(at.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    (1..=shape.iter().product::<usize>() as u64).map(number).collect()
}

/// Random weights that PyTorch was given as well.
pub fn filled(name: &str, shape: &[usize]) -> Result<Tensor> {
    let mut values = uniform(name, shape);
    let scale = (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
    for value in &mut values {
        *value = match shape.len() {
            2.. => (2.0 * *value - 1.0) * scale,
            _ if name.ends_with("running_var") => 0.5 + *value,
            _ if name.ends_with("weight") => 0.75 + 0.5 * *value,
            _ => 0.4 * (*value - 0.5),
        };
    }
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// A network with such weights, in f64.
pub fn network(declaration: Declaration) -> Result<Network> {
    let tensors = |specs: Vec<TensorSpec>| -> Result<Weights> {
        specs.into_iter().map(|spec| Ok((spec.name.clone(), filled(&spec.name, &spec.shape)?))).collect()
    };
    let (parameters, statistics) = (tensors(parameter_specs(&declaration))?, tensors(statistic_specs(&declaration))?);
    Network::from_tensors(declaration, parameters, statistics)
}

/// Logits, and every seventh number of the images' gradient, in f64.
pub fn outputs(network: &Network, images: &Tensor) -> Result<(Tensor, Vec<f64>)> {
    let labels = Tensor::new(&[LABEL], images.device())?;
    let frozen = network.freeze()?;
    let images = images.to_dtype(network.dtype())?;
    let at = frozen.input_gradient(&images, &|logits| loss::cross_entropy_per_image(logits, &labels))?;
    let gradient = at.gradient.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok((at.logits.to_device(&Device::Cpu)?.to_dtype(DType::F64)?, gradient.into_iter().step_by(EVERY).collect()))
}
