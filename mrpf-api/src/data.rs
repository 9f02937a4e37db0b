//! Labelled images: what a data set holds, how a batch is taken from it, and the trait of data-set plugins.

mod download;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;

pub use download::{ArchiveFormat, Checksum, Download, Unpack};

use crate::context::Watcher;
use crate::random::Streams;
use crate::{Error, ErrorKind, Result};

/// The shape of one image: `[channels, height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageShape {
    /// Colour planes: 1 for grey, 3 for RGB.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageShape {
    /// Values in one image.
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether an image holds no value at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `[channels, height, width]`.
    pub fn dims(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }
}

/// Images and labels taken together for one step.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[batch, channel, height, width]`, in [0, 1].
    pub images: Tensor,
    /// `[batch]`, u32, each below the number of classes.
    pub labels: Tensor,
    /// Where each image stands in its [`ImageSet`]; random numbers of an image are addressed by it.
    pub indices: Vec<usize>,
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether the batch holds no image.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The same labels and indices with other images, for example adversarial ones.
    #[must_use]
    pub fn with_images(&self, images: Tensor) -> Self {
        Self { images, labels: self.labels.clone(), indices: self.indices.clone() }
    }

    /// The same batch on another device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let (images, labels) = (self.images.to_device(device)?, self.labels.to_device(device)?);
        Ok(Self { images, labels, indices: self.indices.clone() })
    }

    /// The images of a range of rows.
    pub fn part(&self, rows: Range<usize>) -> Result<Self> {
        if rows == (0..self.len()) {
            return Ok(self.clone());
        }
        Ok(Self {
            images: self.images.narrow(0, rows.start, rows.len())?.contiguous()?,
            labels: self.labels.narrow(0, rows.start, rows.len())?.contiguous()?,
            indices: self.indices[rows].to_vec(),
        })
    }

    /// The rows at `rows`, in that order.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        let at: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let at = Tensor::from_vec(at, rows.len(), self.images.device())?;
        Ok(Self {
            images: self.images.index_select(&at, 0)?,
            labels: self.labels.index_select(&at, 0)?,
            indices: rows.iter().map(|&row| self.indices[row]).collect(),
        })
    }
}

/// A set of labelled images, held as bytes.
#[derive(Debug, Clone)]
pub struct ImageSet {
    shape: ImageShape,
    /// Image after image, each `[channel, height, width]`.
    pixels: Vec<u8>,
    /// The byte that stands for 1.0 (255 for ordinary images, 16 for the digits).
    full_scale: u8,
    labels: Vec<u32>,
    classes: usize,
}

impl ImageSet {
    /// Checks that pixels, labels and shape belong together.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if the number of bytes is not `labels.len() * shape.len()`, a byte exceeds `full_scale`, or a label is
    /// not below `classes`; the message names the image.
    pub fn new(shape: ImageShape, pixels: Vec<u8>, full_scale: u8, labels: Vec<u32>, classes: usize) -> Result<Self> {
        let data = |message: String| Error::new(ErrorKind::Data, message);
        if pixels.len() != labels.len() * shape.len() {
            let (found, expected) = (pixels.len(), labels.len() * shape.len());
            return Err(data(format!("{found} pixel bytes for {} labels, expected {expected}", labels.len())));
        }
        if let Some(at) = labels.iter().position(|&label| label as usize >= classes) {
            return Err(data(format!(
                "image {at} has label {}, expected 0 to {}",
                labels[at],
                classes.saturating_sub(1)
            )));
        }
        if let Some(at) = pixels.iter().position(|&value| value > full_scale) {
            let image = at / shape.len().max(1);
            return Err(data(format!("image {image} has a pixel of {}, expected 0 to {full_scale}", pixels[at])));
        }
        Ok(Self { shape, pixels, full_scale, labels, classes })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Shape of each image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The labels in order.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The bytes of one image, `[channel, height, width]`.
    pub fn pixels(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.shape.len()..(index + 1) * self.shape.len()]
    }

    /// The bytes of all images, one after the other.
    pub fn all_pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The byte that stands for 1.0.
    pub fn full_scale(&self) -> u8 {
        self.full_scale
    }

    /// The images at `indices` as a batch, in that order.
    pub fn batch(&self, indices: &[usize], dtype: DType, device: &Device) -> Result<Batch> {
        let scale = 1.0 / f32::from(self.full_scale);
        let mut values = Vec::with_capacity(indices.len() * self.shape.len());
        for &index in indices {
            if index >= self.len() {
                let message = format!("image {index} asked for, but there are {}", self.len());
                return Err(Error::new(ErrorKind::Data, message));
            }
            values.extend(self.pixels(index).iter().map(|&byte| f32::from(byte) * scale));
        }
        let ImageShape { channels, height, width } = self.shape;
        let images = Tensor::from_vec(values, (indices.len(), channels, height, width), &Device::Cpu)?;
        let labels: Vec<u32> = indices.iter().map(|&index| self.labels[index]).collect();
        Ok(Batch {
            images: images.to_dtype(dtype)?.to_device(device)?,
            labels: Tensor::from_vec(labels, indices.len(), device)?,
            indices: indices.to_vec(),
        })
    }

