//! Random crops, mirror images and blanked squares: batches made from bytes where those lie.
//!
//! What happens to an image is a few numbers ([`Variation`]), drawn by the caller. One operation reads bytes and writes the varied
//! images, so that on a GPU a batch takes one small copy and one kernel, and the images themselves never move.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Shape, Tensor, WithDType};
use rayon::prelude::*;
use std::ops::Range;

use super::Precision;
use crate::{Error, ErrorKind, Result};

/// What happens to one image of a batch: it is moved, perhaps mirrored, and a part of it perhaps blanked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variation {
    /// Which image of the data.
    pub image: usize,
    /// How many rows further down each pixel is taken from; negative for further up.
    pub down: isize,
    /// How many columns further right each pixel is taken from, after mirroring.
    pub right: isize,
    /// Whether left and right change places.
    pub mirrored: bool,
    /// The blanked rows and columns, inside the image.
    pub blank: [Range<usize>; 2],
}

/// What is the same for all images of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct VariationGround<'a> {
    /// The byte that stands for 1.
    pub full_scale: u8,
    /// Whether the image goes on beyond its edge as in a mirror, without repeating the edge; else black is there.
    pub reflects: bool,
    /// What a blanked part is filled with, for each channel, in [0, 1]; black where it is too short.
    pub fill: &'a [f64],
    /// In which numbers the network that gets the batch is computed: kernels are compiled once for each.
    pub precision: Precision,
}

/// Whether [`augment`] works on that device: on the CPU, and on NVIDIA GPUs in a build with cuDNN.
pub fn can_augment_on(device: &Device) -> bool {
    device.is_cpu() || (cfg!(feature = "cudnn") && device.is_cuda())
}

/// Bytes that are free on a device, where it says so; as many as there can be elsewhere.
pub fn free_memory(device: &Device) -> u64 {
    match device {
        #[cfg(feature = "cudnn")]
        Device::Cuda(device) => device.cuda_stream().context().mem_get_info().map_or(0, |(free, _)| free as u64),
        _ => u64::MAX,
    }
}

/// Varied images `[batch, channel, height, width]` in f32, in [0, 1], from `data` `[image, channel, height, width]`, which is u8.
///
/// Without any variation an image is its bytes, each times `1 / full_scale` in f32.
///
/// # Errors
/// [`ErrorKind::Tensor`] if `data` has another shape or type, or a variation names an image or a part that is not there;
/// [`ErrorKind::Device`] where [`can_augment_on`] says no.
pub fn augment(data: &Tensor, variations: &[Variation], ground: &VariationGround<'_>) -> Result<Tensor> {
    let (images, channels, height, width) = data.dims4()?;
    let outside = |variation: &&Variation| {
        let [rows, columns] = &variation.blank;
        variation.image >= images || rows.end > height || columns.end > width
    };
    if let Some(outside) = variations.iter().find(outside) {
        let message = format!("{outside:?} of {images} images of {height} x {width} pixels");
        return Err(Error::new(ErrorKind::Tensor, message));
    }
    if data.dtype() != DType::U8 {
        return Err(Error::new(ErrorKind::Tensor, format!("images are varied in {:?}, expected u8", data.dtype())));
    }
    if !can_augment_on(data.device()) {
        let message = format!("images cannot be varied on {:?}", data.device().location());
        return Err(Error::new(ErrorKind::Device, message));
    }
    if variations.is_empty() {
        return Ok(Tensor::zeros((0, channels, height, width), DType::F32, data.device())?);
    }
    let fill = |channel| ground.fill.get(channel).map_or(0.0, |&value| value as f32);
    let operation = Augment {
        variations: variations.to_vec(),
        scale: 1.0 / f32::from(ground.full_scale),
        reflects: ground.reflects,
        fill: (0..channels).map(fill).collect(),
        precision: ground.precision,
    };
    Ok(data.contiguous()?.apply_op1_no_bwd(&operation)?)
}

impl Variation {
    /// Writes the varied image, `[channel, height, width]`, from one that is stored in numbers which `read` makes values of.
    pub fn apply<S: Copy, T: WithDType>(
        &self,
        image: &[S],
        [height, width]: [usize; 2],
        reflects: bool,
        fill: &[T],
        read: impl Fn(S) -> T,
        out: &mut [T],
    ) {
        let black = T::from_f64(0.0);
        let column = |x: usize| {
            let across = if self.mirrored { width - 1 - x } else { x };
            source(across as isize + self.right, width, reflects)
        };
        let columns: Vec<Option<usize>> = (0..width).map(column).collect();
        let planes = image.chunks_exact(height * width).zip(out.chunks_exact_mut(height * width));
        for (channel, (plane, out)) in planes.enumerate() {
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                let Some(row) = source(row as isize + self.down, height, reflects) else {
                    out.fill(black);
                    continue;
                };
                let from = &plane[row * width..(row + 1) * width];
                for (out, column) in out.iter_mut().zip(&columns) {
                    *out = column.map_or(black, |column| read(from[column]));
                }
            }
            let [rows, columns] = &self.blank;
            let fill = fill.get(channel).copied().unwrap_or(black);
            for row in rows.clone() {
                out[row * width..(row + 1) * width][columns.clone()].fill(fill);
            }
        }
    }

    /// As the kernel reads it.
    #[cfg(feature = "cudnn")]
    fn numbers(&self) -> [i32; 8] {
        let [rows, columns] = &self.blank;
        let [top, bottom, left, right] = [rows.start, rows.end, columns.start, columns.end].map(|at| at as i32);
        [self.image as i32, self.down as i32, self.right as i32, i32::from(self.mirrored), top, bottom, left, right]
    }
}

