//! The idx format: a magic number (two zero bytes, the type of the values, the number of dimensions), the dimensions as big-endian
//! u32, and then the values, the last dimension running fastest (described on the page of the MNIST database).

use mrpf_api::prelude::*;
use mrpf_data_files::{open, read_exactly};
use std::io::Read;
use std::path::Path;

const SHAPE: ImageShape = ImageShape { channels: 1, height: 28, width: 28 };
/// Type code of unsigned bytes.
const UNSIGNED_BYTE: u8 = 8;
/// More images than any data set of this kind has: what a header may claim at most.
const MOST: u64 = 1_000_000;

/// Reads a file of images and the file of their labels.
pub(crate) fn read(images: &Path, labels: &Path, classes: usize) -> Result<ImageSet> {
    let at = |path: &Path| {
        let doing = format!("reading {}", path.display());
        move |why: String| Error::new(ErrorKind::Data, why).context(doing)
    };
    let (count, pixels) = parse_images(&mut open(images)?).map_err(at(images))?;
    let names = parse_labels(&mut open(labels)?, classes).map_err(at(labels))?;
    if names.len() != count {
        let message = format!("{} labels for the {count} images of {}", names.len(), images.display());
        return Err(at(labels)(message).hint("the two files belong to different sets: fetch both anew"));
    }
    ImageSet::new(SHAPE, pixels, 255, names, classes)
}

/// The number of images and their pixels.
pub(crate) fn parse_images(from: &mut dyn Read) -> std::result::Result<(usize, Vec<u8>), String> {
    let [count, height, width] = dimensions::<3>(from)?;
    if (height, width) != (SHAPE.height as u64, SHAPE.width as u64) {
        return Err(format!("the images are {height}x{width} at offset 8, expected {}x{}", SHAPE.height, SHAPE.width));
    }
    let pixels = values(from, count, SHAPE.len() as u64, 16, "the pixels")?;
    Ok((count as usize, pixels))
}

/// The labels, each below `classes`.
pub(crate) fn parse_labels(from: &mut dyn Read, classes: usize) -> std::result::Result<Vec<u32>, String> {
    let [count] = dimensions::<1>(from)?;
    let bytes = values(from, count, 1, 8, "the labels")?;
    match bytes.iter().position(|&label| usize::from(label) >= classes) {
        Some(at) => Err(format!(
            "label {at} at offset {} is {}, expected 0 to {}",
            at + 8,
            bytes[at],
            classes.saturating_sub(1)
        )),
        None => Ok(bytes.into_iter().map(u32::from).collect()),
    }
}

/// Checks the magic number and reads the dimensions.
fn dimensions<const N: usize>(from: &mut dyn Read) -> std::result::Result<[u64; N], String> {
    let header = read_exactly(from, 4 + 4 * N as u64, 0, "the header")?;
    let (magic, sizes) = header.split_at(4);
    let expected = [0, 0, UNSIGNED_BYTE, N as u8];
    if magic != expected {
        let show = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let kind = if N == 3 { "images" } else { "labels" };
        return Err(format!(
            "the file starts with {}, expected {} (idx of bytes in {N} dimensions: {kind})",
            show(magic),
            show(&expected)
        ));
    }
    let mut found = [0; N];
    for (size, bytes) in found.iter_mut().zip(sizes.chunks_exact(4)) {
        *size = bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    }
    Ok(found)
}

/// The values up to the end of the file, which must follow them.
fn values(from: &mut dyn Read, count: u64, each: u64, at: u64, what: &str) -> std::result::Result<Vec<u8>, String> {
    if count > MOST {
        return Err(format!("the header at offset 4 names {count} images, expected at most {MOST}"));
    }
    let bytes = read_exactly(from, count * each, at, what)?;
    let mut more = [0];
    match from.read(&mut more) {
        Ok(0) => Ok(bytes),
        Ok(_) => Err(format!(
            "bytes follow at offset {} behind the {count} that the header names: the header is wrong, or files were joined",
            at + count * each
        )),
        Err(error) => Err(format!("{what} are complete, but the end of the file is damaged: {error}")),
    }
}
