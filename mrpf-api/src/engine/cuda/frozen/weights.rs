//! The weights of a frozen network as its steps want them.

use super::super::filters::{Norm, named, pack, pack_depthwise};
use super::super::gpu::{EIGHT, Gpu};
use super::super::memory::DeviceBuffer;
use super::super::pass::groups;
use super::super::plain::Constants;
use crate::Result;
use crate::engine::plan::{Plan, StepKind};
use crate::network::{Declaration, FoldedNorm, FoldedNorms, LayerKind, Weights};

/// What a step computes with.
#[derive(Debug)]
pub(super) enum StepWeights {
    /// A batch norm stands here as well, as factor and offset.
    Plain(Constants),
    /// Filters `[out, tap, in]`, and a value for each output.
    Convolution {
        filters: DeviceBuffer,
        bias: Option<DeviceBuffer>,
        /// Of the norm that is folded in, in f32.
        factor: Option<DeviceBuffer>,
    },
    /// The same for one filter to each channel, `[tap, channel]`, all of it in f32.
    Depthwise { filters: DeviceBuffer, bias: Option<DeviceBuffer>, factor: Option<DeviceBuffer> },
    /// Scale and shift, in f32.
    LayerNorm { scale: DeviceBuffer, shift: DeviceBuffer },
    /// In f32 `[out, in]` and `[out]`.
    Linear { weight: DeviceBuffer, bias: Option<DeviceBuffer> },
}

/// A network as it is before folding.
pub(super) struct Unfolded<'a> {
    pub weights: &'a Weights,
    pub statistics: &'a Weights,
}

impl Unfolded<'_> {
    fn norm(&self, name: &str, epsilon: f64) -> Result<Norm> {
        Ok(Norm {
            scale: named(self.weights, name, "weight")?,
            shift: named(self.weights, name, "bias")?,
            mean: named(self.statistics, name, "running_mean")?,
            variance: named(self.statistics, name, "running_var")?,
            epsilon,
        })
    }

    /// The norm that was folded into a layer; one that does nothing if none was.
    fn folded_norm(&self, folded: Option<&FoldedNorm>) -> Result<Norm> {
        folded.map_or_else(|| Ok(Norm::default()), |norm| self.norm(&norm.name, norm.epsilon))
    }
}

impl StepWeights {
    /// Room for the weights of a step.
    pub fn new(gpu: &Gpu, plan: &Plan, declaration: &Declaration, norms: &FoldedNorms, at: usize) -> Result<Self> {
        let step = &plan.steps[at];
        let (from, to) = (plan.sizes[step.input], plan.sizes[at + 1]);
        let channels = groups(to) * EIGHT;
        let layer = &declaration.layers[step.layer];
        let floats_if = |wanted: bool| if wanted { gpu.floats(channels).map(Some) } else { Ok(None) };
        let is_folded = norms.contains_key(&layer.name);
        Ok(match (&step.kind, layer.kind.taps_and_bias()) {
            (StepKind::Convolution, Some((taps, bias))) => Self::Convolution {
                filters: gpu.values(channels * taps * groups(from) * EIGHT)?,
                bias: if bias { Some(gpu.values(channels)?) } else { None },
                factor: floats_if(is_folded)?,
            },
            (StepKind::Depthwise, Some((taps, bias))) => Self::Depthwise {
                filters: gpu.floats(taps * channels)?,
                bias: floats_if(bias)?,
                factor: floats_if(is_folded)?,
            },
            (StepKind::Linear, Some((_, bias))) => Self::Linear {
                weight: gpu.floats(to.channels * from.channels)?,
                bias: if bias { Some(gpu.floats(to.channels)?) } else { None },
            },
            (StepKind::LayerNorm, _) => Self::LayerNorm { scale: gpu.floats(channels)?, shift: gpu.floats(channels)? },
            (StepKind::BatchNorm, _) => {
                Self::Plain(Constants::Affine { factor: gpu.floats(channels)?, offset: gpu.floats(channels)? })
            }
            _ => Self::Plain(Constants::new(gpu, plan, at)?),
        })
    }

    /// Takes the weights of a step.
    pub fn load(
        &self,
        gpu: &Gpu,
        plan: &Plan,
        declaration: &Declaration,
        norms: &FoldedNorms,
        at: usize,
        network: &Unfolded<'_>,
    ) -> Result<()> {
        let step = &plan.steps[at];
        let (from, to) = (plan.sizes[step.input], plan.sizes[at + 1]);
        let layer = &declaration.layers[step.layer];
        let own = |role: &str| named(network.weights, &layer.name, role);
        let taps = layer.kind.taps_and_bias().map_or(1, |(taps, _)| taps);
        let place = |buffer: &Option<DeviceBuffer>| buffer.as_ref().map_or(0, DeviceBuffer::address);
        match self {
            Self::Convolution { filters, bias, factor } => {
                if bias.is_some() {
                    let norm = network.folded_norm(norms.get(&layer.name))?;
                    norm.fold(gpu.now(), own("bias")?, [place(factor), 0, place(bias)], to.channels)?;
                }
                let places = [own("weight")?, place(factor), filters.address()];
                pack(gpu.now(), places, [to.channels, from.channels, taps])
            }
            Self::Depthwise { filters, bias, factor } => {
                if bias.is_some() {
                    let norm = network.folded_norm(norms.get(&layer.name))?;
                    norm.fold(gpu.now(), own("bias")?, [place(factor), place(bias), 0], to.channels)?;
                }
                let places = [own("weight")?, place(factor), filters.address()];
                pack_depthwise(gpu.now(), places, [to.channels, taps])
            }
            Self::Linear { weight, bias } => {
                gpu.copy(own("weight")?, weight.address(), to.channels * from.channels * size_of::<f32>())?;
                match bias {
                    Some(bias) => gpu.copy(own("bias")?, bias.address(), to.channels * size_of::<f32>()),
                    None => Ok(()),
                }
            }
            Self::LayerNorm { scale, shift } => {
                let bytes = to.channels * size_of::<f32>();
                gpu.copy(own("weight")?, scale.address(), bytes)?;
                gpu.copy(own("bias")?, shift.address(), bytes)
            }
            Self::Plain(Constants::Affine { factor, offset }) => match &layer.kind {
                LayerKind::BatchNorm(norm) if step.has_weights() => network.norm(&layer.name, norm.epsilon)?.fold(
                    gpu.now(),
                    0,
                    [factor.address(), offset.address(), 0],
                    to.channels,
                ),
                _ => Ok(()),
            },
            Self::Plain(_) => Ok(()),
        }
    }
}
