//! Archives: unpacked whole or not at all, by one process at a time.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use mrpf_api::data::ArchiveFormat;

/// A tar entry of any kind, its header written by hand where the library refuses to.
fn tar_entry(name: &str, kind: u8, contents: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
    header[156] = kind;
    if kind == b'2' {
        header[157..168].copy_from_slice(b"/etc/passwd");
    }
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = vec![0; contents.len().next_multiple_of(512) - contents.len()];
    [header, contents.to_vec(), padding].concat()
}

fn tar_gz(entries: &[Vec<u8>]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&entries.concat())?;
    encoder.write_all(&[0; 1024])?;
    encoder.finish()
}

fn archive(url: &str, bytes: &[u8], format: ArchiveFormat) -> Download {
    let unpack = Unpack::Archive { format, folder: "data".into(), largest: 10_000 };
    Download { unpack, ..download(url, bytes) }
}

#[test]
fn archives_are_unpacked_and_removed() -> Outcome {
    let tar = tar_gz(&[
        tar_entry("data/", b'5', b""),
        tar_entry("data/a.bin", b'0', b"one"),
        tar_entry("./data/b/c.bin", b'0', &[7; 9000]),
    ])?;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("data/a.bin", options)?;
    zip.write_all(b"one")?;
    zip.start_file("data/b/c.bin", options)?;
    zip.write_all(&[7; 9000])?;
    for (bytes, format) in [(tar, ArchiveFormat::TarGz), (zip.finish()?.into_inner(), ArchiveFormat::Zip)] {
        let (folder, events) = (tempfile::tempdir()?, Kept::default());
        let served = serve(bytes.clone(), Server::Good)?;
        for _ in 0..2 {
            run(&[archive(&served.url, &bytes, format)], folder.path(), &events)?;
            assert_eq!(names(folder.path()), ["data"]);
            assert_eq!(std::fs::read(folder.path().join("data/a.bin"))?, b"one");
            assert_eq!(std::fs::read(folder.path().join("data/b/c.bin"))?, [7; 9000]);
        }
        assert_eq!(served.ranges.lock().expect("the ranges").len(), 1, "what is there is not fetched again");
    }
    Ok(())
}

/// An archive of one file.
fn small_archive() -> std::io::Result<Vec<u8>> {
    tar_gz(&[tar_entry("data/a.bin", b'0', b"one")])
}

#[test]
fn what_a_killed_unpacking_left_is_removed() -> Outcome {
    let bytes = small_archive()?;
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    let served = serve(bytes.clone(), Server::Good)?;
    let one = [archive(&served.url, &bytes, ArchiveFormat::TarGz)];
    let left = folder.path().join(".unpacking-file.bin/data");
    // Killed while it unpacked; an empty folder is not what the archive holds.
    std::fs::create_dir_all(&left)?;
    std::fs::write(left.join("a.bin"), "o")?;
    std::fs::write(folder.path().join("file.bin"), &bytes)?;
    std::fs::create_dir_all(folder.path().join("data/empty"))?;
    run(&one, folder.path(), &events)?;
    assert_eq!(names(folder.path()), ["data"]);
    assert_eq!(names(&folder.path().join("data")), ["a.bin"]);
    assert_eq!(std::fs::read(folder.path().join("data/a.bin"))?, b"one");
    // Killed after it had renamed the folder.
    std::fs::create_dir_all(&left)?;
    std::fs::write(folder.path().join("file.bin"), &bytes)?;
    run(&one, folder.path(), &events)?;
    assert_eq!(names(folder.path()), ["data"]);
    // A file of that name that is another is left alone.
    std::fs::write(folder.path().join("file.bin"), "mine")?;
    run(&one, folder.path(), &events)?;
    assert_eq!(names(folder.path()), ["data", "file.bin"]);
    assert_eq!(served.ranges.lock().expect("the ranges").len(), 0);
    Ok(())
}