/// Where a pixel comes from along one side; `None` outside the image where it does not reflect.
fn source(at: isize, size: usize, reflects: bool) -> Option<usize> {
    let last = size as isize - 1;
    match reflects {
        false => (0..=last).contains(&at).then_some(at as usize),
        true if last == 0 => Some(0),
        true => {
            // Mirrored as often as it takes, without repeating the edge.
            let folded = at.rem_euclid(2 * last);
            Some(folded.min(2 * last - folded) as usize)
        }
    }
}

struct Augment {
    variations: Vec<Variation>,
    scale: f32,
    reflects: bool,
    fill: Vec<f32>,
    #[cfg_attr(not(feature = "cudnn"), allow(dead_code, reason = "only kernels are compiled for it"))]
    precision: Precision,
}

impl Augment {
    fn shape(&self, layout: &Layout) -> candle_core::Result<Shape> {
        let (_, channels, height, width) = layout.shape().dims4()?;
        Ok(Shape::from((self.variations.len(), channels, height, width)))
    }
}

impl CustomOp1 for Augment {
    fn name(&self) -> &'static str {
        "augment"
    }

    fn cpu_fwd(&self, data: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let shape = self.shape(layout)?;
        let (_, channels, height, width) = shape.dims4()?;
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("images of shape {:?} are not contiguous", layout.shape())
        };
        let (bytes, each) = (&data.as_slice::<u8>()?[start..end], channels * height * width);
        let mut out = vec![0.0f32; shape.elem_count()];
        out.par_chunks_exact_mut(each.max(1)).zip(&self.variations).for_each(|(out, variation)| {
            let image = &bytes[variation.image * each..(variation.image + 1) * each];
            let read = |byte| f32::from(byte) * self.scale;
            variation.apply(image, [height, width], self.reflects, &self.fill, read, out);
        });
        Ok((CpuStorage::F32(out), shape))
    }

    #[cfg(feature = "cudnn")]
    fn cuda_fwd(
        &self,
        data: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        let shape = self.shape(layout)?;
        let (_, channels, height, width) = shape.dims4()?;
        let varied = crate::engine::cuda::Varied {
            numbers: self.variations.iter().flat_map(Variation::numbers).collect(),
            fill: &self.fill,
            scale: self.scale,
            reflects: self.reflects,
            dims: [self.variations.len(), channels, height, width],
        };
        let out = varied.images(data, layout, self.precision).map_err(candle_core::Error::wrap)?;
        Ok((out, shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_does_not_repeat_the_edge() {
        let from: Vec<_> = (-3..7).map(|at| source(at, 4, true)).collect();
        assert_eq!(from, [3, 2, 1, 0, 1, 2, 3, 2, 1, 0].map(Some));
    }

    #[test]
    fn an_image_is_moved_then_mirrored_then_blanked() -> Result<()> {
        let data = Tensor::from_vec((0..12u8).collect(), (2, 1, 2, 3), &Device::Cpu)?;
        let ground = VariationGround { full_scale: 1, reflects: false, fill: &[0.5], precision: Precision::F32 };
        let variations = [
            Variation { image: 1, ..Variation::default() },
            Variation { image: 1, mirrored: true, ..Variation::default() },
            Variation { image: 1, down: 1, right: -1, ..Variation::default() },
            Variation { image: 0, right: 1, mirrored: true, blank: [0..1, 1..3], ..Variation::default() },
        ];
        let images = augment(&data, &variations, &ground)?.flatten_from(1)?.to_vec2::<f32>()?;
        assert_eq!(images[0], [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        assert_eq!(images[1], [8.0, 7.0, 6.0, 11.0, 10.0, 9.0]);
        assert_eq!(images[2], [0.0, 9.0, 10.0, 0.0, 0.0, 0.0]);
        assert_eq!(images[3], [0.0, 0.5, 0.5, 0.0, 5.0, 4.0]);
        Ok(())
    }

    #[test]
    fn what_is_not_there_is_refused() -> Result<()> {
        let data = Tensor::zeros((2, 1, 2, 3), DType::U8, &Device::Cpu)?;
        let ground = VariationGround { full_scale: 1, reflects: false, fill: &[], precision: Precision::F32 };
        for wrong in [
            Variation { image: 2, ..Variation::default() },
            Variation { blank: [0..3, 0..1], ..Variation::default() },
            Variation { blank: [0..1, 0..4], ..Variation::default() },
        ] {
            assert_eq!(
                augment(&data, &[wrong], &ground).map(drop).map_err(|error| error.kind()),
                Err(ErrorKind::Tensor)
            );
        }
        assert!(augment(&data.to_dtype(DType::F32)?, &[Variation::default()], &ground).is_err());
        assert_eq!(augment(&data, &[], &ground)?.dims(), [0, 1, 2, 3]);
        Ok(())
    }
}
