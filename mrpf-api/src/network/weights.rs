//! A network with its weights.

use candle_core::{DType, Device, Tensor, Var};
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use super::classifier::FrozenNetwork;
use super::declaration::{Declaration, Wiring};
use super::forward::{Mode, forward, forward_by_layers};
use super::initialise::{initial_parameters, initial_statistics};
use super::parameters::{TensorSpec, parameter_specs, statistic_specs};
use crate::engine::{Memory, Plan, PlanFor};
use crate::numeric::{Precision, is_tf32_allowed};
use crate::random::Streams;
use crate::{Error, ErrorKind, Result};

/// Parameters by name, in the order of their names.
pub type Weights = BTreeMap<String, Tensor>;

/// A network: a checked declaration, trainable parameters by sorted name, and running statistics apart from them.
#[derive(Debug)]
pub struct Network {
    pub(super) declaration: Arc<Declaration>,
    pub(super) wiring: Arc<Wiring>,
    parameters: BTreeMap<String, Var>,
    // Training-mode passes update the statistics through a shared reference, so that a trainer may run several of them.
    pub(super) statistics: RwLock<Weights>,
    dtype: DType,
    device: Device,
    /// What the engine makes of the declaration; none if it has a layer that the engine does not know.
    pub(super) plan: Option<Arc<Plan>>,
    /// Buffers that passes of this network share.
    pub(super) memory: Arc<Memory>,
    /// What passes on a GPU are computed in.
    precision: RwLock<Precision>,
    /// What passes on a GPU share.
    #[cfg(feature = "cudnn")]
    pub(super) gpu: super::gpu::Home,
}

impl Network {
    /// A network with fresh weights from `streams`.
    ///
    /// # Errors
    /// [`ErrorKind::Declaration`] if the declaration contradicts itself.
    pub fn initialise(declaration: Declaration, streams: &Streams, dtype: DType, device: &Device) -> Result<Self> {
        declaration.wiring()?;
        let parameters = initial_parameters(&declaration, streams, dtype, device)?;
        let statistics = initial_statistics(&declaration, dtype, device)?;
        Self::from_tensors(declaration, parameters, statistics)
    }

    /// A network from given tensors, which must be exactly those that the declaration needs.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] naming the first tensor that is missing, unexpected or of another shape.
    pub fn from_tensors(declaration: Declaration, parameters: Weights, statistics: Weights) -> Result<Self> {
        let wiring = checked(&declaration, &parameters, &statistics, Tensor::dims)?;
        let variables = parameters.into_iter().map(|(name, tensor)| {
            // The variable must not share memory with a tensor that somebody else holds. Only of variables is no copy made by itself.
            let tensor = if tensor.is_variable() { tensor.copy()? } else { tensor };
            Ok((name, Var::from_tensor(&tensor)?))
        });
        Self::assembled(declaration, wiring, variables.collect::<Result<_>>()?, statistics)
    }

    /// The same from variables that belong to nobody else.
    pub(crate) fn from_variables(
        declaration: Declaration,
        parameters: BTreeMap<String, Var>,
        statistics: Weights,
    ) -> Result<Self> {
        let wiring = checked(&declaration, &parameters, &statistics, |variable| variable.dims())?;
        Self::assembled(declaration, wiring, parameters, statistics)
    }

    fn assembled(
        declaration: Declaration,
        wiring: Wiring,
        parameters: BTreeMap<String, Var>,
        statistics: Weights,
    ) -> Result<Self> {
        let Some(any) = parameters.values().next() else {
            return Err(Error::new(ErrorKind::Declaration, "the network has no parameters"));
        };
        let (dtype, device) = (any.dtype(), any.device().clone());
        let engine = if device.is_cuda() { PlanFor::Gpu } else { PlanFor::Processor };
        Ok(Self {
            plan: Plan::new(&declaration, &wiring, engine).map(Arc::new),
            declaration: Arc::new(declaration),
            wiring: Arc::new(wiring),
            parameters,
            statistics: RwLock::new(statistics),
            dtype,
            device,
            memory: Arc::default(),
            precision: RwLock::default(),
            #[cfg(feature = "cudnn")]
            gpu: super::gpu::Home::default(),
        })
    }

