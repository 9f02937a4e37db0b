//! From image files to pixels, many at once.

use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, GenericImageView, ImageDecoder, ImageReader, Limits};
use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;
use mrpf_data_files::open_regular;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::listing::Entry;

/// No image file is larger than this.
const LARGEST_FILE: u64 = 256 << 20;
/// No image has a longer side, in pixels.
const LONGEST_SIDE: u32 = 32_768;
/// No image has more pixels.
const MOST_PIXELS: u64 = 100_000_000;
/// A decoder may use this many bytes for one image.
const MOST_MEMORY: u64 = 512 << 20;
/// Images with more pixels are decoded one at a time: a decoder needs several times the memory of its image.
const LARGE: u64 = 16_000_000;

/// The kinds of images that are read.
const KINDS: &str = "JPEG, PNG, WebP, BMP, TIFF, GIF or PNM";

/// How a picture of another size is brought to the size that is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Fit {
    /// The largest square in the middle is cut out and scaled.
    #[default]
    Crop,
    /// The whole picture is scaled, whatever its proportions.
    Stretch,
    /// No picture may have another size.
    Exact,
}

/// What images are decoded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub shape: ImageShape,
    pub fit: Fit,
}

/// Decodes all files, in parallel; the result does not depend on the number of threads.
///
/// # Errors
/// [`ErrorKind::Data`] with the first file that cannot be decoded and how many others cannot; [`ErrorKind::Interrupted`].
pub(crate) fn decode(
    entries: &[Entry],
    target: Target,
    classes: usize,
    what: &str,
    watcher: &dyn Watcher,
) -> Result<ImageSet> {
    let mut pixels = vec![0; entries.len() * target.shape.len()];
    let (done, total) = (AtomicUsize::new(0), entries.len());
    let step = (total / 200).clamp(1, 500);
    let failures: Vec<(usize, String)> = pixels
        .par_chunks_exact_mut(target.shape.len().max(1))
        .zip(entries)
        .enumerate()
        .filter_map(|(at, (out, entry))| {
            if watcher.interrupted() {
                return None;
            }
            let outcome = decode_into(&entry.path, target, out);
            let now = done.fetch_add(1, Ordering::Relaxed) + 1;
            if now.is_multiple_of(step) || now == total {
                watcher.progress(what, now, total);
            }
            outcome.err().map(|why| (at, why))
        })
        .collect();
    if watcher.interrupted() {
        return Err(Error::new(ErrorKind::Interrupted, "stopped on request"));
    }
    if let Some((at, why)) = failures.first() {
        let others = match failures.len() {
            1 => "the other files can be read".to_owned(),
            count => format!("{} of {total} files cannot be read, this is the first", count),
        };
        let error = Error::new(ErrorKind::Data, why).context(format!("reading {}", entries[*at].path.display()));
        return Err(error.hint(format!("{others}; fetch or copy the data anew, or remove what is damaged")));
    }
    ImageSet::new(target.shape, pixels, 255, entries.iter().map(|entry| entry.label).collect(), classes)
}

/// Decodes one file into `[channel, height, width]`.
fn decode_into(path: &Path, target: Target, out: &mut [u8]) -> std::result::Result<(), String> {
    let mut bytes = Vec::new();
    let file = open_regular(path)?;
    let read = file.take(LARGEST_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    decode_bytes(&bytes, target, out)
}

/// The same from the bytes of a file.
pub(crate) fn decode_bytes(bytes: &[u8], target: Target, out: &mut [u8]) -> std::result::Result<(), String> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("the file has more than {} MB", LARGEST_FILE >> 20));
    }
    let start = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>();
    let refused = |error: image::ImageError| format!("cannot be decoded: {error}");
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| format!("cannot be read: {error}"))?;
    match reader.format() {
        Some(image::ImageFormat::Jpeg) if !has_end(bytes) => {
            return Err(format!("the JPEG file has no end mark in its {} bytes: it is truncated", bytes.len()));
        }
        Some(_) => {}
        None => return Err(format!("the file starts with {start}, expected a {KINDS} image")),
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(refused)?;
    let (width, height) = decoder.dimensions();
    let ImageShape { height: rows, width: columns, .. } = target.shape;
    if target.fit == Fit::Exact && (width as usize, height as usize) != (columns, rows) {
        return Err(format!("the image is {width}x{height}, expected {columns}x{rows}"));
    }
    let (pixels, bytes_of_all) = (u64::from(width) * u64::from(height), decoder.total_bytes());
    if pixels == 0 {
        return Err(format!("the image is {width}x{height}: it is empty"));
    }
    if width > LONGEST_SIDE || height > LONGEST_SIDE || pixels > MOST_PIXELS || bytes_of_all > MOST_MEMORY {
        return Err(format!(
            "the image is {width}x{height} and takes {} MB when it is decoded: too large, expected at most {} million pixels, {} MB and {LONGEST_SIDE} pixels a side",
            bytes_of_all >> 20,
            MOST_PIXELS / 1_000_000,
            MOST_MEMORY >> 20
        ));
    }
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = (pixels > LARGE).then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(refused)?;
    if target.fit != Fit::Exact {
        picture.apply_orientation(orientation);
    }
    write_planes(fitted(picture, target), target.shape.channels, out);
    Ok(())
}

/// The picture in the size that is asked for, scaled by averaging over the area that a pixel covers.
fn fitted(picture: DynamicImage, target: Target) -> DynamicImage {
    let (width, height) = picture.dimensions();
    let (columns, rows) = (target.shape.width as u32, target.shape.height as u32);
    let picture = match target.fit {
        Fit::Crop if width != height => {
            let side = width.min(height);
            picture.crop_imm((width - side) / 2, (height - side) / 2, side, side)
        }
        _ => picture,
    };
    match picture.dimensions() == (columns, rows) {
        true => picture,
        false => picture.resize_exact(columns, rows, FilterType::Triangle),
    }
}

/// Grey pictures get three equal planes where colour is asked for, colour ones their luma where grey is; transparency is left out.
fn write_planes(picture: DynamicImage, channels: usize, out: &mut [u8]) {
    match channels {
        1 => out.copy_from_slice(picture.to_luma8().as_raw()),
        _ => {
            let values = picture.to_rgb8();
            let pixels = values.as_raw();
            for (channel, plane) in out.chunks_exact_mut(pixels.len() / 3).enumerate() {
                let values = pixels.iter().skip(channel).step_by(3);
                plane.iter_mut().zip(values).for_each(|(out, &value)| *out = value);
            }
        }
    }
}

/// Whether the compressed data of a JPEG file come to their end mark. Decoders fill what is missing with grey and say nothing.
fn has_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    // Segments before the data: a marker and a length each. Pictures inside them have marks of their own, which do not count.
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        match marker {
            0xff => at += 1,
            0xda => return bytes[at..].windows(2).any(|pair| pair == [0xff, 0xd9]),
            _ => at += 2 + (usize::from(high) << 8 | usize::from(low)),
        }
    }
    false
}
