//! Archives that are damaged or made to do harm: they are refused, or unpacked; nothing panics, and nothing leaves the folder.

use flate2::Compression;
use flate2::write::GzEncoder;
use mrpf_api::context::Unwatched;
use mrpf_api::data::ArchiveFormat;
use mrpf_test_support::mutated;
use proptest::prelude::*;
use std::io::{Cursor, Write};
use std::path::Path;
use std::time::Duration;

use super::unpack::{Archive, unpack};
use super::{Fetch, Patience};
use crate::event::Silent;

type Bytes = std::result::Result<Vec<u8>, Box<dyn std::error::Error>>;

/// The most bytes that the files of an archive may have.
const LARGEST: u64 = 10_000;

/// The bytes of a tar file before they are compressed: behind its checksums, damage would reach nobody.
fn tar_bytes() -> Bytes {
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["data/a.bin", "data/b/c.txt"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(600);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, [7; 600].as_slice())?;
    }
    Ok(tar.into_inner()?)
}

fn zip_bytes() -> Bytes {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["data/a.bin", "data/b/c.txt"] {
        zip.start_file(name, zip::write::SimpleFileOptions::default())?;
        zip.write_all(&[7; 600])?;
    }
    Ok(zip.finish()?.into_inner())
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size(&entry.path()),
            _ => entry.metadata().map_or(0, |metadata| metadata.len()),
        })
        .sum()
}

fn try_it(bytes: &[u8], format: ArchiveFormat) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let outer = tempfile::tempdir()?;
    let folder = outer.path().join("inside");
    std::fs::create_dir(&folder)?;
    let path = folder.join("archive");
    std::fs::write(&path, bytes)?;
    let archive = Archive { path: &path, format, folder: "data", largest: LARGEST };
    let fetch = Fetch {
        directory: &folder,
        mirror: None,
        pause: Duration::ZERO,
        patience: Patience::default(),
        proxy: false,
        events: &Silent,
        watcher: &Unwatched,
    };
    let result = unpack(&archive, &fetch);
    assert_eq!(std::fs::read_dir(outer.path())?.count(), 1, "something lies outside of the folder");
    assert!(size(&folder) <= LARGEST + bytes.len() as u64, "more bytes than an archive may have");
    let names = std::fs::read_dir(&folder)?.count();
    assert!(names == 1 + usize::from(result.is_ok()), "{names} names are left after {result:?}");
    Ok(())
}

proptest! {
    #[test]
    fn a_mutated_archive_is_unpacked_or_refused(seed: u64) {
        let outcome = (|| {
            let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
            gz.write_all(&mutated(&tar_bytes()?, seed))?;
            try_it(&gz.finish()?, ArchiveFormat::TarGz)?;
            try_it(&mutated(&zip_bytes()?, seed), ArchiveFormat::Zip)
        })();
        outcome.map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}
