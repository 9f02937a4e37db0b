//! Paths as text in settings and records. A path need not be UTF-8: each byte that is not becomes a zero character and two hexadecimal
//! digits, which no path can hold, so that the same path is read again. For people such a byte is shown as `\u{fffd}`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::{Path, PathBuf};

/// What stands before the digits of a byte.
const MARK: char = '\0';

/// The path as text from which [`decode`] makes the same path.
pub(crate) fn encode(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("{MARK}{byte:02x}")));
    }
    text
}

/// The path of a text.
#[cfg(unix)]
pub(crate) fn decode(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut parts = text.split(MARK);
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            // Not of ours; the system refuses a path with a zero in it.
            None => {
                bytes.push(0);
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

/// The path of a text.
#[cfg(not(unix))]
pub(crate) fn decode(text: &str) -> PathBuf {
    text.into()
}

/// For fields that are only shown.
pub(crate) fn shown<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.display())
}

/// For fields of one path.
pub(crate) mod one {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encode(path))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        String::deserialize(from).map(|text| decode(&text))
    }
}

/// For fields of a path that need not be there.
pub(crate) mod optional {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.as_deref().map(encode).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(|text| decode(&text)))
    }
}

/// For fields of several paths.
pub(crate) mod list {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(paths.iter().map(|path| encode(path)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<String>::deserialize(from)?.iter().map(|text| decode(text)).collect())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    proptest! {
        #[test]
        fn every_path_is_read_again(bytes in proptest::collection::vec(1_u8..=255, 0..40)) {
            let path = PathBuf::from(OsString::from_vec(bytes));
            prop_assert_eq!(decode(&encode(&path)), path);
        }

        #[test]
        fn a_path_in_utf_8_is_its_own_text(text in "[^\0]{0,40}") {
            prop_assert_eq!(encode(Path::new(&text)), text);
        }

        #[test]
        fn every_text_is_some_path(text in "[\0a-f0-9é]{0,20}") {
            let _ = decode(&text);
        }
    }
}
