//! Random crops and mirror images.

use mrpf_api::Result;
use mrpf_api::candle_core::Tensor;
use mrpf_api::data::Batch;
use mrpf_api::random::Streams;

use super::settings::{Augment, Flip, Padding};

/// Varies each image of a batch by numbers from `streams` that are addressed by the image's index.
pub fn augment(batch: &Batch, settings: &Augment, mirror_keeps_class: bool, streams: &Streams) -> Result<Batch> {
    let mirrors = match settings.flip {
        Flip::Auto => mirror_keeps_class,
        Flip::On => true,
        Flip::Off => false,
    };
    if settings.crop == 0 && !mirrors {
        return Ok(batch.clone());
    }
    let (_, channels, height, width) = batch.images.dims4()?;
    let dtype = batch.images.dtype();
    let values = batch.images.to_dtype(mrpf_api::candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let mut varied = Vec::with_capacity(values.len());
    for (row, &index) in batch.indices.iter().enumerate() {
        let mut stream = streams.child(index).stream();
        let down = stream.below(2 * settings.crop + 1) as isize - settings.crop as isize;
        let right = stream.below(2 * settings.crop + 1) as isize - settings.crop as isize;
        let mirror = mirrors && stream.below(2) == 1;
        let image = &values[row * channels * height * width..];
        for channel in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let across = if mirror { width - 1 - x } else { x };
                    let from = source(y as isize + down, height, settings.padding).zip(source(
                        across as isize + right,
                        width,
                        settings.padding,
                    ));
                    varied.push(from.map_or(0.0, |(y, x)| image[(channel * height + y) * width + x]));
                }
            }
        }
    }
    let images = Tensor::from_vec(varied, batch.images.shape(), batch.images.device())?.to_dtype(dtype)?;
    Ok(batch.with_images(images))
}

/// Where a pixel comes from along one side; `None` outside the image when padding is black.
fn source(at: isize, size: usize, padding: Padding) -> Option<usize> {
    let last = size as isize - 1;
    match padding {
        Padding::Zero => (0..=last).contains(&at).then_some(at as usize),
        Padding::Reflect if last == 0 => Some(0),
        Padding::Reflect => {
            // Mirrored as often as it takes, without repeating the edge.
            let folded = at.rem_euclid(2 * last);
            Some(folded.min(2 * last - folded) as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::candle_core::{DType, Device};
    use proptest::prelude::*;

    fn batch(indices: &[usize]) -> Result<Batch> {
        let each = 2 * 4 * 5;
        let values = indices.iter().flat_map(|&index| (0..each).map(move |i| 1.0 + (index * each + i) as f32));
        let images = Tensor::from_vec(values.collect::<Vec<f32>>(), (indices.len(), 2, 4, 5), &Device::Cpu)?;
        Ok(Batch { images, labels: Tensor::zeros(indices.len(), DType::U32, &Device::Cpu)?, indices: indices.to_vec() })
    }

    #[test]
    fn nothing_asked_changes_nothing() -> Result<()> {
        let none = Augment { crop: 0, padding: Padding::Zero, flip: Flip::Auto };
        let (before, streams) = (batch(&[0, 1])?, Streams::new(0));
        let after = augment(&before, &none, false, &streams)?;
        assert_eq!(after.images.flatten_all()?.to_vec1::<f32>()?, before.images.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }

    #[test]
    fn reflection_does_not_repeat_the_edge() {
        let from: Vec<_> = (-3..7).map(|at| source(at, 4, Padding::Reflect)).collect();
        assert_eq!(from, [3, 2, 1, 0, 1, 2, 3, 2, 1, 0].map(Some));
    }

    proptest! {
        #[test]
        fn every_pixel_comes_from_its_image_and_the_batch_does_not_matter(
            crop in 0..3usize,
            reflect in any::<bool>(),
            flip in prop::sample::select(vec![Flip::On, Flip::Off]),
            seed in any::<u64>(),
        ) {
            let settings = Augment { crop, padding: if reflect { Padding::Reflect } else { Padding::Zero }, flip };
            let streams = Streams::new(seed);
            let whole = augment(&batch(&[0, 1, 2])?, &settings, false, &streams)?.images;
            let alone = augment(&batch(&[2])?, &settings, false, &streams)?.images;
            let rows = whole.flatten_from(1).and_then(|rows| rows.to_vec2::<f32>()).map_err(mrpf_api::Error::from)?;
            let alone = alone.flatten_all().and_then(|row| row.to_vec1::<f32>()).map_err(mrpf_api::Error::from)?;
            prop_assert_eq!(&rows[2], &alone);
            for (row, values) in rows.iter().enumerate() {
                let own = |value: f32| value > (row * 40) as f32 && value <= (row * 40 + 40) as f32;
                prop_assert!(values.iter().all(|&value| own(value) || (value == 0.0 && !reflect)));
            }
        }
    }
}
