//! Pictures as PNG files inside the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, Rgb, RgbImage};
use mrpf_api::data::ImageShape;
use mrpf_api::{Error, ErrorKind, Result};
use std::io::Cursor;

/// Smaller images are enlarged by a whole number to at least this width, in pixels.
const LEAST: usize = 96;

/// A `data:` address of the image with values `[channel, height, width]` in [0, 1], every pixel a square.
///
/// Values outside the range are cut off. Images of one or two channels are shown in the grey of the first.
///
/// # Errors
/// [`ErrorKind::Data`] if there are fewer values than the shape says, [`ErrorKind::Io`] if it cannot be encoded.
pub fn data_address(values: &[f32], shape: ImageShape) -> Result<String> {
    if values.len() < shape.len() || shape.is_empty() {
        let message = format!("{} values for a picture of shape {:?}", values.len(), shape.dims());
        return Err(Error::new(ErrorKind::Data, message));
    }
    let scale = LEAST.div_ceil(shape.width).max(1);
    let plane = shape.height * shape.width;
    let picture = RgbImage::from_fn((shape.width * scale) as u32, (shape.height * scale) as u32, |x, y| {
        let place = y as usize / scale * shape.width + x as usize / scale;
        let value = |channel: usize| {
            let channel = if shape.channels < 3 { 0 } else { channel };
            (values[channel * plane + place].clamp(0.0, 1.0) * 255.0).round() as u8
        };
        Rgb([value(0), value(1), value(2)])
    });
    let mut png = Cursor::new(Vec::new());
    let written = picture.write_to(&mut png, ImageFormat::Png);
    written.map_err(|error| Error::new(ErrorKind::Io, format!("a picture cannot be written: {error}")))?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png.into_inner())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_become_squares() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let shape = ImageShape { channels: 1, height: 1, width: 2 };
        let address = data_address(&[0.0, 2.0], shape)?;
        let bytes = STANDARD.decode(address.strip_prefix("data:image/png;base64,").ok_or("a data address")?)?;
        let picture = image::load_from_memory(&bytes)?.to_rgb8();
        assert_eq!(picture.dimensions(), (96, 48));
        assert_eq!([picture.get_pixel(47, 47).0, picture.get_pixel(48, 0).0], [[0; 3], [255; 3]]);
        assert!(data_address(&[0.0], shape).is_err());
        Ok(())
    }
}
