//! Random crops, mirror images and blanked squares.

use mrpf_api::Result;
use mrpf_api::candle_core::{DType, Tensor, WithDType};
use mrpf_api::data::Batch;
use mrpf_api::numeric::Variation;
use mrpf_api::random::{Stream, Streams};
use mrpf_api::rayon::prelude::*;

use super::settings::{Augment, Flip, Padding};

/// Varies each image of a batch by numbers from `streams` that are addressed by the image's index.
///
/// `mean` is the mean of each channel, in [0, 1]: what a blanked square is filled with.
pub fn augment(
    batch: &Batch,
    settings: &Augment,
    mirror_keeps_class: bool,
    mean: &[f64],
    streams: &Streams,
) -> Result<Batch> {
    if is_nothing(settings, mirrors(settings, mirror_keeps_class)) {
        return Ok(batch.clone());
    }
    let (_, _, height, width) = batch.images.dims4()?;
    let variations = draw(&batch.indices, settings, mirror_keeps_class, [height, width], streams);
    let reflects = settings.padding == Padding::Reflect;
    let images = match batch.images.dtype() {
        DType::F64 => varied::<f64>(&batch.images, &variations, reflects, mean)?,
        // Narrower numbers than f32 are exact in it.
        dtype => varied::<f32>(&batch.images.to_dtype(DType::F32)?, &variations, reflects, mean)?.to_dtype(dtype)?,
    };
    Ok(batch.with_images(images))
}

/// What happens to each of the images at `indices` of a set of images of `size` `[height, width]`, by numbers from `streams` that are
/// addressed by the image's index.
pub(super) fn draw(
    indices: &[usize],
    settings: &Augment,
    mirror_keeps_class: bool,
    size: [usize; 2],
    streams: &Streams,
) -> Vec<Variation> {
    let mirrors = mirrors(settings, mirror_keeps_class);
    if is_nothing(settings, mirrors) {
        return indices.iter().map(|&image| Variation { image, ..Variation::default() }).collect();
    }
    indices.iter().map(|&image| draw_one(image, settings, mirrors, size, &mut streams.child(image).stream())).collect()
}

fn mirrors(settings: &Augment, mirror_keeps_class: bool) -> bool {
    match settings.flip {
        Flip::Auto => mirror_keeps_class,
        Flip::On => true,
        Flip::Off => false,
    }
}

fn is_nothing(settings: &Augment, mirrors: bool) -> bool {
    settings.crop == 0 && settings.cutout == 0 && !mirrors
}

fn draw_one(
    image: usize,
    settings: &Augment,
    mirrors: bool,
    [height, width]: [usize; 2],
    stream: &mut Stream,
) -> Variation {
    let down = stream.below(2 * settings.crop + 1) as isize - settings.crop as isize;
    let right = stream.below(2 * settings.crop + 1) as isize - settings.crop as isize;
    let mirrored = mirrors && stream.below(2) == 1;
    // The middle of the square is in the image, the square itself may stand over its edge.
    let mut side = |size: usize| match settings.cutout {
        0 => 0..0,
        cutout => {
            let start = stream.below(size) as isize - (cutout / 2) as isize;
            let end = start + cutout as isize;
            start.max(0) as usize..(end.max(0) as usize).min(size)
        }
    };
    let blank = [side(height), side(width)];
    Variation { image, down, right, mirrored, blank }
}

/// All images with their variations, in parallel.
fn varied<T: WithDType>(images: &Tensor, variations: &[Variation], reflects: bool, mean: &[f64]) -> Result<Tensor> {
    let (_, _, height, width) = images.dims4()?;
    let values = images.flatten_all()?.to_vec1::<T>()?;
    let fill: Vec<T> = mean.iter().map(|&mean| T::from_f64(mean)).collect();
    let mut out = values.clone();
    let each = values.len().checked_div(variations.len()).unwrap_or(0).max(1);
    let pairs = out.par_chunks_exact_mut(each).zip(values.par_chunks_exact(each));
    pairs.zip(variations).for_each(|((out, image), variation)| {
        variation.apply(image, [height, width], reflects, &fill, |value| value, out);
    });
    Ok(Tensor::from_vec(out, images.shape(), images.device())?)
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
        let none = Augment { crop: 0, padding: Padding::Zero, flip: Flip::Auto, cutout: 0 };
        let (before, streams) = (batch(&[0, 1])?, Streams::new(0));
        let after = augment(&before, &none, false, &[], &streams)?;
        assert_eq!(after.images.flatten_all()?.to_vec1::<f32>()?, before.images.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }

    #[test]
    fn a_square_is_blanked_with_the_mean_and_clipped_at_the_edge() -> Result<()> {
        let settings = Augment { crop: 0, padding: Padding::Zero, flip: Flip::Off, cutout: 2 };
        let (before, mut sizes) = (batch(&(0..64).collect::<Vec<_>>())?, std::collections::BTreeSet::new());
        let images = augment(&before, &settings, true, &[0.5, 0.25], &Streams::new(3))?.images;
        let (old, new) = (before.images.flatten_from(2)?.to_vec3::<f32>()?, images.flatten_from(2)?.to_vec3::<f32>()?);
        for (old, new) in old.iter().zip(&new) {
            for (channel, fill) in [0.5, 0.25].into_iter().enumerate() {
                let changed: Vec<usize> = (0..20).filter(|&at| old[channel][at] != new[channel][at]).collect();
                assert!(changed.iter().all(|&at| new[channel][at] == fill));
                sizes.insert(changed.len());
            }
        }
        // Whole, clipped at one edge, and clipped at a corner.
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [1, 2, 4]);
        Ok(())
    }

    #[test]
    fn wider_numbers_are_varied_alike() -> Result<()> {
        let settings = Augment { crop: 2, padding: Padding::Reflect, flip: Flip::On, cutout: 2 };
        let narrow = batch(&[0, 5, 9])?;
        let wide = narrow.with_images(narrow.images.to_dtype(DType::F64)?);
        let [narrow, wide] =
            [narrow, wide].map(|batch| augment(&batch, &settings, false, &[0.5, 0.25], &Streams::new(1)));
        let difference = (narrow?.images.to_dtype(DType::F64)? - wide?.images)?.abs()?.max_all()?;
        assert_eq!(difference.to_scalar::<f64>()?, 0.0);
        Ok(())
    }

    proptest! {
        #[test]
        fn every_pixel_comes_from_its_image_and_the_batch_does_not_matter(
            crop in 0..3usize,
            reflect in any::<bool>(),
            flip in prop::sample::select(vec![Flip::On, Flip::Off]),
            seed in any::<u64>(),
        ) {
            let padding = if reflect { Padding::Reflect } else { Padding::Zero };
            let settings = Augment { crop, padding, flip, cutout: 0 };
            let streams = Streams::new(seed);
            let whole = augment(&batch(&[0, 1, 2])?, &settings, false, &[0.5, 0.25], &streams)?.images;
            let alone = augment(&batch(&[2])?, &settings, false, &[0.5, 0.25], &streams)?.images;
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
