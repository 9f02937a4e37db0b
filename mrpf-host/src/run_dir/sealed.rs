//! JSON files that carry a digest of their content, so that a bit that flips on disk is noticed.

use mrpf_api::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;

use super::records::{json, read_json};
use crate::files::sha256;

/// The digest's name among the object's own.
const DIGEST: &str = "content_sha256";

/// The bytes of a JSON object with its digest as the last member.
///
/// # Errors
/// [`ErrorKind::Io`] if the value cannot be written as a JSON object.
pub(crate) fn sealed<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>> {
    let failed =
        |why: String| Error::new(ErrorKind::Io, format!("{} cannot be written as JSON: {why}", path.display()));
    let mut value = serde_json::to_value(value).map_err(|error| failed(error.to_string()))?;
    let digest = sha256(value.to_string().as_bytes());
    let object = value.as_object_mut().ok_or_else(|| failed("expected an object".into()))?;
    object.insert(DIGEST.into(), Value::String(digest));
    json(path, &value)
}

/// Reads what [`sealed`] made, if it is there.
///
/// # Errors
/// [`ErrorKind::Checkpoint`] if the content is not what was written, or is no JSON.
pub(crate) fn read_sealed<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(mut value) = read_json::<Value>(path)? else { return Ok(None) };
    let damaged = |why: &str| {
        Error::new(ErrorKind::Checkpoint, format!("{} is damaged: {why}", path.display()))
            .hint("remove the file to have what it is about computed anew")
    };
    let written = value.as_object_mut().and_then(|object| object.remove(DIGEST));
    match written.as_ref().and_then(Value::as_str) {
        Some(written) if written == sha256(value.to_string().as_bytes()) => {}
        Some(_) => return Err(damaged("its content is not what was written (its SHA-256 is another)")),
        None => return Err(damaged("it carries no SHA-256 of its content")),
    }
    serde_json::from_value(value).map(Some).map_err(|error| damaged(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::write_atomically;
    use serde_json::json;

    #[test]
    fn every_flipped_bit_is_noticed_or_changes_nothing() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.json");
        let value = json!({"seconds": 1.25, "files": {"a": "b"}, "none": null, "radius": "8/255"});
        let bytes = sealed(&path, &value)?;
        write_atomically(&path, &bytes)?;
        assert_eq!(read_sealed::<Value>(&path)?, Some(value.clone()));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                std::fs::write(&path, &flipped)?;
                // White space between members may change.
                assert!(
                    read_sealed::<Value>(&path).map_or(true, |read| read == Some(value.clone())),
                    "{at}, bit {bit}"
                );
            }
        }
        assert!(sealed(&path, &[1]).is_err());
        Ok(())
    }
}
