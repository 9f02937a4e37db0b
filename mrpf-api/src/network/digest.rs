//! The digest that a saved file carries of itself, so that a bit that flips on disk is noticed and not computed with.
//!
//! The header of a safetensors file lies at the front and has to hold the digest of everything, itself included. The digest is
//! therefore taken with zeros in its own place, and written over them.

use sha2::{Digest, Sha256};

use crate::{Error, ErrorKind, Result};

/// Name of the header's entry.
pub(super) const ENTRY: &str = "mrpf.sha256";
/// What stands in its place while the digest is taken.
pub(super) const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Writes the digest over the place that [`UNKNOWN`] keeps for it.
pub(super) fn seal(bytes: &mut [u8]) -> Result<()> {
    let place = place(bytes, UNKNOWN).ok_or_else(|| damaged("its header has no place for the digest"))?;
    let digest = digest(bytes, place);
    bytes[place..place + UNKNOWN.len()].copy_from_slice(digest.as_bytes());
    Ok(())
}

/// Checks `bytes`, whose header says that their digest is `written`.
pub(super) fn check(bytes: &[u8], written: &str) -> Result<()> {
    let place = (written.len() == UNKNOWN.len()).then(|| place(bytes, written)).flatten();
    match place.map(|place| digest(bytes, place)) {
        Some(found) if found == written => Ok(()),
        Some(_) => Err(damaged("its bytes are not those that were written (the SHA-256 in its header is another)")),
        None => Err(damaged("the digest in its header is none")),
    }
}

pub(super) fn damaged(why: &str) -> Error {
    Error::new(ErrorKind::Checkpoint, format!("the file is damaged: {why}"))
        .hint("take it from a copy, or make it again")
}

/// Where `written` stands in the header as the value of [`ENTRY`].
fn place(bytes: &[u8], written: &str) -> Option<usize> {
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length))?;
    let header = bytes.get(8..)?.get(..usize::try_from(length).ok()?)?;
    // The entries are JSON in a string of JSON. Text inside a name or a value has one more level of backslashes and is never taken for this.
    let entry = format!(r#"[\"{ENTRY}\",\"{written}\"]"#);
    let at = header.windows(entry.len()).position(|window| window == entry.as_bytes())?;
    Some(8 + at + entry.len() - written.len() - 3)
}

fn digest(bytes: &[u8], place: usize) -> String {
    let mut hash = Sha256::new();
    hash.update(&bytes[..place]);
    hash.update(UNKNOWN);
    hash.update(&bytes[place + UNKNOWN.len()..]);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Weights, tensors_from_bytes, tensors_to_bytes};
    use super::*;
    use candle_core::{Device, Tensor};
    use proptest::prelude::*;

    fn saved() -> Result<Vec<u8>> {
        let tensors = Weights::from([("a".to_owned(), Tensor::arange(0f32, 20.0, &Device::Cpu)?)]);
        // Text that looks like the digest's own entry.
        let note = format!(r#"["{ENTRY}","{UNKNOWN}"]"#);
        tensors_to_bytes(&tensors, [("a note", note), ("zeros", UNKNOWN.to_owned())])
    }

    #[test]
    fn what_is_written_is_read_and_is_the_same_every_time() -> Result<()> {
        let bytes = saved()?;
        assert_eq!(bytes, saved()?);
        let (tensors, header) = tensors_from_bytes(&bytes, &Device::Cpu)?;
        assert_eq!(tensors["a"].to_vec1::<f32>()?[19], 19.0);
        assert_eq!(header["zeros"], UNKNOWN);
        super::super::require_digest(&header)
    }

    proptest! {
        #[test]
        fn every_flipped_bit_is_noticed(place in any::<prop::sample::Index>(), bit in 0u32..8) {
            let mut bytes = saved().map_err(|error| TestCaseError::fail(error.to_string()))?;
            let at = place.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let read = tensors_from_bytes(&bytes, &Device::Cpu).and_then(|(_, header)| super::super::require_digest(&header));
            prop_assert!(read.is_err(), "byte {at}, bit {bit}");
        }
    }
}
