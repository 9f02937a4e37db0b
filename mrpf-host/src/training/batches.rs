//! The batches of an epoch: made on the CPU and moved, or made where the images lie.

use mrpf_api::Result;
use mrpf_api::candle_core::Device;
use mrpf_api::data::{Batch, LoadedData};
use mrpf_api::network::Network;
use mrpf_api::numeric::Variation;
use mrpf_api::random::Streams;

use super::augment::{augment, draw};
use super::device_images::{DeviceImages, Look};
use super::settings::{Augment, Padding};

/// What the batches of an epoch are made of. Both ways give the same bits.
pub(super) struct Batches<'a> {
    /// The data.
    pub data: &'a LoadedData,
    /// How images are varied.
    pub augment: &'a Augment,
    /// Whose device and element type batches have.
    pub network: &'a Network,
    /// The training images on that device, if they lie there.
    pub images: Option<&'a DeviceImages>,
    /// Random numbers of the epoch's images.
    pub streams: Streams,
}

/// A batch as far as it is made beside the training.
pub(super) enum Prepared {
    /// Whole, on the CPU.
    Made(Batch),
    /// Only drawn.
    Drawn(Vec<Variation>),
}

impl Batches<'_> {
    /// What can be done on a thread of its own: everything on the CPU, for a GPU takes its work from one thread.
    pub fn prepare(&self, indices: &[usize]) -> Result<Prepared> {
        let (data, streams) = (self.data, &self.streams);
        if self.images.is_some() {
            let [_, height, width] = data.shape().dims();
            let size = [height, width];
            return Ok(Prepared::Drawn(draw(indices, self.augment, data.mirror_keeps_class, size, streams)));
        }
        let batch = data.train.batch(indices, self.network.dtype(), &Device::Cpu)?;
        Ok(Prepared::Made(augment(&batch, self.augment, data.mirror_keeps_class, &data.mean, streams)?))
    }

    /// The batch on the network's device.
    pub fn finish(&self, prepared: Prepared) -> Result<Batch> {
        match (prepared, self.images) {
            (Prepared::Drawn(variations), Some(images)) => {
                let look = Look { reflects: self.augment.padding == Padding::Reflect, mean: &self.data.mean };
                images.batch(&self.data.train, &variations, &look, self.network)
            }
            // Drawn, but the images are gone: cannot be, and would be right even so.
            (Prepared::Drawn(variations), None) => {
                let indices: Vec<usize> = variations.iter().map(|variation| variation.image).collect();
                self.finish(self.prepare(&indices)?)
            }
            (Prepared::Made(batch), _) => batch.to_device(self.network.device()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::settings::Flip;
    use mrpf_api::candle_core::DType;
    use mrpf_api::data::{ImageSet, ImageShape};
    use mrpf_api::network::Builder;
    use proptest::prelude::*;

    const SHAPE: ImageShape = ImageShape { channels: 3, height: 5, width: 7 };

    /// Twelve images of all bytes up to a full scale.
    fn data(full_scale: u8, mirror_keeps_class: bool, seed: u64) -> Result<LoadedData> {
        let mut stream = Streams::new(seed).stream();
        let pixels = (0..12 * SHAPE.len()).map(|_| stream.below(usize::from(full_scale) + 1) as u8).collect();
        let set = ImageSet::new(SHAPE, pixels, full_scale, (0..12).map(|image| image * 5 % 4).collect(), 4)?;
        Ok(LoadedData {
            train: set.clone(),
            test: set,
            class_names: Vec::new(),
            mean: vec![0.4914, 0.4822, 0.4465],
            std: vec![0.25; 3],
            mirror_keeps_class,
        })
    }

    fn network(dtype: DType) -> Result<Network> {
        let mut net = Builder::new("test", SHAPE, 4);
        net.flatten("flatten").linear("out", 4);
        Network::initialise(net.finish()?, &Streams::new(0), dtype, &Device::Cpu)
    }

    /// Bits of the images, labels, indices, shape.
    type Bits = (Vec<u32>, Vec<u32>, Vec<usize>, Vec<usize>);

    fn bits(batch: &Batch) -> Result<Bits> {
        let images = batch.images.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let labels = batch.labels.to_vec1::<u32>()?;
        let (images, dims) = (images.into_iter().map(f32::to_bits).collect(), batch.images.dims().to_vec());
        Ok((images, labels, batch.indices.clone(), dims))
    }

    proptest! {
        #[test]
        fn both_ways_give_the_same_bits(
            (crop, cutout, seed) in (0..12usize, 0..20usize, any::<u64>()),
            padding in prop::sample::select(vec![Padding::Zero, Padding::Reflect]),
            flip in prop::sample::select(vec![Flip::Auto, Flip::On, Flip::Off]),
            mirror_keeps_class in any::<bool>(),
            full_scale in prop::sample::select(vec![1u8, 16, 255]),
            dtype in prop::sample::select(vec![DType::F32, DType::F16, DType::BF16]),
            indices in prop::collection::vec(0..12usize, 1..9),
        ) {
            let data = data(full_scale, mirror_keeps_class, seed)?;
            let (network, settings) = (network(dtype)?, Augment { crop, padding, flip, cutout });
            let there = DeviceImages::on(&data.train, &Device::Cpu)?;
            let streams = Streams::new(seed).child("augment");
            let ways = [None, Some(&there)].map(|images| {
                let batches = Batches { data: &data, augment: &settings, network: &network, images, streams: streams.clone() };
                let prepared = batches.prepare(&indices)?;
                assert_eq!(matches!(prepared, Prepared::Drawn(_)), images.is_some());
                bits(&batches.finish(prepared)?)
            });
            let [moved, made_there] = ways;
            prop_assert_eq!(moved?, made_there?);
            let as_they_are = bits(&there.unvaried(&data.train, &indices, &network)?)?;
            prop_assert_eq!(as_they_are, bits(&data.train.batch(&indices, dtype, &Device::Cpu)?)?);
        }
    }

    #[test]
    fn a_network_on_the_processor_has_its_batches_made_on_a_thread_of_their_own() -> Result<()> {
        assert!(DeviceImages::of(&data(255, true, 0)?, &network(DType::F32)?)?.is_none());
        Ok(())
    }
}
