//! Reading without believing: memory grows with the bytes that are there, never with a number in a header.

use flate2::read::MultiGzDecoder;
use mrpf_api::{Error, ErrorKind, Result};
use std::io::{BufReader, Read};
use std::path::Path;

use crate::regular::open_regular;

/// The bytes of a file, decompressed on the way if they are gzip.
pub type Bytes = Box<dyn Read>;

/// The first two bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Opens a file, plain or gzip, as its first bytes say whatever its name.
///
/// # Errors
/// [`ErrorKind::Data`] with the path and the system's reason.
pub fn open(path: &Path) -> Result<Bytes> {
    let wrong = |why: String| Error::new(ErrorKind::Data, why).context(format!("reading {}", path.display()));
    let mut file = open_regular(path).map_err(wrong)?;
    let mut start = Vec::new();
    let read = Read::by_ref(&mut file).take(2).read_to_end(&mut start);
    read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let gzip = start == GZIP;
    let whole = std::io::Cursor::new(start).chain(file);
    Ok(if gzip { Box::new(MultiGzDecoder::new(BufReader::new(whole))) } else { Box::new(BufReader::new(whole)) })
}

/// Reads `count` bytes of `what`, where `at` is how many were read before.
///
/// # Errors
/// A fragment for a message: how many bytes there are, and where they end.
pub fn read_exactly(from: &mut dyn Read, count: u64, at: u64, what: &str) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // Grows by doubling as bytes arrive.
    let read = from.take(count).read_to_end(&mut bytes);
    let end = at + bytes.len() as u64;
    read.map_err(|error| format!("{what}: damaged at offset {end}: {error}"))?;
    if (bytes.len() as u64) < count {
        return Err(format!(
            "{what}: the data end at offset {end}, {} of {count} bytes are there; the file is truncated, or its header is wrong",
            bytes.len()
        ));
    }
    Ok(bytes)
}

/// Reads a small text file whole.
///
/// # Errors
/// [`ErrorKind::Data`] with the path if it cannot be read, is larger than `largest` bytes, or is no UTF-8.
pub fn read_small(path: &Path, largest: u64) -> Result<String> {
    let wrong = |why: String| Error::new(ErrorKind::Data, why).context(format!("reading {}", path.display()));
    let file = open_regular(path).map_err(wrong)?;
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > largest {
        return Err(wrong(format!("the file has more than {largest} bytes: it is of another kind")));
    }
    String::from_utf8(bytes).map_err(|error| {
        wrong(format!("byte {} is no UTF-8 text: the file is of another kind", error.utf8_error().valid_up_to()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;

    #[test]
    fn gzip_is_known_by_its_first_bytes() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (plain, packed) = (folder.path().join("plain.gz"), folder.path().join("packed"));
        std::fs::write(&plain, b"hello")?;
        let mut encoder = flate2::write::GzEncoder::new(File::create(&packed)?, flate2::Compression::fast());
        encoder.write_all(b"hello")?;
        encoder.finish()?;
        for path in [plain, packed] {
            let mut text = String::new();
            open(&path)?.read_to_string(&mut text)?;
            assert_eq!(text, "hello");
        }
        std::fs::write(folder.path().join("one"), b"x")?;
        let mut bytes = Vec::new();
        open(&folder.path().join("one"))?.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len(), 1);
        assert!(open(&folder.path().join("none")).is_err());
        Ok(())
    }

    #[test]
    fn what_ends_early_is_named() {
        let mut from: &[u8] = b"abc";
        let error = read_exactly(&mut from, u64::MAX, 16, "the pixels").expect_err("three bytes only");
        assert!(error.starts_with("the pixels: the data end at offset 19, 3 of"), "{error}");
    }

    #[test]
    fn a_text_file_of_another_kind_is_refused() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("names.txt");
        std::fs::write(&path, [b'a', 0xff])?;
        let error = read_small(&path, 100).expect_err("no UTF-8").to_string();
        assert!(error.ends_with("byte 1 is no UTF-8 text: the file is of another kind"), "{error}");
        let error = read_small(&path, 1).expect_err("too large").to_string();
        assert!(error.ends_with("more than 1 bytes: it is of another kind"), "{error}");
        Ok(())
    }
}
