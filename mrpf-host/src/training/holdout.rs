//! Holds training images out, to choose the best epoch without looking at the test images.

use mrpf_api::data::LoadedData;
use mrpf_api::random::Streams;
use mrpf_api::{Error, ErrorKind, Result};

/// Which training images are trained on, and which only choose the best epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Indices of the images trained on, ascending.
    pub train: Vec<usize>,
    /// Indices of the held-out images, ascending and class-balanced.
    pub holdout: Vec<usize>,
}

impl Split {
    /// Takes `images` training images (all when not given), class-balanced, and holds the share `holdout` of them out.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if fewer than two images are left to train on, or the share is positive and no image is held out.
    pub fn new(data: &LoadedData, holdout: f64, images: Option<usize>, streams: &Streams) -> Result<Self> {
        let used = data.train.balanced_subset(images.unwrap_or(usize::MAX), &streams.child("used"));
        let count = (used.len() as f64 * holdout).round() as usize;
        let held = data.train.subset(&used).balanced_subset(count, &streams.child("held-out"));
        let holdout_images: Vec<usize> = held.iter().map(|&at| used[at]).collect();
        let train: Vec<usize> = used.iter().copied().filter(|at| holdout_images.binary_search(at).is_err()).collect();
        if train.len() < 2 || (holdout > 0.0 && holdout_images.is_empty()) {
            let message = format!(
                "{} training images with a share of {holdout} held out leave {} to train on and {} held out",
                used.len(),
                train.len(),
                holdout_images.len()
            );
            return Err(Error::new(ErrorKind::Data, message).hint("raise data.train_images or change data.holdout"));
        }
        Ok(Self { train, holdout: holdout_images })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::data::{ImageSet, ImageShape};

    fn data() -> Result<LoadedData> {
        let shape = ImageShape { channels: 1, height: 1, width: 1 };
        let set = ImageSet::new(shape, vec![0; 60], 255, (0..60).map(|i| i % 3).collect(), 3)?;
        let names = vec!["a".into(), "b".into(), "c".into()];
        let test = set.clone();
        Ok(LoadedData {
            train: set,
            test,
            class_names: names,
            mean: vec![0.0],
            std: vec![1.0],
            mirror_keeps_class: true,
        })
    }

    #[test]
    fn the_parts_are_apart_balanced_and_the_same_for_a_seed() -> Result<()> {
        let (data, streams) = (data()?, Streams::new(4));
        let split = Split::new(&data, 0.2, Some(45), &streams)?;
        assert_eq!((split.train.len(), split.holdout.len()), (36, 9));
        assert!(split.train.iter().all(|at| !split.holdout.contains(at)));
        for class in 0..3 {
            assert_eq!(split.holdout.iter().filter(|&&at| data.train.labels()[at] == class).count(), 3);
        }
        assert_eq!(split, Split::new(&data, 0.2, Some(45), &streams)?);
        assert_ne!(split, Split::new(&data, 0.2, Some(45), &Streams::new(5))?);
        Ok(())
    }

    #[test]
    fn too_few_images_are_answered() -> Result<()> {
        let error = Split::new(&data()?, 0.1, Some(3), &Streams::new(0)).expect_err("no image is held out");
        assert!(error.to_string().ends_with("leave 3 to train on and 0 held out"), "{error}");
        Ok(())
    }
}
