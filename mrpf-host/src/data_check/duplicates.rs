//! Images that are equal to the last bit: within a part they weigh double, across parts the test is no test.

use mrpf_api::data::ImageSet;
use mrpf_api::rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Equal images. Of each group the first is the original, and every other is counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Training images that another training image repeats.
    pub within_train: usize,
    /// Test images that another test image repeats.
    pub within_test: usize,
    /// Test images that are training images as well.
    pub across: usize,
    /// Pairs of a training and a test image, by index, the first few.
    pub across_examples: Vec<[usize; 2]>,
    /// Equal images that have different labels, in whichever part.
    pub contradictions: usize,
}

/// As many examples are named.
const EXAMPLES: usize = 10;

impl Duplicates {
    /// Compares all images of both parts by a hash of their bytes.
    pub fn find(train: &ImageSet, test: &ImageSet) -> Self {
        let hashes = |set: &ImageSet, part: usize| {
            let hash = |at: usize| (<[u8; 32]>::from(Sha256::digest(set.pixels(at))), part, at, set.labels()[at]);
            (0..set.len()).into_par_iter().map(hash).collect::<Vec<_>>()
        };
        let mut all = [hashes(train, 0), hashes(test, 1)].concat();
        all.sort_unstable();
        let mut found = Self::default();
        for group in all.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1) {
            // Sorted by part within a group: training images first.
            let (of_train, of_test) = group.split_at(group.partition_point(|image| image.1 == 0));
            found.within_train += of_train.len().saturating_sub(1);
            found.within_test += of_test.len().saturating_sub(1);
            if let Some(original) = of_train.first() {
                found.across += of_test.len();
                found.across_examples.extend(of_test.iter().map(|image| [original.2, image.2]));
            }
            found.contradictions += group[1..].iter().filter(|image| image.3 != group[0].3).count();
        }
        found.across_examples.sort_unstable();
        found.across_examples.truncate(EXAMPLES);
        found
    }
}
