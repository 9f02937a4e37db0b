//! Numeric arrays of MATLAB's file format, level 5 (MathWorks, "MAT-File Format"): what SVHN needs of it, and no more.
//!
//! The crates that read the whole format unpack compressed elements without a limit or unwrap what a damaged file makes them meet;
//! this reader keeps no more than its caller allows and no more than the file holds.

use flate2::bufread::ZlibDecoder;
use mrpf_data_files::read_exactly;
use std::io::{BufReader, Read};

const COMPRESSED: u32 = 15;
const MATRIX: u32 = 14;
/// More elements than a file of a few arrays has.
const MOST_ELEMENTS: usize = 1000;

/// An array to be read, and the most bytes that it may have.
pub(crate) struct Limit<'a> {
    pub name: &'a str,
    pub bytes: u64,
}

/// A numeric array; the first index runs fastest.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub dims: Vec<u64>,
    pub bytes: Vec<u8>,
    /// How the values are stored, a code of [`TYPES`]: often smaller than the type that they have in MATLAB.
    stored: u32,
    big_endian: bool,
}

/// Codes of stored numbers with their names and sizes in bytes.
const TYPES: [(u32, &str, u64); 10] = [
    (1, "int8", 1),
    (2, "uint8", 1),
    (3, "int16", 2),
    (4, "uint16", 2),
    (5, "int32", 4),
    (6, "uint32", 4),
    (7, "single", 4),
    (9, "double", 8),
    (12, "int64", 8),
    (13, "uint64", 8),
];

impl Array {
    pub(crate) fn is_bytes(&self) -> bool {
        self.stored == 2
    }

    pub(crate) fn type_name(&self) -> &'static str {
        TYPES.iter().find(|(code, ..)| *code == self.stored).map_or("unknown numbers", |(_, name, _)| name)
    }

    /// The values as numbers.
    pub(crate) fn values(&self) -> Result<Vec<f64>, String> {
        fn all<const N: usize>(array: &Array, number: fn([u8; N]) -> f64) -> Vec<f64> {
            let value = |chunk: &[u8; N]| {
                let mut bytes = *chunk;
                if array.big_endian {
                    bytes.reverse();
                }
                number(bytes)
            };
            array.bytes.as_chunks::<N>().0.iter().map(value).collect()
        }
        Ok(match self.stored {
            1 => all(self, |bytes| f64::from(i8::from_le_bytes(bytes))),
            2 => all(self, |bytes| f64::from(u8::from_le_bytes(bytes))),
            3 => all(self, |bytes| f64::from(i16::from_le_bytes(bytes))),
            4 => all(self, |bytes| f64::from(u16::from_le_bytes(bytes))),
            5 => all(self, |bytes| f64::from(i32::from_le_bytes(bytes))),
            6 => all(self, |bytes| f64::from(u32::from_le_bytes(bytes))),
            7 => all(self, |bytes| f64::from(f32::from_le_bytes(bytes))),
            9 => all(self, f64::from_le_bytes),
            // Labels are small; what is not exact here is out of their range anyway.
            12 => all(self, |bytes| i64::from_le_bytes(bytes) as f64),
            13 => all(self, |bytes| u64::from_le_bytes(bytes) as f64),
            code => return Err(format!("values are stored as type {code}, expected numbers")),
        })
    }
}

