//! From the arrays `X` and `y` of a file to images and labels.

use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;
use mrpf_data_files::open_regular;
use std::io::BufReader;
use std::path::Path;

use crate::mat::{self, Array, Limit};

pub(crate) const SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };
/// More images than any part of SVHN has (531,131).
const MOST: u64 = 1_000_000;

/// Pixels as image after image of `[channel, height, width]`, and labels from 0 to 9.
pub(crate) fn read(path: &Path) -> Result<(Vec<u8>, Vec<u32>)> {
    let wrong = |why: String| Error::new(ErrorKind::Data, why).context(format!("reading {}", path.display()));
    let file = open_regular(path).map_err(wrong)?;
    parse(&mut BufReader::new(file)).map_err(wrong)
}

/// The same from the bytes of a file.
pub(crate) fn parse(from: &mut dyn std::io::Read) -> std::result::Result<(Vec<u8>, Vec<u32>), String> {
    let limits = [Limit { name: "X", bytes: MOST * SHAPE.len() as u64 }, Limit { name: "y", bytes: MOST * 8 }];
    let mut arrays = mat::read(from, &limits)?;
    let mut take = |name: &str| {
        let at = arrays.iter().position(|(found, _)| found == name);
        at.map(|at| arrays.swap_remove(at).1).ok_or_else(|| format!("there is no array `{name}`, expected `X` and `y`"))
    };
    let (images, labels) = (take("X")?, take("y")?);
    let labels = digits(&labels)?;
    let count = count(&images)?;
    if labels.len() != count {
        return Err(format!("array `y` has {} labels for the {count} images of array `X`", labels.len()));
    }
    Ok((rows_first(images.bytes), labels))
}

/// Checks the shape of `X`, `[height, width, channel, image]`, and says how many images there are.
fn count(images: &Array) -> std::result::Result<usize, String> {
    let dims: Vec<u64> = images.dims.clone();
    match (dims.as_slice(), images.is_bytes()) {
        ([32, 32, 3, count], true) => Ok(*count as usize),
        // MATLAB leaves a last dimension of one out.
        ([32, 32, 3], true) => Ok(1),
        (_, false) => Err(format!("array `X` holds {}, expected uint8", images.type_name())),
        _ => Err(format!("array `X` has shape {dims:?}, expected [32, 32, 3, images]")),
    }
}

/// The labels: 1 to 9, and 10 for the digit 0.
fn digits(labels: &Array) -> std::result::Result<Vec<u32>, String> {
    let values = labels.values()?;
    let digit = |(at, value): (usize, f64)| match value {
        10.0 => Ok(0),
        value if value.fract() == 0.0 && (1.0..10.0).contains(&value) => Ok(value as u32),
        value => Err(format!("label {at} of array `y` is {value}, expected 1 to 10, where 10 means the digit 0")),
    };
    values.into_iter().enumerate().map(digit).collect()
}

/// MATLAB's first index runs fastest, so an image is `[channel, width, height]`; turns each into `[channel, height, width]`.
fn rows_first(mut pixels: Vec<u8>) -> Vec<u8> {
    let ImageShape { channels, height, width } = SHAPE;
    pixels.par_chunks_exact_mut(SHAPE.len()).for_each(|image| {
        for plane in image.chunks_exact_mut(height * width).take(channels) {
            for row in 0..height {
                for column in row + 1..width {
                    plane.swap(row * width + column, column * height + row);
                }
            }
        }
    });
    pixels
}
