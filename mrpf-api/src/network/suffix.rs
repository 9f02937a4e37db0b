//! The part of a network that depends on one module, for measures that move its weight and nothing else.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Shape, Tensor};
use std::sync::Arc;

use super::classifier::{Classifier, FrozenNetwork, Work};
use super::forward::{Mode, check_images, run_layers};
use super::parameters::parameter_specs;
use super::weights::{Network, Weights};
use crate::engine::{SuffixEngine, SuffixTrace};
use crate::numeric::free_memory;
use crate::numeric::kernel::{is_native, read};
use crate::{Error, ErrorKind, Result};

/// Logits on given images as a function of one module's weight, everything else frozen in evaluation mode.
///
/// What does not depend on the module is computed once, and going back nothing is computed beyond it. Agrees with
/// [`Network::forward_with`] within rounding.
#[derive(Debug)]
pub struct Suffix {
    work: SuffixWork,
    /// Shape of the module's weight.
    weight: Vec<usize>,
    images: usize,
    classes: usize,
}

#[derive(Debug)]
enum SuffixWork {
    Engine(Arc<SuffixEngine>),
    Operations {
        network: Arc<Network>,
        weights: Weights,
        mode: Mode,
        name: String,
        factor: Option<Tensor>,
        images: Tensor,
        /// What the module and layers behind it read of layers before it, where that is kept.
        before: Option<Before>,
    },
}

/// In how many parts the images go at most to make the values that are kept.
const MOST_PARTS: usize = 16;

/// The values of layers before a module.
#[derive(Debug)]
struct Before {
    /// The module's place among the layers.
    module: usize,
    /// For each layer, its output on all images if it is read later.
    values: Vec<Option<Tensor>>,
}

impl Before {
    /// The values, if they take at most `memory` bytes and half of what a GPU has free; none where batch norm goes by the batch, whose rows
    /// change, and none on the CPU, where how a batch is divided is part of every rounding.
    fn new(
        network: &Network,
        weights: &Weights,
        mode: Mode,
        module: &str,
        images: &Tensor,
        memory: usize,
    ) -> Result<Option<Self>> {
        let (layers, wiring) = (&network.declaration.layers, &network.wiring);
        let Some(module) = layers.iter().position(|layer| layer.name == module) else { return Ok(None) };
        let kept = (0..module).filter(|&at| wiring.last_use[at] >= module);
        let bytes: usize =
            kept.map(|at| wiring.shapes[at].channels() * wiring.shapes[at].places()).sum::<usize>() * images.dim(0)?;
        let bytes = bytes * images.dtype().size_in_bytes();
        if mode != Mode::Evaluate || is_native(images) || bytes > memory {
            return Ok(None);
        }
        let fits = || bytes as u64 <= free_memory(images.device()) / 2;
        if !fits() {
            network.release_memory()?;
            if !fits() {
                return Ok(None);
            }
        }
        let constants: Weights = weights.iter().map(|(name, weight)| (name.clone(), weight.detach())).collect();
        let of_part = |images: &Tensor| -> Result<Vec<Option<Tensor>>> {
            let mut values = vec![None; layers.len()];
            run_layers(network, &constants, images, mode, 0..module, &mut values, &mut |_, _| Ok(()))?;
            Ok(values)
        };
        let count = images.dim(0)?;
        let mut parts = 1;
        // What is kept saves time and nothing else; where that takes a pass for every few images, nothing is kept.
        while parts <= MOST_PARTS.min(count) {
            match in_parts(images, count.div_ceil(parts), &of_part) {
                Err(full) if full.is_out_of_memory() => network.release_memory()?,
                values => return Ok(Some(Self { module, values: values? })),
            }
            parts *= 2;
        }
        Ok(None)
    }
}

/// The values of all images, from those of so many at a time.
fn in_parts(
    images: &Tensor,
    together: usize,
    of_part: &dyn Fn(&Tensor) -> Result<Vec<Option<Tensor>>>,
) -> Result<Vec<Option<Tensor>>> {
    let count = images.dim(0)?;
    if together >= count {
        return of_part(images);
    }
    let starts = (0..count).step_by(together);
    let parts: Vec<Vec<Option<Tensor>>> = starts
        .map(|from| of_part(&images.narrow(0, from, together.min(count - from))?.contiguous()?))
        .collect::<Result<_>>()?;
    let of_layer = |layer: usize| -> Result<Option<Tensor>> {
        let values: Vec<&Tensor> = parts.iter().filter_map(|part| part.get(layer)?.as_ref()).collect();
        Ok((!values.is_empty()).then(|| Tensor::cat(&values, 0)).transpose()?)
    };
    (0..parts.first().map_or(0, Vec::len)).map(of_layer).collect()
}