    /// The declaration.
    pub fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    /// Element type of the parameters.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the parameters are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// In which numbers passes on an NVIDIA GPU are computed; f32 means TF32 where [`allow_tf32`](crate::numeric::allow_tf32) says so.
    pub fn precision(&self) -> Precision {
        match *self.precision.read().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Precision::F32 if is_tf32_allowed() => Precision::Tf32,
            precision => precision,
        }
    }

    /// Sets what passes on an NVIDIA GPU are computed in from now on. Weights stay in f32, and other devices take no notice.
    pub fn set_precision(&self, precision: Precision) {
        *self.precision.write().unwrap_or_else(std::sync::PoisonError::into_inner) = precision;
    }

    /// What passes would be computed in here, were `precision` asked for: f32, or TF32 where that is allowed, unless the engine on NVIDIA
    /// GPUs takes this network.
    pub fn computed_in(&self, precision: Precision) -> Precision {
        let is_taken = cfg!(feature = "cudnn") && self.dtype == DType::F32 && self.plan.is_some();
        match (self.device.is_cuda(), precision) {
            (true, Precision::F32) if is_tf32_allowed() => Precision::Tf32,
            (true, precision) if is_taken => precision,
            (true, _) if is_tf32_allowed() => Precision::Tf32,
            _ => Precision::F32,
        }
    }

    /// Gives the GPU's memory back that is kept for passes to come, which will ask for it anew; other devices keep theirs.
    pub fn release_memory(&self) -> Result<()> {
        #[cfg(feature = "cudnn")]
        super::gpu::release(self);
        crate::device::release_memory(&self.device)
    }

    fn with_precision_of(self, other: &Self) -> Self {
        self.set_precision(*other.precision.read().unwrap_or_else(std::sync::PoisonError::into_inner));
        self
    }

    /// The trainable parameters, sorted by name.
    pub fn parameters(&self) -> &BTreeMap<String, Var> {
        &self.parameters
    }

    /// The parameter of that name.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] with the nearest known names.
    pub fn parameter(&self, name: &str) -> Result<&Var> {
        let found = self.parameters.get(name);
        found.ok_or_else(|| Error::unknown_name("parameter", name, self.parameters.keys().map(String::as_str)))
    }

    /// The running statistics, sorted by name.
    pub fn statistics(&self) -> Weights {
        self.statistics.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Replaces the running statistics.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if they are not exactly those that the declaration needs.
    pub fn set_statistics(&self, statistics: Weights) -> Result<()> {
        check_tensors("running statistic", &statistic_specs(&self.declaration), &statistics, Tensor::dims)?;
        *self.statistics.write().unwrap_or_else(std::sync::PoisonError::into_inner) = statistics;
        Ok(())
    }

    /// Replaces the values of all parameters.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if they are not exactly those that the declaration needs.
    pub fn set_parameters(&self, weights: &Weights) -> Result<()> {
        check_tensors("parameter", &parameter_specs(&self.declaration), weights, Tensor::dims)?;
        for (name, variable) in &self.parameters {
            variable.set(&weights[name].copy()?)?;
        }
        Ok(())
    }

    /// The parameters as tensors that gradients flow into.
    pub fn weights(&self) -> Weights {
        self.parameters.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone())).collect()
    }

    /// The parameters as constants: no gradient flows into them.
    ///
    /// They share memory with the parameters and show later updates; [`Network::snapshot`] copies.
    pub fn frozen_weights(&self) -> Weights {
        self.parameters.iter().map(|(name, variable)| (name.clone(), variable.as_detached_tensor())).collect()
    }

    /// Copies of the parameters that later updates leave alone.
    pub fn snapshot(&self) -> Result<Weights> {
        let copies =
            self.parameters.iter().map(|(name, variable)| Ok((name.clone(), variable.as_detached_tensor().copy()?)));
        copies.collect()
    }

    /// An independent copy.
    pub fn duplicate(&self) -> Result<Self> {
        let copy = Self::from_tensors(Declaration::clone(&self.declaration), self.snapshot()?, self.statistics())?;
        Ok(copy.with_precision_of(self))
    }

    /// The same network in another precision.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let convert = |tensors: Weights| -> Result<Weights> {
            tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.to_dtype(dtype)?))).collect()
        };
        Self::from_tensors(
            Declaration::clone(&self.declaration),
            convert(self.snapshot()?)?,
            convert(self.statistics())?,
        )
    }

    /// The same network on another device; itself where it is there already.
    pub fn to_device(self, device: &Device) -> Result<Self> {
        if self.device.same_device(device) {
            return Ok(self);
        }
        let moved = |tensors: Weights| -> Result<Weights> {
            tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.to_device(device)?))).collect()
        };
        let (parameters, statistics) = (moved(self.frozen_weights())?, moved(self.statistics())?);
        let there = Self::from_tensors(Declaration::clone(&self.declaration), parameters, statistics)?;
        Ok(there.with_precision_of(&self))
    }

    /// Logits `[batch, class]` of `images` `[batch, channel, height, width]` in [0, 1], with gradients into the parameters.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        self.forward_with(&self.weights(), images, mode)
    }

    /// Logits with other weights in place of the parameters, for example with one of them moved.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] if a weight that the declaration needs is not given.
    pub fn forward_with(&self, weights: &Weights, images: &Tensor, mode: Mode) -> Result<Tensor> {
        forward(self, weights, images, mode)
    }

    /// Logits, and the output of every layer shown to `tap` by its name as it is computed.
    pub fn forward_tapped(
        &self,
        weights: &Weights,
        images: &Tensor,
        mode: Mode,
        tap: &mut dyn FnMut(&str, &Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        forward_by_layers(self, weights, images, mode, tap)
    }

    /// The network as attacks see it: weights frozen, evaluation mode, batch norm folded into the convolutions.
    pub fn freeze(&self) -> Result<FrozenNetwork> {
        FrozenNetwork::new(self)
    }
}

