//! Random numbers drawn on an NVIDIA GPU: those that the CPU draws from the same keys.
//!
//! Everything here gives none for tensors that are elsewhere or of another type than f32: callers then draw on the CPU.

use candle_core::Tensor;
use std::sync::Arc;

use super::gpu::Argument::{Address, Double, Int, Long};
use super::gpu::{Gpu, Grid, with_address};
use super::memory::DeviceBuffer;
use crate::Result;
use crate::random::Ziggurat;

/// Where numbers are drawn to.
struct Drawing {
    gpu: Arc<Gpu>,
    /// ChaCha8's keys.
    keys: DeviceBuffer,
    images: usize,
    /// Numbers of each image.
    each: usize,
    out: Tensor,
}

impl Drawing {
    /// Room for `[key, ..shape]` numbers beside `like`.
    fn of(keys: impl FnOnce() -> Vec<[u8; 32]>, shape: &[usize], like: &Tensor) -> Result<Option<Self>> {
        let Some(gpu) = Gpu::of_tensors(&[like])? else { return Ok(None) };
        let keys = keys();
        let (images, each) = (keys.len(), shape.iter().product());
        let dims: Vec<usize> = std::iter::once(images).chain(shape.iter().copied()).collect();
        let out = gpu.room(&dims)?;
        Ok(Some(Self { keys: gpu.upload(&keys)?, gpu, images, each, out }))
    }
}

/// Uniform numbers in [low, high) `[key, ..shape]`, from ChaCha8's stream of each key; the same bits as on the CPU.
pub(crate) fn uniform(
    keys: impl FnOnce() -> Vec<[u8; 32]>,
    shape: &[usize],
    low: f64,
    high: f64,
    like: &Tensor,
) -> Result<Option<Tensor>> {
    let Some(drawing) = Drawing::of(keys, shape, like)? else { return Ok(None) };
    let blocks = drawing.each.div_ceil(8);
    let count = drawing.images * blocks;
    with_address(&drawing.out, |to| {
        let places = [Address(drawing.keys.address()), Double(low), Double(high - low), Address(to)];
        let sizes = [Int(drawing.each as i32), Int(blocks as i32), Long(count as i64)];
        drawing.gpu.launch("uniform", Grid::of(count), &[&places[..], &sizes].concat())
    })?;
    Ok(Some(drawing.out))
}

/// Standard normal numbers `[key, ..shape]`, from ChaCha8's stream of each key, as the CPU draws them; none if that is not known.
///
/// Everything is computed in f64 by the steps of the CPU, and rounded to f32 at the end. The GPU's logarithm and exponential may differ
/// from the CPU's in the last digit of f64. The logarithm is seen in numbers beyond 3.65 alone, one in 4,000, of which rounding
/// hides all but one in some 100,000,000 times; the exponential decides whether a number is taken, of which it would change one in 10^15.
pub(crate) fn normal(keys: impl FnOnce() -> Vec<[u8; 32]>, shape: &[usize], like: &Tensor) -> Result<Option<Tensor>> {
    if !like.device().is_cuda() {
        return Ok(None);
    }
    let Some(ziggurat) = Ziggurat::known() else { return Ok(None) };
    let Some(drawing) = Drawing::of(keys, shape, like)? else { return Ok(None) };
    let gpu = &drawing.gpu;
    let tables = match gpu.normal_tables.get() {
        Some(tables) => tables,
        None => {
            let fresh = gpu.upload(&ziggurat.tables())?;
            gpu.normal_tables.get_or_init(|| fresh)
        }
    };
    with_address(&drawing.out, |to| {
        let places = [drawing.keys.address(), tables.address(), to].map(Address);
        gpu.launch("normal", Grid::of_blocks(drawing.images), &[&places[..], &[Int(drawing.each as i32)]].concat())
    })?;
    Ok(Some(drawing.out))
}
