//! Pictures of every class side by side: whether images and labels belong together is seen at a glance.

use image::{ImageFormat, RgbImage, imageops};
use mrpf_api::data::{ImageSet, LoadedData};
use mrpf_api::{Error, ErrorKind, Result};
use std::io::Cursor;

/// Columns of training images, and of test images beside them.
const COLUMNS: [usize; 2] = [10, 5];
/// Rows at most, one for each class.
const ROWS: usize = 100;
/// Small images are enlarged by a whole number to at least this height, in pixels.
const CELL: usize = 32;
/// Space between images, and between the two parts, in pixels.
const GAPS: [usize; 2] = [2, 12];
const BACKGROUND: image::Rgb<u8> = image::Rgb([255, 255, 255]);

/// A PNG file: a row for each class in the order of the labels (the first 100), its first 10 training images on the left and its
/// first 5 test images on the right.
///
/// # Errors
/// [`ErrorKind::Io`] if it cannot be encoded.
pub fn contact_sheet(data: &LoadedData) -> Result<Vec<u8>> {
    let shape = data.shape();
    let scale = CELL.div_ceil(shape.height.max(1)).max(1);
    let (width, height) = (shape.width * scale + GAPS[0], shape.height * scale + GAPS[0]);
    let rows = data.classes().min(ROWS);
    let whole = (COLUMNS[0] + COLUMNS[1]) * width + GAPS[1] + GAPS[0];
    let mut sheet = RgbImage::from_pixel(whole as u32, (rows * height + GAPS[0]) as u32, BACKGROUND);
    for (part, set) in [&data.train, &data.test].into_iter().enumerate() {
        let left = GAPS[0] + part * (COLUMNS[0] * width + GAPS[1]);
        let mut placed = vec![0; data.classes()];
        for (at, &label) in set.labels().iter().enumerate() {
            let (row, column) = (label as usize, placed[label as usize]);
            if row < rows && column < COLUMNS[part] {
                placed[row] += 1;
                let (x, y) = (left + column * width, GAPS[0] + row * height);
                imageops::replace(&mut sheet, &cell(set, at, scale), x as i64, y as i64);
            }
        }
    }
    let mut png = Cursor::new(Vec::new());
    let written = sheet.write_to(&mut png, ImageFormat::Png);
    written.map_err(|error| Error::new(ErrorKind::Io, format!("the contact sheet cannot be written: {error}")))?;
    Ok(png.into_inner())
}

/// One image, every pixel a square of `scale`.
fn cell(set: &ImageSet, at: usize, scale: usize) -> RgbImage {
    let (shape, pixels) = (set.shape(), set.pixels(at));
    let plane = shape.height * shape.width;
    let full = u32::from(set.full_scale().max(1));
    RgbImage::from_fn((shape.width * scale) as u32, (shape.height * scale) as u32, |x, y| {
        let place = y as usize / scale * shape.width + x as usize / scale;
        // Grey images show their one channel three times.
        let value = |channel: usize| {
            let channel = channel.min(shape.channels.saturating_sub(1));
            (u32::from(pixels[channel * plane + place]) * 255 / full) as u8
        };
        image::Rgb([value(0), value(1), value(2)])
    })
}
