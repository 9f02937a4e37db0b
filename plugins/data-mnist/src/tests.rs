use super::*;
use flate2::{Compression, write::GzEncoder};
use mrpf_api::registry::make;
use proptest::prelude::*;
use std::fs;
use std::io::Write;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

fn images(count: u32, fill: u8) -> Vec<u8> {
    let sizes = [count, 28, 28].map(u32::to_be_bytes).concat();
    [vec![0, 0, 8, 3], sizes, vec![fill; 784 * count as usize]].concat()
}

fn labels(labels: &[u8]) -> Vec<u8> {
    [vec![0, 0, 8, 1], (labels.len() as u32).to_be_bytes().to_vec(), labels.to_vec()].concat()
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Two training images and one to test with; one file plain, the others compressed.
fn small() -> std::io::Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    let write = |name: &str, bytes: Vec<u8>| fs::write(directory.path().join(name), bytes);
    write("train-images-idx3-ubyte.gz", gzip(&images(2, 7))?)?;
    write("train-labels-idx1-ubyte", labels(&[3, 9]))?;
    write("t10k-images-idx3-ubyte.gz", gzip(&images(1, 255))?)?;
    write("t10k-labels-idx1-ubyte.gz", gzip(&labels(&[0]))?)?;
    Ok(directory)
}

fn load(name: &str, directory: Option<&Path>) -> Result<LoadedData> {
    make::<dyn DataSource>(name, mrpf_api::serde_json::json!({}))?.load(directory)
}

#[test]
fn plain_and_compressed_files_are_read() -> Outcome {
    let directory = small()?;
    for (name, last, mirror) in [("mnist", "9", false), ("fashion-mnist", "Ankle boot", true)] {
        let data = load(name, Some(directory.path()))?;
        assert_eq!((data.train.labels(), data.test.labels()), ([3, 9].as_slice(), [0].as_slice()));
        assert_eq!((data.train.pixels(1)[783], data.test.pixels(0)[0]), (7, 255));
        assert_eq!(data.class_names.last().map(String::as_str), Some(last));
        assert_eq!(data.mirror_keeps_class, mirror);
    }
    // As torchvision lays it out.
    let raw = directory.path().join("MNIST/raw");
    fs::create_dir_all(&raw)?;
    for entry in fs::read_dir(directory.path())?.flatten().filter(|entry| entry.path().is_file()) {
        fs::rename(entry.path(), raw.join(entry.file_name()))?;
    }
    assert_eq!(load("mnist", Some(directory.path()))?.train.len(), 2);
    let error = load("fashion-mnist", Some(directory.path())).expect_err("those are digits");
    assert_eq!(error.hint_text(), Some("`mrpf data fetch fashion-mnist --data-dir DIR` downloads it"));
    Ok(())
}

#[test]
fn corrupt_files_are_answered_with_file_and_offset() -> Outcome {
    let claims = |count: u32| [vec![0, 0, 8, 3], [count, 28, 28].map(u32::to_be_bytes).concat()].concat();
    let cases: [(&str, Vec<u8>, &str); 10] = [
        ("train-images-idx3-ubyte.gz", Vec::new(), "the header: the data end at offset 0, 0 of 16 bytes are there"),
        ("train-images-idx3-ubyte.gz", labels(&[1; 20]), "the file starts with 00000801, expected 00000803"),
        (
            "train-images-idx3-ubyte.gz",
            images(2, 0)[..800].to_vec(),
            "the pixels: the data end at offset 800, 784 of 1568 bytes are there",
        ),
        ("train-images-idx3-ubyte.gz", gzip(&images(2, 0))?[..20].to_vec(), "the header: damaged at offset"),
        (
            "train-images-idx3-ubyte.gz",
            claims(u32::MAX),
            "the header at offset 4 names 4294967295 images, expected at most 1000000",
        ),
        (
            "train-images-idx3-ubyte.gz",
            gzip(&claims(1_000_000))?,
            "the pixels: the data end at offset 16, 0 of 784000000 bytes",
        ),
        (
            "train-images-idx3-ubyte.gz",
            [images(2, 0), vec![1]].concat(),
            "bytes follow at offset 1584 behind the 2 that",
        ),
        ("train-images-idx3-ubyte.gz", images(1, 0), "2 labels for the 1 images of"),
        ("train-labels-idx1-ubyte", labels(&[1, 10]), "label 1 at offset 9 is 10, expected 0 to 9"),
        ("t10k-labels-idx1-ubyte.gz", images(1, 0), "the file starts with 00000803, expected 00000801"),
    ];
    for (file, bytes, message) in cases {
        let directory = small()?;
        fs::write(directory.path().join(file), bytes)?;
        let error = load("mnist", Some(directory.path())).expect_err(message);
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(message), "{error}");
    }
    let directory = small()?;
    fs::remove_file(directory.path().join("t10k-labels-idx1-ubyte.gz"))?;
    let error = load("mnist", Some(directory.path())).expect_err("a file is missing");
    assert!(error.to_string().ends_with("t10k-labels-idx1-ubyte.gz: there is no such file"), "{error}");
    Ok(())
}

#[test]
fn the_official_files_are_named_with_their_checksums() -> Result<()> {
    let downloads = make::<dyn DataSource>("mnist", mrpf_api::serde_json::json!({}))?.downloads();
    let files: Vec<&str> = downloads.iter().map(|download| download.file.as_str()).collect();
    assert_eq!(files[0], "train-images-idx3-ubyte.gz");
    assert!(downloads.len() == 4 && downloads.iter().all(|download| download.urls.len() == 2));
    Ok(())
}

#[test]
fn real_mnist_is_read_completely() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/mnist");
    if !path.is_dir() {
        println!("skipped: {} is not there", path.display());
        return Ok(());
    }
    let data = load("mnist", Some(&path))?;
    assert_eq!((data.train.len(), data.test.len()), (10_000, 10_000));
    // The first labels of the official files.
    assert_eq!(
        (&data.train.labels()[..5], &data.test.labels()[..5]),
        ([5, 0, 4, 1, 9].as_slice(), [7, 2, 1, 0, 4].as_slice())
    );
    let sum: u64 = (0..data.train.len()).flat_map(|at| data.train.pixels(at)).map(|&value| u64::from(value)).sum();
    let mean = sum as f64 / (255.0 * 784.0 * 10_000.0);
    assert!((mean - data.mean[0]).abs() < 2e-3, "{mean}");
    Ok(())
}

proptest! {
    #[test]
    fn changed_files_never_panic(
        at in prop::collection::vec((0..1600usize, any::<u8>()), 0..4),
        length in 0..1600usize,
        compressed in any::<bool>(),
    ) {
        let whole = images(2, 9);
        let mut bytes = if compressed { gzip(&whole).map_err(|error| TestCaseError::fail(error.to_string()))? } else { whole };
        bytes.truncate(length);
        for (place, value) in at {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
        }
        let directory = tempfile::tempdir().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let path = directory.path().join("x");
        fs::write(&path, &bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        if let Ok((count, pixels)) = mrpf_data_files::open(&path).map_err(|error| error.to_string()).and_then(|mut from| idx::parse_images(&mut from)) {
            prop_assert_eq!(pixels.len(), count * 784);
        }
        if let Ok(mut from) = mrpf_data_files::open(&path) {
            let _ = idx::parse_labels(&mut from, 10);
        }
    }
}