impl FrozenNetwork {
    /// The part that depends on `module`, on `images` `[batch, channel, height, width]`.
    ///
    /// At most `memory` bytes of values before the module are kept; for images beyond that they are computed anew each time. A GPU keeps
    /// those of all images, or none where they do not fit.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] if no convolution or linear layer has that name, [`ErrorKind::Data`] for images of another shape.
    pub fn suffix(&self, module: &str, images: &Tensor, memory: usize) -> Result<Suffix> {
        check_images(&self.declaration, images)?;
        let modules = || self.declaration.modules().map(|layer| layer.name.as_str());
        let unknown = || Error::unknown_name("module", module, modules());
        if !modules().any(|name| name == module) {
            return Err(unknown());
        }
        let name = format!("{module}.weight");
        let specs = parameter_specs(&self.declaration);
        let weight = specs.into_iter().find(|spec| spec.name == name).ok_or_else(unknown)?.shape;
        let factor = self.factors.get(module).cloned();
        let work = match self.work.clone() {
            Work::Engine(engine) => {
                let factor = factor.map(|factor| factor.to_vec1()).transpose()?;
                let values = images.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
                let suffix = SuffixEngine::new(engine, &self.declaration, module, factor, values, memory);
                SuffixWork::Engine(Arc::new(suffix.ok_or_else(unknown)?))
            }
            #[cfg(feature = "cudnn")]
            Work::Gpu(lease) => return lease.by_operations()?.suffix(module, images, memory),
            Work::Operations { network, weights, mode } => {
                let images = images.detach();
                let before = Before::new(&network, &weights, mode, module, &images, memory)?;
                SuffixWork::Operations { network, weights, mode, name, factor, images, before }
            }
        };
        Ok(Suffix { work, weight, images: images.dim(0)?, classes: self.classes() })
    }
}

impl Suffix {
    /// Logits `[row, class]` of the images at `rows` with `weight` as the module's; gradients flow into `weight`.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] for rows that there are not, [`ErrorKind::Tensor`] for a weight of another shape.
    pub fn logits(&self, weight: &Tensor, rows: &[usize]) -> Result<Tensor> {
        if rows.is_empty() || rows.iter().any(|row| *row >= self.images) {
            let message = format!("{} rows of {} images, one of them beyond the last", rows.len(), self.images);
            return Err(Error::new(ErrorKind::Data, message));
        }
        if weight.dims() != self.weight {
            let message = format!("a weight of shape {:?}, expected {:?}", weight.dims(), self.weight);
            return Err(Error::new(ErrorKind::Tensor, message));
        }
        match &self.work {
            SuffixWork::Engine(suffix) => {
                let (logits, trace) = read(weight, |weight| Ok(suffix.forward(weight, rows)))?;
                let shape = Shape::from((rows.len(), self.classes));
                if !weight.track_op() {
                    return Ok(Tensor::from_vec(logits, shape, &Device::Cpu)?);
                }
                Ok(weight.apply_op1(OfWeight { suffix: suffix.clone(), logits, trace, shape })?)
            }
            SuffixWork::Operations { network, weights, mode, name, factor, images, before } => {
                let mut weights = weights.clone();
                let folded = match factor {
                    None => weight.clone(),
                    Some(factor) => weight.broadcast_mul(&factor.reshape(((), 1, 1, 1))?)?,
                };
                weights.insert(name.clone(), folded);
                let rows: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
                let rows = Tensor::new(rows, images.device())?;
                let images = images.index_select(&rows, 0)?;
                let Some(Before { module, values }) = before else {
                    return network.forward_with(&weights, &images, *mode);
                };
                let chosen = |value: &Option<Tensor>| -> Result<Option<Tensor>> {
                    Ok(value.as_ref().map(|value| value.contiguous()?.index_select(&rows, 0)).transpose()?)
                };
                let mut values = values.iter().map(chosen).collect::<Result<Vec<_>>>()?;
                let layers = *module..values.len();
                let logits = run_layers(network, &weights, &images, *mode, layers, &mut values, &mut |_, _| Ok(()))?;
                logits.ok_or_else(|| Error::new(ErrorKind::Declaration, "a network without layers"))
            }
        }
    }
}

struct OfWeight {
    suffix: Arc<SuffixEngine>,
    logits: Vec<f32>,
    trace: SuffixTrace,
    shape: Shape,
}

impl CustomOp1 for OfWeight {
    fn name(&self) -> &'static str {
        "suffix of a network"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.logits.clone()), self.shape.clone()))
    }

    fn bwd(&self, weight: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let by_weight = read(gradient, |gradient| Ok(self.suffix.backward(&self.trace, gradient)))?;
        Ok(Some(Tensor::from_vec(by_weight, weight.shape(), &Device::Cpu)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_parts_are_those_of_all_images() -> Result<()> {
        let images = Tensor::arange(0f64, 14.0, &Device::Cpu)?.reshape((7, 1, 2, 1))?;
        // A layer that nobody reads later, and one whose values are kept.
        let of_part = |images: &Tensor| Ok(vec![None, Some((images * 2.0)?)]);
        for together in 1..9 {
            let found = in_parts(&images, together, &of_part)?;
            let [None, Some(kept)] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!(kept.flatten_all()?.to_vec1::<f64>()?, (images.flatten_all()? * 2.0)?.to_vec1::<f64>()?);
        }
        Ok(())
    }
}
