//! Weights as kernels and cuDNN want them: filters with their channels last, norms as a factor and an offset.

use super::gpu::Argument::{Address, Double, Int, Long};
use super::gpu::{EIGHT, Grid, Launcher, with_address};
use crate::Result;
use crate::network::Weights;

/// Addresses of a batch norm's tensors; without them nothing is normalised.
#[derive(Debug, Default)]
pub(super) struct Norm {
    pub scale: u64,
    pub shift: u64,
    pub mean: u64,
    pub variance: u64,
    pub epsilon: f64,
}

impl Norm {
    /// Factor, offset and offset as values, behind a layer with that bias; 0 for what is not there or not wanted.
    pub fn fold(&self, to: Launcher<'_>, bias: u64, [factor, offset, packed]: [u64; 3], channels: usize) -> Result<()> {
        let count = channels.next_multiple_of(EIGHT);
        to.launch(
            "fold",
            Grid::of(count),
            &[
                Address(self.scale),
                Address(self.shift),
                Address(self.mean),
                Address(self.variance),
                Double(self.epsilon),
                Address(bias),
                Address(factor),
                Address(offset),
                Address(packed),
                Int(channels as i32),
                Long(count as i64),
            ],
        )
    }
}

/// Filters `[out, in, tap]` as padded values `[out, tap, in]`, each times its factor.
pub(super) fn pack(
    to: Launcher<'_>,
    [weight, factor, out]: [u64; 3],
    [outputs, inputs, taps]: [usize; 3],
) -> Result<()> {
    let in_groups = inputs.div_ceil(EIGHT);
    let count = outputs.next_multiple_of(EIGHT) * taps * in_groups * EIGHT;
    to.launch(
        "pack",
        Grid::of(count),
        &[
            Address(weight),
            Address(factor),
            Address(out),
            Int(outputs as i32),
            Int(inputs as i32),
            Int(taps as i32),
            Int(in_groups as i32),
            Long(count as i64),
        ],
    )
}

/// Depthwise filters `[channel, tap]` as `[tap, padded channel]` in f32, each times its factor.
pub(super) fn pack_depthwise(
    to: Launcher<'_>,
    [weight, factor, out]: [u64; 3],
    [channels, taps]: [usize; 2],
) -> Result<()> {
    let groups = channels.div_ceil(EIGHT);
    let count = taps * groups * EIGHT;
    to.launch(
        "pack_depthwise",
        Grid::of(count),
        &[
            Address(weight),
            Address(factor),
            Address(out),
            Int(channels as i32),
            Int(taps as i32),
            Int(groups as i32),
            Long(count as i64),
        ],
    )
}

/// Where a tensor of a layer lies; 0 if it has none of that role.
pub(super) fn named(tensors: &Weights, layer: &str, role: &str) -> Result<u64> {
    match tensors.get(&format!("{layer}.{role}")) {
        Some(tensor) => with_address(tensor, Ok),
        None => Ok(0),
    }
}
