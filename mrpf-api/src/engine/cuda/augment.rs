//! Batches of varied images, from bytes that lie on the GPU.

use candle_core::cuda_backend::CudaDevice;
use candle_core::{CudaStorage, Layout, backend::BackendStorage};

use super::gpu::{Argument, Gpu, Grid, address};
use crate::numeric::Precision;
use crate::{Error, ErrorKind, Result};

/// What the kernel `augment` is told of a batch.
pub(crate) struct Varied<'a> {
    /// Eight numbers for each image, in the order that the kernel reads them.
    pub numbers: Vec<i32>,
    /// For each channel, what a blanked part is filled with.
    pub fill: &'a [f32],
    /// What a byte is multiplied by.
    pub scale: f32,
    /// Whether images go on beyond their edges as in a mirror.
    pub reflects: bool,
    /// Sizes of the batch: images, channels, height, width.
    pub dims: [usize; 4],
}

impl Varied<'_> {
    /// The batch in f32, from `data` in u8. Callers have checked that every image that is named is there.
    pub fn images(mut self, data: &CudaStorage, layout: &Layout, precision: Precision) -> Result<CudaStorage> {
        let Some((start, _)) = layout.contiguous_offsets() else {
            return Err(Error::new(ErrorKind::Tensor, format!("images {:?} are not contiguous", layout.shape())));
        };
        let device: &CudaDevice = data.device();
        let gpu = Gpu::of(device, precision)?;
        let [images, channels, height, width] = self.dims;
        let count = images * channels * height * width;
        // One copy for all: the channels' fills lie behind the numbers, bit for bit.
        self.numbers.extend(self.fill.iter().map(|fill| fill.to_bits() as i32));
        let numbers = gpu.upload(&self.numbers)?;
        // SAFETY: the kernel writes every number.
        let out = unsafe { device.alloc::<f32>(count)? };
        let of_fill = numbers.address() + (images * 8 * size_of::<i32>()) as u64;
        let arguments = [
            Argument::Address(address(data.as_cuda_slice::<u8>()?) + start as u64),
            Argument::Address(numbers.address()),
            Argument::Address(of_fill),
            Argument::Float(self.scale),
            Argument::Int(i32::from(self.reflects)),
            Argument::Address(address(&out)),
            Argument::Int(channels as i32),
            Argument::Int(height as i32),
            Argument::Int(width as i32),
            Argument::Long(count as i64),
        ];
        gpu.launch("augment", Grid::of(count), &arguments)?;
        Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
    }
}
