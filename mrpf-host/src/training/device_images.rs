//! The training images on the device that computes, so that making a batch moves no image.

use mrpf_api::Result;
use mrpf_api::candle_core::{DType, Device, Tensor};
use mrpf_api::data::{Batch, ImageSet, LoadedData};
use mrpf_api::network::Network;
use mrpf_api::numeric::{Variation, VariationGround, augment, can_augment_on, free_memory};

/// The most bytes of images that are put on a device.
const MOST: u64 = 4 << 30;

/// All training images as bytes on the network's device, for as long as a stage takes.
#[derive(Debug)]
pub(super) struct DeviceImages {
    /// `[image, channel, height, width]`, u8.
    pixels: Tensor,
}

/// What a batch is like, but for its images.
pub(super) struct Look<'a> {
    /// Whether images go on beyond their edges as in a mirror.
    pub reflects: bool,
    /// Mean of each channel, in [0, 1]: what a blanked square is filled with.
    pub mean: &'a [f64],
}

impl DeviceImages {
    /// The images, put on the network's device; none where batches are better made on the CPU: for a network there, on a device whose
    /// batches nothing of ours can make, and for images of more than 4 GiB or a quarter of what the device has free.
    pub fn of(data: &LoadedData, network: &Network) -> Result<Option<Self>> {
        let device = network.device();
        // The mean that fills a square is in f64 there.
        let is_wide = network.dtype() == DType::F64;
        if device.is_cpu() || is_wide || !can_augment_on(device) {
            return Ok(None);
        }
        let bytes = data.train.all_pixels().len() as u64;
        if bytes > MOST.min(free_memory(device) / 4) {
            return Ok(None);
        }
        Self::on(&data.train, device).map(Some)
    }

    /// The images of a set, put on a device.
    pub fn on(set: &ImageSet, device: &Device) -> Result<Self> {
        let [channels, height, width] = set.shape().dims();
        Ok(Self { pixels: Tensor::from_slice(set.all_pixels(), (set.len(), channels, height, width), device)? })
    }

    /// A batch for `network` of the images of `set`, the one that was put there, that the variations name.
    pub fn batch(&self, set: &ImageSet, variations: &[Variation], look: &Look<'_>, network: &Network) -> Result<Batch> {
        let ground = VariationGround {
            full_scale: set.full_scale(),
            reflects: look.reflects,
            fill: look.mean,
            precision: network.precision(),
        };
        let images = augment(&self.pixels, variations, &ground)?.to_dtype(network.dtype())?;
        let labels: Vec<u32> = variations.iter().map(|variation| set.labels()[variation.image]).collect();
        Ok(Batch {
            images,
            labels: Tensor::from_vec(labels, variations.len(), self.pixels.device())?,
            indices: variations.iter().map(|variation| variation.image).collect(),
        })
    }

    /// The images at `indices` as they are.
    pub fn unvaried(&self, set: &ImageSet, indices: &[usize], network: &Network) -> Result<Batch> {
        let variations: Vec<_> = indices.iter().map(|&image| Variation { image, ..Variation::default() }).collect();
        self.batch(set, &variations, &Look { reflects: false, mean: &[] }, network)
    }
}
