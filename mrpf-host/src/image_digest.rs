//! Digests of images, so that results of some images are never taken for those of others.

use mrpf_api::data::{ImageSet, LoadedData};
use mrpf_api::rayon::prelude::*;

use crate::files::sha256;

/// Bytes of pixels that are hashed at a time, in parallel.
const PART: usize = 4 << 20;

/// Digests of both parts of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDigests {
    /// Of the training images and their labels.
    pub train: String,
    /// Of the test images and their labels.
    pub test: String,
    /// Of what normalisation takes from the data set.
    normalisation: String,
}

impl ImageDigests {
    /// Those of `data`.
    pub fn of(data: &LoadedData) -> Self {
        let normalisation = sha256(format!("{:?} {:?}", data.mean, data.std).as_bytes());
        Self { train: digest(&data.train), test: digest(&data.test), normalisation }
    }

    /// One digest of everything.
    pub fn whole(&self) -> String {
        sha256(format!("{} {} {}", self.train, self.test, self.normalisation).as_bytes())
    }
}

fn digest(set: &ImageSet) -> String {
    let labels: Vec<u8> = set.labels().iter().flat_map(|label| label.to_le_bytes()).collect();
    let pixels: Vec<String> = set.all_pixels().par_chunks(PART).map(sha256).collect();
    let text =
        format!("{:?} {} {} {} {}", set.shape(), set.full_scale(), set.classes(), pixels.concat(), sha256(&labels));
    sha256(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::data::ImageShape;

    fn set(pixels: Vec<u8>, labels: Vec<u32>) -> mrpf_api::Result<ImageSet> {
        ImageSet::new(ImageShape { channels: 1, height: 1, width: 2 }, pixels, 255, labels, 3)
    }

    #[test]
    fn another_pixel_or_label_is_another_digest() -> mrpf_api::Result<()> {
        let one = digest(&set(vec![1, 2, 3, 4], vec![0, 1])?);
        assert_eq!(one, digest(&set(vec![1, 2, 3, 4], vec![0, 1])?));
        assert_ne!(one, digest(&set(vec![1, 2, 3, 5], vec![0, 1])?));
        assert_ne!(one, digest(&set(vec![1, 2, 3, 4], vec![0, 2])?));
        Ok(())
    }
}