/// Reads the arrays of a file that are asked for, in the order of the file; others are passed over.
///
/// # Errors
/// A fragment for a message, with the offset.
pub(crate) fn read(from: &mut dyn Read, wanted: &[Limit<'_>]) -> Result<Vec<(String, Array)>, String> {
    let header = read_exactly(from, 128, 0, "the header")?;
    if header.starts_with(b"MATLAB 7.3") || header.starts_with(b"\x89HDF") {
        return Err("the file is of MATLAB's version 7.3 (HDF5), expected version 5 to 7; save it with -v7".into());
    }
    let big_endian = match &header[126..] {
        b"IM" => false,
        b"MI" => true,
        found => return Err(format!("no MATLAB file: found {found:?} at offset 126, expected `IM` or `MI`")),
    };
    let mut found = Vec::new();
    let mut file = Elements { from, at: 128, big_endian, inside: "" };
    for _ in 0..MOST_ELEMENTS {
        let Some((kind, size)) = file.next_tag()? else { return Ok(found) };
        let start = file.at;
        match kind {
            MATRIX => found.extend(file.matrix(u64::from(size), wanted)?),
            COMPRESSED => {
                let mut packed = BufReader::new(Read::take(&mut *file.from, u64::from(size)));
                let mut unpacked = ZlibDecoder::new(&mut packed);
                let mut inner = Elements { from: &mut unpacked, at: 0, big_endian, inside: " of the unpacked element" };
                let about = |why: String| format!("the compressed element at offset {start}: {why}");
                match inner.next_tag().map_err(about)? {
                    Some((MATRIX, size)) => found.extend(inner.matrix(u64::from(size), wanted).map_err(about)?),
                    Some((kind, _)) => return Err(about(format!("type {kind} inside, expected an array ({MATRIX})"))),
                    None => return Err(about("it is empty, expected an array".into())),
                }
                // Reading to the end has the checksum verified.
                inner.skip_to_end(8).map_err(about)?;
                let left = packed.into_inner().limit();
                let mut outer = Elements { from: &mut *file.from, at: start, big_endian, inside: "" };
                outer.skip(left, "the compressed element")?;
                file.at = start + u64::from(size);
            }
            kind => return Err(format!("element of type {kind} at offset {}, expected an array", start - 8)),
        }
    }
    Err(format!("more than {MOST_ELEMENTS} elements: the file is damaged or of another kind"))
}

/// A row of elements: each a tag with type and size, then data up to a multiple of eight bytes.
struct Elements<'a> {
    from: &'a mut dyn Read,
    at: u64,
    big_endian: bool,
    inside: &'a str,
}