/// The wiring of a declaration whose tensors are exactly those that it needs.
fn checked<T>(
    declaration: &Declaration,
    parameters: &BTreeMap<String, T>,
    statistics: &Weights,
    dims: impl Fn(&T) -> &[usize],
) -> Result<Wiring> {
    let wiring = declaration.wiring()?;
    check_tensors("parameter", &parameter_specs(declaration), parameters, dims)?;
    check_tensors("running statistic", &statistic_specs(declaration), statistics, Tensor::dims)?;
    Ok(wiring)
}

fn check_tensors<T>(
    what: &str,
    specs: &[TensorSpec],
    tensors: &BTreeMap<String, T>,
    dims: impl Fn(&T) -> &[usize],
) -> Result<()> {
    let wrong = |message: String| {
        let hint = "the file belongs to another network, or to another pruning of it";
        Err(Error::new(ErrorKind::Checkpoint, message).hint(hint))
    };
    for spec in specs {
        match tensors.get(&spec.name) {
            None => return wrong(format!("{what} `{}` is missing", spec.name)),
            Some(tensor) if dims(tensor) != spec.shape => {
                let message = format!("{what} `{}` has shape {:?}, expected {:?}", spec.name, dims(tensor), spec.shape);
                return wrong(message);
            }
            Some(_) => {}
        }
    }
    if tensors.len() != specs.len()
        && let Some(name) = tensors.keys().find(|name| specs.iter().all(|spec| spec.name != **name))
    {
        return wrong(format!("{what} `{name}` does not belong to the network"));
    }
    Ok(())
}
