//! Pictures that are damaged or made to do harm: they are refused, or decoded; nothing panics, and none takes much memory.

use image::{DynamicImage, ImageFormat, RgbImage};
use mrpf_api::data::ImageShape;
use mrpf_test_support::mutated;
use proptest::prelude::*;
use std::io::Cursor;

use crate::decode::{Fit, Target, decode_bytes};

const FORMATS: [ImageFormat; 7] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
    ImageFormat::Gif,
    ImageFormat::Pnm,
];

proptest! {
    #[test]
    fn a_mutated_picture_is_decoded_or_refused(seed: u64, format in prop::sample::select(FORMATS.to_vec())) {
        let picture = RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 30, 7]));
        let mut file = Cursor::new(Vec::new());
        let written = DynamicImage::from(picture).write_to(&mut file, format);
        written.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let target = Target { shape: ImageShape { channels: 3, height: 8, width: 8 }, fit: Fit::Crop };
        let _ = decode_bytes(&mutated(&file.into_inner(), seed), target, &mut [0; 3 * 8 * 8]);
    }
}
