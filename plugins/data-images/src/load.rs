//! Listing, cache and decoding together.

use mrpf_api::prelude::*;
use std::path::Path;

use crate::cache::{Cache, Parts};
use crate::decode::{Target, decode};
use crate::listing::Listing;

/// What is loaded, and how.
pub(crate) struct Request<'a> {
    /// The folder of the data.
    pub root: &'a Path,
    /// Name of the file that decoded images are kept in.
    pub kept_as: String,
    pub target: Target,
    /// Whether decoded images are kept.
    pub cache: bool,
}

/// The images of both parts: those that are kept from before, or else decoded now and kept.
pub(crate) fn load(listing: &Listing, request: &Request<'_>, watcher: &dyn Watcher) -> Result<Parts> {
    let classes = listing.class_names.len();
    let cache = match request.cache {
        false => None,
        true => {
            let fingerprint = listing.fingerprint(request.root, &format!("1 {:?}", request.target))?;
            Some(Cache::new(request.root, &request.kept_as, fingerprint))
        }
    };
    if let Some(kept) = cache.as_ref().and_then(|cache| cache.read(request.target.shape, classes)) {
        return Ok(kept);
    }
    let part = |entries, what| decode(entries, request.target, classes, what, watcher);
    let parts = (part(&listing.train, "decoding training images")?, part(&listing.test, "decoding test images")?);
    if let Some(cache) = cache {
        // Data that lie where nobody may write are decoded each time; that is no failure.
        let _ = cache.write(&parts);
    }
    Ok(parts)
}

/// Mean and standard deviation of each channel, in [0, 1], from exact sums.
pub(crate) fn statistics(set: &ImageSet) -> (Vec<f64>, Vec<f64>) {
    let ImageShape { channels, height, width } = set.shape();
    let plane = height * width;
    let (mut sums, mut squares) = (vec![0u64; channels], vec![0u64; channels]);
    for image in set.all_pixels().chunks_exact(set.shape().len().max(1)) {
        for (channel, values) in image.chunks_exact(plane).enumerate() {
            // At most 255 * 255 * 2^31 pixels of a plane: no overflow.
            sums[channel] += values.iter().map(|&value| u64::from(value)).sum::<u64>();
            squares[channel] += values.iter().map(|&value| u64::from(value) * u64::from(value)).sum::<u64>();
        }
    }
    let count = (set.len() * plane).max(1) as f64;
    let mean: Vec<f64> = sums.iter().map(|&sum| sum as f64 / count / 255.0).collect();
    let std = squares.iter().zip(&mean).map(|(&square, mean)| {
        let variance = square as f64 / count / (255.0 * 255.0) - mean * mean;
        // Images of one colour have none; a network divides by it.
        variance.max(0.0).sqrt().max(1e-3)
    });
    let std = std.collect();
    (mean, std)
}
