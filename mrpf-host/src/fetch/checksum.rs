//! The checksum of a file against the published one.

use md5::Md5;
use mrpf_api::context::Watcher;
use mrpf_api::data::{Checksum, Download};
use mrpf_api::{Error, ErrorKind, Result};
use sha2::Sha256;
use sha2::digest::Digest;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::files::failed;

/// Checks size and checksum.
///
/// # Errors
/// [`ErrorKind::Data`] with what was found and what is published.
pub(super) fn verify(path: &Path, download: &Download, watcher: &dyn Watcher) -> Result<()> {
    let length = std::fs::metadata(path).map_err(|error| failed("read", path, &error))?.len();
    if length != download.bytes {
        let message = format!("{} has {length} bytes, {} are published", path.display(), download.bytes);
        return Err(Error::new(ErrorKind::Data, message));
    }
    let (name, found, published) = match &download.checksum {
        Checksum::Md5(published) => ("MD5", digest::<Md5>(path, watcher)?, published),
        Checksum::Sha256(published) => ("SHA-256", digest::<Sha256>(path, watcher)?, published),
    };
    if found != *published {
        let message = format!("{} has the {name} {found}, {published} is published", path.display());
        let hint = "the server gave other bytes, or the transfer was damaged; fetch again, or from another address with --from";
        return Err(Error::new(ErrorKind::Data, message).hint(hint));
    }
    Ok(())
}

fn digest<D: Digest>(path: &Path, watcher: &dyn Watcher) -> Result<String> {
    let mut file = File::open(path).map_err(|error| failed("read", path, &error))?;
    let (mut hash, mut chunk) = (D::new(), vec![0; 1 << 20]);
    loop {
        if watcher.interrupted() {
            return Err(Error::new(ErrorKind::Interrupted, "stopped on request"));
        }
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => hash.update(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("read", path, &error)),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
