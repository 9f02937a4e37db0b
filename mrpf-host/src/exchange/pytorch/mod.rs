//! A network as a Python module that needs torch alone, and a state dictionary beside it.

mod layer;
mod module;
mod names;
#[cfg(test)]
mod tests;

use mrpf_api::candle_core::{DType, Device, Tensor};
use mrpf_api::network::{LayerKind, Network};
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::collections::{BTreeMap, HashMap};

pub use names::module_name;

/// What an export consists of.
#[derive(Debug)]
pub struct Exported {
    /// The text of the Python module.
    pub module: String,
    /// The state dictionary as a safetensors file, its names those of the module.
    pub weights: Vec<u8>,
}

/// Writes `network` as a Python module called `name`, see [`module_name`].
///
/// # Errors
/// [`ErrorKind::Declaration`] for a layer that cannot be written in Python, saying which and why.
pub fn export(network: &Network, name: &str) -> Result<Exported> {
    let module = module::text(network.declaration(), name)?;
    let mut tensors: BTreeMap<String, Tensor> = network.frozen_weights();
    tensors.extend(network.statistics());
    for layer in &network.declaration().layers {
        if let LayerKind::Normalize { mean, std } = &layer.kind {
            for (role, values) in [("mean", mean), ("std", std)] {
                let column = Tensor::from_vec(values.clone(), (values.len(), 1, 1), &Device::Cpu)?;
                tensors.insert(format!("{}.{role}", layer.name), column.to_dtype(DType::F32)?);
            }
        }
    }
    let tensors = tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.to_device(&Device::Cpu)?.contiguous()?)));
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    // Loaders of others look for this entry; a single one keeps the bytes the same every time.
    let header = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let weights = safetensors::serialize(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), Some(header))
        .map_err(|error| Error::new(ErrorKind::Checkpoint, error.to_string()))
        .context(|| "writing the state dictionary".into())?;
    Ok(Exported { module, weights })
}