    /// The images at `indices` as a set of their own.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut pixels = Vec::with_capacity(indices.len() * self.shape.len());
        indices.iter().for_each(|&index| pixels.extend_from_slice(self.pixels(index)));
        let labels = indices.iter().map(|&index| self.labels[index]).collect();
        Self { pixels, labels, ..*self }
    }

    /// Number of images of each class, by label.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        self.labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    }

    /// `count` distinct images, as many of each class as can be, drawn without replacement; sorted by index.
    ///
    /// All images when `count` is at least [`ImageSet::len`]. Where `count` is below the number of classes, those with the lowest
    /// labels get an image each.
    pub fn balanced_subset(&self, count: usize, streams: &Streams) -> Vec<usize> {
        let there = self.class_counts();
        let mut taken = vec![0; self.classes];
        let mut left = count.min(self.len());
        while left > 0 {
            // One image of each class a turn; a class that has run out is passed over.
            for (taken, there) in taken.iter_mut().zip(&there) {
                if *taken < *there && left > 0 {
                    *taken += 1;
                    left -= 1;
                }
            }
        }
        self.drawn_by_class(&taken, streams)
    }

    /// `counts[label]` distinct images of each class, or all of a class that has fewer, drawn without replacement; sorted by index.
    pub fn drawn_by_class(&self, counts: &[usize], streams: &Streams) -> Vec<usize> {
        let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); self.classes];
        for (index, &label) in self.labels.iter().enumerate() {
            by_class[label as usize].push(index);
        }
        let mut chosen = Vec::new();
        for ((class, mut members), &count) in by_class.into_iter().enumerate().zip(counts) {
            streams.child("class").child(class).stream().shuffle(&mut members);
            chosen.extend(members.into_iter().take(count));
        }
        chosen.sort_unstable();
        chosen
    }
}

/// What a data-set plugin has loaded.
#[derive(Debug, Clone)]
pub struct LoadedData {
    /// Images for training; the held-out part is taken from them by the host.
    pub train: ImageSet,
    /// Images for the final evaluation, never used to choose anything.
    pub test: ImageSet,
    /// Names of the classes, by label.
    pub class_names: Vec<String>,
    /// Mean of each channel over the usual training set, in [0, 1]: the network's first layer subtracts it.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, in [0, 1]: the network's first layer divides by it.
    pub std: Vec<f64>,
    /// Whether a mirrored image is still an image of its class (true for photographs, false for digits).
    pub mirror_keeps_class: bool,
}

impl LoadedData {
    /// Shape of each image.
    pub fn shape(&self) -> ImageShape {
        self.train.shape()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.train.classes()
    }
}

/// A data set that can be loaded by name.
///
/// Implementations check what they read: record counts come from file lengths, every label is range-checked, and errors name
/// the file and the offset.
pub trait DataSource: Send {
    /// Reads the data; `directory` is what the user gave as `--data-dir`, if anything.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] with the file, what was found and what was expected.
    fn load(&self, directory: Option<&Path>) -> Result<LoadedData>;

    /// The same for somebody who waits: a data set that takes more than a second tells `watcher` how far it is, stops when it is
    /// asked to, and implements [`DataSource::load`] by this.
    ///
    /// A data set that had to choose says what it took for what with [`Watcher::note`], and with [`Watcher::warn`] what it passed over
    /// though the user may have wanted it. Both are shown before the run begins and by `mrpf data check`.
    ///
    /// # Errors
    /// As [`DataSource::load`], and [`ErrorKind::Interrupted`].
    fn load_watched(&self, directory: Option<&Path>, watcher: &dyn Watcher) -> Result<LoadedData> {
        let _ = watcher;
        self.load(directory)
    }

    /// The official files, for `mrpf data fetch`; none where they are built in or belong to the user.
    fn downloads(&self) -> Vec<Download> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> ImageSet {
        let shape = ImageShape { channels: 1, height: 1, width: 2 };
        ImageSet::new(shape, (0..12).collect(), 16, vec![0, 1, 2, 0, 1, 2], 3).expect("a valid set")
    }

    #[test]
    fn a_label_out_of_range_is_named() {
        let shape = ImageShape { channels: 1, height: 1, width: 1 };
        let error = ImageSet::new(shape, vec![0, 0], 255, vec![1, 10], 10).expect_err("label 10 of 10 classes");
        assert_eq!(error.to_string(), "image 1 has label 10, expected 0 to 9");
    }

    #[test]
    fn pixels_are_scaled_to_the_unit_range() -> Result<()> {
        let batch = set().batch(&[2], DType::F32, &Device::Cpu)?;
        assert_eq!(batch.images.flatten_all()?.to_vec1::<f32>()?, [4.0 / 16.0, 5.0 / 16.0]);
        assert_eq!(batch.labels.to_vec1::<u32>()?, [2]);
        Ok(())
    }

    #[test]
    fn a_balanced_subset_takes_each_class_alike() {
        let chosen = set().balanced_subset(3, &Streams::new(0));
        let mut labels: Vec<u32> = chosen.iter().map(|&i| set().labels()[i]).collect();
        labels.sort_unstable();
        assert_eq!(labels, [0, 1, 2]);
        assert_eq!(set().balanced_subset(99, &Streams::new(0)), (0..6).collect::<Vec<_>>());
        // One that has fewer gives what it has.
        let drawn = set().drawn_by_class(&[0, 9, 1], &Streams::new(0));
        assert_eq!(drawn.iter().filter(|&&at| set().labels()[at] == 1).count(), 2);
        assert_eq!((drawn.len(), set().class_counts()), (3, vec![2; 3]));
    }
}