#[test]
fn several_at_once_unpack_an_archive_once() -> Outcome {
    let bytes = small_archive()?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("file.bin"), &bytes)?;
    let held = std::fs::File::open(folder.path().join("file.bin"))?;
    held.lock()?;
    let one = [archive("http://127.0.0.1:9/file.bin", &bytes, ArchiveFormat::TarGz)];
    let events: Vec<Kept> = (0..4).map(|_| Kept::default()).collect();
    std::thread::scope(|scope| -> Outcome {
        let (one, directory) = (&one, folder.path());
        let all: Vec<_> = events.iter().map(|events| scope.spawn(move || run(one, directory, events))).collect();
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(names(directory), ["file.bin"], "they wait for the one that holds it");
        held.unlock()?;
        for thread in all {
            thread.join().expect("no panic")?;
        }
        Ok(())
    })?;
    assert_eq!(names(folder.path()), ["data"]);
    let unpacked = |kept: &Kept| {
        kept.0.lock().expect("the events").iter().any(|event| matches!(event, Event::Fetched { there: false, .. }))
    };
    assert_eq!(events.iter().filter(|events| unpacked(events)).count(), 1);
    Ok(())
}

#[test]
fn hostile_archives_leave_nothing_behind() -> Outcome {
    let good = tar_entry("data/a", b'0', b"x");
    let tar = |entries: &[Vec<u8>]| tar_gz(entries);
    let truncated = tar(&[good.clone(), tar_entry("data/b", b'0', &[1; 4000])])?;
    let mut link = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    link.add_symlink("data/link", "/etc/passwd", zip::write::SimpleFileOptions::default())?;
    let mut bomb = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    bomb.start_file("data/zeros", zip::write::SimpleFileOptions::default())?;
    bomb.write_all(&vec![0; 1 << 20])?;
    let mut climbing = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    climbing.start_file("data/../../out", zip::write::SimpleFileOptions::default())?;
    let cases: Vec<(Vec<u8>, ArchiveFormat, &str)> = vec![
        (
            tar(&[tar_entry("data/../../out", b'0', b"x")])?,
            ArchiveFormat::TarGz,
            "`data/../../out` leads out of the folder",
        ),
        (tar(&[tar_entry("/tmp/out", b'0', b"x")])?, ArchiveFormat::TarGz, "`/tmp/out` leads out of the folder"),
        (tar(&[tar_entry("other/a", b'0', b"x")])?, ArchiveFormat::TarGz, "`other/a` is not in the folder `data`"),
        (
            tar(&[good.clone(), tar_entry("data/link", b'2', b"")])?,
            ArchiveFormat::TarGz,
            "`data/link` is of type Symlink",
        ),
        (tar(&[good.clone(), good.clone()])?, ArchiveFormat::TarGz, "`data/a` is in it twice"),
        (tar(&[tar_entry("data/big", b'0', &[0; 20_000])])?, ArchiveFormat::TarGz, "more than 10000 bytes"),
        (truncated[..truncated.len() - 12].to_vec(), ArchiveFormat::TarGz, "damaged"),
        (b"no archive at all".to_vec(), ArchiveFormat::TarGz, "the archive is damaged"),
        (tar(&[])?, ArchiveFormat::TarGz, "there is no folder `data` in it"),
        (link.finish()?.into_inner(), ArchiveFormat::Zip, "`data/link` is a link or a device"),
        (bomb.finish()?.into_inner(), ArchiveFormat::Zip, "more than 10000 bytes"),
        (climbing.finish()?.into_inner(), ArchiveFormat::Zip, "leads out of the folder"),
        (b"no archive at all".to_vec(), ArchiveFormat::Zip, "the archive is damaged"),
    ];
    for (bytes, format, message) in cases {
        let (folder, events) = (tempfile::tempdir()?, Kept::default());
        let directory: PathBuf = folder.path().join("inside");
        let served = serve(bytes.clone(), Server::Good)?;
        let error = run(&[archive(&served.url, &bytes, format)], &directory, &events).expect_err(message);
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.to_string().contains(message), "expected {message}\nfound {error}");
        assert_eq!(names(folder.path()), ["inside"]);
        assert_eq!(names(&directory), ["file.bin"], "only the archive itself stays");
    }
    Ok(())
}