impl Elements<'_> {
    fn take(&mut self, count: u64, what: &str) -> Result<Vec<u8>, String> {
        let bytes = read_exactly(self.from, count, self.at, what).map_err(|why| {
            if self.inside.is_empty() { why } else { format!("{why} (offsets are those{})", self.inside) }
        })?;
        self.at += count;
        Ok(bytes)
    }

    fn skip(&mut self, count: u64, what: &str) -> Result<(), String> {
        let passed = std::io::copy(&mut Read::take(&mut *self.from, count), &mut std::io::sink());
        let end = self.at + passed.as_ref().copied().unwrap_or_default();
        match passed {
            Ok(passed) if passed == count => {
                self.at += count;
                Ok(())
            }
            Ok(_) => Err(format!("{what}: the data end at offset {end}{}, {count} bytes were named", self.inside)),
            Err(error) => Err(format!("{what}: damaged at offset {end}{}: {error}", self.inside)),
        }
    }

    /// Passes over what is left, which may be `most` bytes of padding.
    fn skip_to_end(&mut self, most: u64) -> Result<(), String> {
        let mut left = Vec::new();
        match Read::take(&mut *self.from, most + 1).read_to_end(&mut left) {
            Ok(count) if count as u64 <= most => Ok(()),
            Ok(_) => Err(format!("bytes follow the array at offset {}{}", self.at, self.inside)),
            Err(error) => Err(format!("damaged at its end: {error}")),
        }
    }

    fn number(&self, bytes: &[u8]) -> u32 {
        let bytes: [u8; 4] = bytes.try_into().unwrap_or_default();
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// Type and size of the next element; `None` at the end.
    fn next_tag(&mut self) -> Result<Option<(u32, u32)>, String> {
        let mut first = Vec::new();
        let read = Read::take(&mut *self.from, 1).read_to_end(&mut first);
        read.map_err(|error| format!("damaged at offset {}{}: {error}", self.at, self.inside))?;
        if first.is_empty() {
            return Ok(None);
        }
        self.at += 1;
        first.extend(self.take(7, "the tag of an element")?);
        Ok(Some((self.number(&first[..4]), self.number(&first[4..]))))
    }

    /// The type and the data of an element inside an array, of at most `largest` bytes.
    fn data(&mut self, largest: u64, what: &str) -> Result<(u32, Vec<u8>), String> {
        let start = self.at;
        let tag = self.take(8, what)?;
        let (kind, size) = (self.number(&tag[..4]), self.number(&tag[4..]));
        // Up to four bytes are stored in the tag itself, their number in the upper half of its first word.
        if kind >> 16 != 0 {
            let (kind, size) = (kind & 0xffff, kind >> 16);
            if size > 4 {
                return Err(format!("{what} at offset {start}{}: {size} bytes in a tag that holds 4", self.inside));
            }
            return Ok((kind, tag[4..4 + size as usize].to_vec()));
        }
        if u64::from(size) > largest {
            return Err(format!("{what} at offset {start}{}: {size} bytes, expected at most {largest}", self.inside));
        }
        let bytes = self.take(u64::from(size), what)?;
        Ok((kind, bytes))
    }

    /// Passes over the padding behind data inside an array that began at a multiple of eight from `start`.
    fn align(&mut self, start: u64) -> Result<(), String> {
        let over = (self.at - start) % 8;
        if over == 0 { Ok(()) } else { self.skip(8 - over, "padding") }
    }

    /// An array of `size` bytes: flags, dimensions, name, values.
    fn matrix(&mut self, size: u64, wanted: &[Limit<'_>]) -> Result<Option<(String, Array)>, String> {
        let (start, end) = (self.at, self.at + size);
        // An empty array has no flags at all.
        if size == 0 {
            return Ok(None);
        }
        let (_, flags) = self.data(8, "the flags of an array")?;
        let class = self.number(flags.get(..4).unwrap_or_default()) & 0xff;
        self.align(start)?;
        let (_, dims) = self.data(4 * 32, "the dimensions of an array")?;
        let dims: Vec<u64> = dims.chunks_exact(4).map(|bytes| u64::from(self.number(bytes))).collect();
        self.align(start)?;
        let (_, name) = self.data(256, "the name of an array")?;
        let name = String::from_utf8_lossy(&name).into_owned();
        self.align(start)?;
        // Classes 6 to 15 are numbers; cells, structures, text and sparse arrays are passed over.
        let limit = wanted.iter().find(|limit| limit.name == name && (6..=15).contains(&class));
        let found = match limit {
            None => None,
            Some(limit) => Some((name.clone(), self.values(dims, limit.bytes, &name)?)),
        };
        let left = end.checked_sub(self.at).ok_or_else(|| {
            format!("array `{name}` ends at offset {}{}, expected {end}: its size is wrong", self.at, self.inside)
        })?;
        self.skip(left, &format!("array `{name}`"))?;
        Ok(found)
    }

    fn values(&mut self, dims: Vec<u64>, largest: u64, name: &str) -> Result<Array, String> {
        let start = self.at;
        let (stored, bytes) = self.data(largest, &format!("the values of array `{name}`"))?;
        let each = TYPES.iter().find(|(code, ..)| *code == stored).map(|(.., bytes)| *bytes);
        let each = each.ok_or_else(|| {
            format!("the values of array `{name}` at offset {start}{}: type {stored}, expected numbers", self.inside)
        })?;
        let expected = dims.iter().try_fold(each, |product, &size| product.checked_mul(size));
        if expected != Some(bytes.len() as u64) {
            return Err(format!(
                "array `{name}` of shape {dims:?} has {} bytes of values at offset {start}{}, expected {each} for each",
                bytes.len(),
                self.inside
            ));
        }
        Ok(Array { dims, bytes, stored, big_endian: self.big_endian })
    }
}
