//! The sizes of one convolution, and how its work is divided.

use std::ops::Range;

use super::super::ConvGeometry;
use crate::{Error, ErrorKind, Result};

/// Output pixels per matrix product: enough for the product to run at full speed, few enough that its columns stay in
/// the cache.
const TILE: usize = 512;
/// Tiles shrink, down to this, where that gives every core of a small machine a task.
const SMALLEST_TILE: usize = 128;
/// As many tasks as are tried for. A constant, so that the division and with it every rounding is the same on any
/// machine.
const TASKS: usize = 8;

/// All sizes of one convolution; channels are those of one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvShape {
    pub batch: usize,
    pub groups: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub height: usize,
    pub width: usize,
    pub out_height: usize,
    pub out_width: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
}

impl ConvShape {
    /// Checks that images `[batch, in, height, width]` and a weight `[out, in / groups, kernel height, kernel width]`
    /// fit.
    pub(super) fn new(images: &[usize], weight: &[usize], geometry: &ConvGeometry) -> Result<Self> {
        let ConvGeometry { kernel, stride, padding, groups } = *geometry;
        let mismatch = || {
            let message = format!("images {images:?} and weight {weight:?} do not fit a convolution by {geometry:?}");
            Error::new(ErrorKind::Tensor, message)
                .hint("expected [batch, in, height, width] and [out, in / groups, kernel height, kernel width]")
        };
        let (&[batch, in_channels, height, width], &[out_channels, per_group, ..]) = (images, weight) else {
            return Err(mismatch());
        };
        let (out_height, out_width) = geometry.output_size(in_channels, out_channels, height, width)?;
        if batch == 0 || weight[2..] != kernel || per_group * groups != in_channels {
            return Err(mismatch());
        }
        let mut shape = Self {
            batch,
            groups,
            in_channels: per_group,
            out_channels: out_channels / groups,
            height,
            width,
            out_height,
            out_width,
            kernel,
            stride,
            padding,
        };
        if shape.is_pointwise() {
            // A map is then as good as one long row, whose copies are long too.
            (shape.height, shape.width) = (1, height * width);
            (shape.out_height, shape.out_width) = (1, height * width);
        }
        Ok(shape)
    }

    /// Pixels of one input map.
    pub(super) fn in_pixels(&self) -> usize {
        self.height * self.width
    }

    /// Pixels of one output map.
    pub(super) fn pixels(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Positions of the kernel.
    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Weights of one filter.
    pub(super) fn filter(&self) -> usize {
        self.in_channels * self.taps()
    }

    /// Number of weights.
    pub(super) fn weights(&self) -> usize {
        self.groups * self.out_channels * self.filter()
    }

    /// Whether every output pixel sees just its own input pixel.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1; 2] && self.stride == [1; 2] && self.padding == [0; 2]
    }

    /// Whether every output channel sees just one input channel, of which few others are made.
    pub(super) fn is_depthwise(&self) -> bool {
        self.in_channels == 1 && self.out_channels <= 4
    }

    /// How images and pixels are cut into tiles.
    pub(super) fn tiling(&self) -> Tiling {
        let pixels = self.pixels();
        let target = (self.batch * pixels / TASKS).clamp(SMALLEST_TILE, TILE);
        let images = (target / pixels).clamp(1, self.batch);
        let parts = (pixels / target).max(1);
        Tiling { batch: self.batch, pixels, images, tile: pixels.div_ceil(parts) }
    }

    /// How many channels a task takes so that `tasks` others times the blocks of channels are enough.
    pub(super) fn channel_block(&self, channels: usize, tasks: usize, smallest: usize) -> usize {
        let blocks = TASKS.div_ceil(tasks).min(channels / smallest).max(1);
        channels.div_ceil(blocks)
    }

    /// Into how many parts the batch is cut whose shares of the weight gradient are summed afterwards.
    pub(super) fn parts(&self, image_blocks: usize) -> usize {
        // Each part holds weights of its own: 16 MiB of f32 in all, where one part alone does not exceed that.
        let affordable = (4 << 20) / self.weights();
        TASKS.min(affordable).clamp(1, image_blocks)
    }

    /// The outputs along one axis whose tap at `offset` reads inside an input of `size`.
    pub(super) fn inside(&self, axis: usize, offset: usize, size: usize, out_size: usize) -> Range<usize> {
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        let start = padding.saturating_sub(offset).div_ceil(stride).min(out_size);
        let end = (size + padding).saturating_sub(offset).div_ceil(stride).min(out_size);
        start..end.max(start)
    }
}

/// The division of images and output pixels: tiles of several whole maps, or of a piece of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiling {
    batch: usize,
    pixels: usize,
    /// Images per tile; 1 if maps are cut.
    pub images: usize,
    /// Pixels of one map per tile.
    pub tile: usize,
}

impl Tiling {
    /// The images of each block of images.
    pub(super) fn blocks(&self) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let Self { batch, images, .. } = *self;
        (0..batch.div_ceil(images)).map(move |block| block * images..((block + 1) * images).min(batch))
    }

    /// The pixels of each tile of a map.
    pub(super) fn tiles(&self) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let Self { pixels, tile, .. } = *self;
        (0..pixels.div_ceil(tile)).map(move |at| at * tile..((at + 1) * tile).min(pixels))
    }
}
