//! The digest in a library's manifest: written once when it was built, and checked before it is opened.
//!
//! The loader believes what a library's headers say, so that one flipped bit in them can stop the process. A library is opened only if
//! every byte of it is as `mrpf plugins build` left it.

use mrpf_api::Result;
use mrpf_api::export::{Stated, UNSEALED, digest_places};
use std::path::Path;

use super::refusal::Refusal;
use crate::files::{failed, sha256};

/// Writes the digest into a library file, unless it is there already.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Io`] if the file cannot be read or written.
pub fn seal(library: &Path) -> Result<()> {
    let before = std::fs::read(library).map_err(|error| failed("read", library, &error))?;
    let mut bytes = before.clone();
    let digest = digest(&bytes);
    for place in digest_places(&bytes) {
        bytes[place].copy_from_slice(digest.as_bytes());
    }
    if bytes == before { Ok(()) } else { crate::files::write_atomically(library, &bytes) }
}

/// Checks that the bytes are those that were sealed.
pub(super) fn check(bytes: &[u8], stated: &Stated) -> std::result::Result<(), Refusal> {
    if stated.digest == UNSEALED {
        return Err(Refusal::Unsealed);
    }
    if stated.digest == digest(bytes) { Ok(()) } else { Err(Refusal::Changed) }
}

/// SHA-256 of a library with the digits of its digest taken as zeros.
fn digest(bytes: &[u8]) -> String {
    let mut blank = bytes.to_vec();
    for place in digest_places(bytes) {
        blank[place].copy_from_slice(UNSEALED.as_bytes());
    }
    sha256(&blank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::export::{Manifest, Package};
    use proptest::prelude::*;

    static MANIFEST: Manifest =
        Manifest::of(&Package { name: "a", version: "1", module: "a", panic: "unwind", library: "none" });

    fn sealed(before: &[u8]) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("lib.so");
        std::fs::write(&file, [before, MANIFEST.bytes(), before].concat()).expect("a file");
        seal(&file).expect("it is sealed");
        let once = std::fs::read(&file).expect("a file");
        seal(&file).expect("it is sealed again");
        assert_eq!(std::fs::read(&file).expect("a file"), once, "sealing twice changes nothing");
        once
    }

    proptest! {
        #[test]
        fn no_bit_can_flip_unseen(before in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let bytes = sealed(&before);
            let judge = |bytes: &[u8]| Stated::find(bytes).is_ok_and(|stated| check(bytes, &stated).is_ok());
            prop_assert!(judge(&bytes));
            let at = at.index(bytes.len() * 8);
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            prop_assert!(!judge(&flipped), "bit {at}");
        }
    }

    #[test]
    fn what_was_never_sealed_is_told_apart() {
        let stated = Stated::find(MANIFEST.bytes()).expect("a manifest");
        assert!(matches!(check(MANIFEST.bytes(), &stated), Err(Refusal::Unsealed)));
    }
}
