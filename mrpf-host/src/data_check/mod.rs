//! What a data set holds, as `mrpf data check` shows it: counts, sizes, pixels, duplicates, and a sheet of pictures to look at.

mod contact_sheet;
mod duplicates;
mod text;
mod told;

use mrpf_api::data::LoadedData;
use serde::Serialize;

pub use contact_sheet::contact_sheet;
pub use duplicates::Duplicates;
pub use text::as_text;
pub use told::Told;

use crate::training::classes_without;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataCheck {
    /// Name of the data set.
    pub name: String,
    /// `[channels, height, width]`.
    pub shape: [usize; 3],
    /// Images to train with.
    pub train: usize,
    /// Images to test with.
    pub test: usize,
    /// The classes by label.
    pub classes: Vec<ClassCount>,
    /// Channels in order.
    pub channels: Vec<ChannelStatistics>,
    /// Whether training may mirror images.
    pub mirror_keeps_class: bool,
    /// Images that are equal to the last bit.
    pub duplicates: Duplicates,
    /// What the data set took for what.
    pub notes: Vec<String>,
    /// What it passed over, and classes without images.
    pub warnings: Vec<String>,
}

/// Images of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// Its name.
    pub name: String,
    /// Images to train with.
    pub train: usize,
    /// Images to test with.
    pub test: usize,
}

/// Pixels of one channel over the training images, in [0, 1], and what the network's first layer takes them for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ChannelStatistics {
    /// Mean that was found.
    pub mean: f64,
    /// Standard deviation that was found.
    pub std: f64,
    /// Mean that the data set declares: that of the whole official set.
    pub declared_mean: f64,
    /// Standard deviation that it declares.
    pub declared_std: f64,
}

impl DataCheck {
    /// Counts and compares; `told` is what the data set said while it was loaded.
    pub fn new(name: &str, data: &LoadedData, told: Told) -> Self {
        let (notes, mut warnings) = told.into_parts();
        for (what, set) in [("training images", &data.train), ("test images", &data.test)] {
            let counts = data.class_names.iter().zip(set.class_counts());
            let without: Vec<&str> = counts.filter(|(_, count)| *count == 0).map(|(name, _)| name.as_str()).collect();
            warnings.extend(classes_without(what, &without));
        }
        let counts = data.train.class_counts().into_iter().zip(data.test.class_counts());
        let classes = data.class_names.iter().zip(counts);
        Self {
            name: name.to_owned(),
            shape: data.shape().dims(),
            train: data.train.len(),
            test: data.test.len(),
            classes: classes.map(|(name, (train, test))| ClassCount { name: name.clone(), train, test }).collect(),
            channels: statistics(data),
            mirror_keeps_class: data.mirror_keeps_class,
            duplicates: Duplicates::find(&data.train, &data.test),
            notes,
            warnings,
        }
    }
}

/// From exact sums, so that the order of the images does not matter.
fn statistics(data: &LoadedData) -> Vec<ChannelStatistics> {
    let (shape, full) = (data.shape(), f64::from(data.train.full_scale()));
    let plane = shape.height * shape.width;
    let mut sums = vec![[0u64; 2]; shape.channels];
    for image in data.train.all_pixels().chunks_exact(shape.len().max(1)) {
        for (sum, values) in sums.iter_mut().zip(image.chunks_exact(plane)) {
            for &value in values {
                sum[0] += u64::from(value);
                sum[1] += u64::from(value) * u64::from(value);
            }
        }
    }
    let count = (data.train.len() * plane).max(1) as f64;
    let declared = data.mean.iter().zip(&data.std);
    sums.iter()
        .zip(declared)
        .map(|([sum, squares], (&declared_mean, &declared_std))| {
            let mean = *sum as f64 / count / full;
            let variance = *squares as f64 / count / (full * full) - mean * mean;
            ChannelStatistics { mean, std: variance.max(0.0).sqrt(), declared_mean, declared_std }
        })
        .collect()
}

#[cfg(test)]
mod tests;
