use super::*;
use flate2::{Compression, write::ZlibEncoder};
use mrpf_api::registry::make;
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

/// Files that SciPy wrote; see `svhn.py` there.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/svhn")
}

fn load(directory: &Path, extra: bool) -> Result<LoadedData> {
    make::<dyn DataSource>("svhn", mrpf_api::serde_json::json!({ "extra": extra }))?.load(Some(directory))
}

/// A copy of the fixtures in which one file is another.
fn with(file: &str, bytes: &[u8]) -> std::io::Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    for entry in fs::read_dir(fixtures())?.flatten() {
        fs::copy(entry.path(), directory.path().join(entry.file_name()))?;
    }
    fs::write(directory.path().join(file), bytes)?;
    Ok(directory)
}

fn expected(image: usize, channel: usize, row: usize, column: usize) -> u8 {
    ((7 * image + 3 * row + 5 * column + 11 * channel) % 256) as u8
}

#[test]
fn files_of_scipy_are_read_to_the_last_pixel() -> Result<()> {
    for (extra, count) in [(false, 12), (true, 13)] {
        let data = load(&fixtures(), extra)?;
        assert_eq!((data.train.len(), data.test.len()), (count, 3));
        // 1 to 9, then 10, which means 0.
        assert_eq!(&data.train.labels()[..12], [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]);
        assert_eq!(data.test.labels(), [9, 0, 1]);
        let numbers = (0..12).chain(std::iter::repeat_n(20, count - 12));
        for (set, numbers) in [(&data.train, numbers.collect::<Vec<_>>()), (&data.test, vec![8, 9, 10])] {
            for (at, number) in numbers.into_iter().enumerate() {
                for channel in 0..3 {
                    for row in 0..32 {
                        for column in 0..32 {
                            let found = set.pixels(at)[(channel * 32 + row) * 32 + column];
                            assert_eq!(found, expected(number, channel, row, column), "{at} {channel} {row} {column}");
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
#[cfg(unix)]
fn a_device_is_refused_before_it_is_read() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("x.mat");
    std::os::unix::fs::symlink("/dev/zero", &path)?;
    let error = crate::digits::read(&path).expect_err("it never ends").to_string();
    assert_eq!(error, format!("reading {}: is a device, expected a file", path.display()));
    Ok(())
}

/// An element: tag, data, padding.
fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    let padding = vec![0; data.len().next_multiple_of(8) - data.len()];
    [kind.to_le_bytes().to_vec(), (data.len() as u32).to_le_bytes().to_vec(), data.to_vec(), padding].concat()
}

fn array(name: &str, class: u32, dims: &[u32], stored: u32, values: &[u8]) -> Vec<u8> {
    let flags = element(6, &[class.to_le_bytes(), [0; 4]].concat());
    let dims = element(5, &dims.iter().flat_map(|size| size.to_le_bytes()).collect::<Vec<_>>());
    element(14, &[flags, dims, element(1, name.as_bytes()), element(stored, values)].concat())
}

fn file(elements: &[Vec<u8>]) -> Vec<u8> {
    [vec![b' '; 124], vec![0, 1], b"IM".to_vec(), elements.concat()].concat()
}

fn compressed(element: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(element)?;
    let data = encoder.finish()?;
    Ok([15u32.to_le_bytes().to_vec(), (data.len() as u32).to_le_bytes().to_vec(), data].concat())
}

#[test]
fn corrupt_files_are_answered_with_what_was_found() -> Outcome {
    let x = |count: u32| array("X", 9, &[32, 32, 3, count], 2, &vec![1; 3072 * count as usize]);
    let y = |labels: &[u8]| array("y", 6, &[labels.len() as u32, 1], 2, labels);
    let whole = file(&[x(2), y(&[1, 10])]);
    assert_eq!(digits::parse(&mut whole.as_slice())?.1, [1, 0]);

    let mut hdf5 = b"MATLAB 7.3 MAT-file".to_vec();
    hdf5.resize(300, b' ');
    let mut bomb = compressed(&x(2))?;
    bomb.truncate(60);
    let mut flipped = compressed(&x(1))?;
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let cases: [(Vec<u8>, &str); 17] = [
        (Vec::new(), "the header: the data end at offset 0, 0 of 128 bytes are there"),
        (vec![7; 400], "no MATLAB file: found [7, 7] at offset 126, expected `IM` or `MI`"),
        (hdf5, "the file is of MATLAB's version 7.3 (HDF5), expected version 5 to 7; save it with -v7"),
        (whole[..3000].to_vec(), "the values of array `X`: the data end at offset 3000"),
        (whole[..131].to_vec(), "the tag of an element: the data end at offset 131"),
        (file(&[x(2)]), "there is no array `y`, expected `X` and `y`"),
        (file(&[y(&[1])]), "there is no array `X`, expected `X` and `y`"),
        (file(&[x(2), y(&[1, 2, 3])]), "array `y` has 3 labels for the 2 images of array `X`"),
        (file(&[x(2), y(&[1, 11])]), "label 1 of array `y` is 11, expected 1 to 10, where 10 means the digit 0"),
        (file(&[x(2), y(&[0, 1])]), "label 0 of array `y` is 0, expected 1 to 10, where 10 means the digit 0"),
        (
            file(&[array("X", 9, &[28, 28, 3, 1], 2, &[0; 2352]), y(&[1])]),
            "array `X` has shape [28, 28, 3, 1], expected [32, 32, 3, images]",
        ),
        (file(&[array("X", 10, &[32, 32, 3, 1], 3, &[0; 6144]), y(&[1])]), "array `X` holds int16, expected uint8"),
        (
            file(&[array("X", 9, &[u32::MAX; 8], 2, &[0; 8]), y(&[1])]),
            "has 8 bytes of values at offset 208, expected 1 for each",
        ),
        (file(&[array("X", 9, &[32, 32, 3, 1], 99, &[0; 8]), y(&[1])]), "type 99, expected numbers"),
        (file(&[[14u32.to_le_bytes(), [255; 4]].concat()]), "the flags of an array: the data end at offset 136"),
        (file(&[bomb, y(&[1])]), "the compressed element at offset 136: "),
        (file(&[flipped, y(&[1])]), "the compressed element at offset 136: damaged at "),
    ];
    for (bytes, message) in cases {
        let directory = with("train_32x32.mat", &bytes)?;
        let error = load(directory.path(), false).expect_err(message);
        assert_eq!(error.kind(), ErrorKind::Data);
        let path = directory.path().join("train_32x32.mat");
        assert!(error.to_string().starts_with(&format!("reading {}: ", path.display())), "{error}");
        assert!(error.to_string().contains(message), "expected {message}\nfound {error}");
    }
    Ok(())
}

#[test]
fn a_value_size_is_not_believed() -> Outcome {
    // A name that is wanted, with values of four gigabytes that are not there.
    let mut huge = array("X", 9, &[32, 32, 3, 1], 2, &[0; 8]);
    let at = huge.len() - 12;
    huge[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = digits::parse(&mut file(&[huge]).as_slice()).expect_err("four gigabytes");
    assert!(error.contains("4294967295 bytes, expected at most 3072000000"), "{error}");
    Ok(())
}

#[test]
fn big_endian_files_are_read_too() -> Outcome {
    let element = |kind: u32, data: &[u8]| {
        let padding = vec![0; data.len().next_multiple_of(8) - data.len()];
        [kind.to_be_bytes().to_vec(), (data.len() as u32).to_be_bytes().to_vec(), data.to_vec(), padding].concat()
    };
    let array = |name: &str, class: u32, dims: &[u32], stored: u32, values: &[u8]| {
        let flags = element(6, &[class.to_be_bytes(), [0; 4]].concat());
        let dims = element(5, &dims.iter().flat_map(|size| size.to_be_bytes()).collect::<Vec<_>>());
        element(14, &[flags, dims, element(1, name.as_bytes()), element(stored, values)].concat())
    };
    let y = array("y", 6, &[1, 1], 4, &10u16.to_be_bytes());
    let x = array("X", 9, &[32, 32, 3, 1], 2, &[5; 3072]);
    let bytes = [vec![b' '; 124], vec![1, 0], b"MI".to_vec(), y, x].concat();
    assert_eq!(digits::parse(&mut bytes.as_slice())?.1, [0]);
    Ok(())
}

#[test]
fn the_extra_file_is_fetched_where_it_is_used() -> Result<()> {
    for (extra, count) in [(false, 2), (true, 3)] {
        let source = make::<dyn DataSource>("svhn", mrpf_api::serde_json::json!({ "extra": extra }))?;
        assert_eq!(source.downloads().len(), count);
    }
    Ok(())
}

proptest! {
    #[test]
    fn changed_files_never_panic(
        name in prop::sample::select(vec!["train_32x32.mat", "test_32x32.mat", "extra_32x32.mat"]),
        changes in prop::collection::vec((0..800usize, any::<u8>()), 1..6),
        length in 0..10_000usize,
    ) {
        let mut bytes = fs::read(fixtures().join(name)).map_err(|error| TestCaseError::fail(error.to_string()))?;
        bytes.truncate(length);
        for (place, value) in changes {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
        }
        if let Ok((pixels, labels)) = digits::parse(&mut bytes.as_slice()) {
            prop_assert_eq!(pixels.len(), labels.len() * 3072);
        }
    }

    #[test]
    fn arrays_changed_before_they_are_compressed_never_panic(
        changes in prop::collection::vec((0..80usize, any::<u8>()), 1..4),
        length in 60..3200usize,
    ) {
        let mut x = array("X", 9, &[32, 32, 3, 1], 2, &[1; 3072]);
        x.truncate(length);
        for (place, value) in changes {
            if let Some(byte) = x.get_mut(place) {
                *byte = value;
            }
        }
        let packed = compressed(&x).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let _ = digits::parse(&mut file(&[packed, array("y", 6, &[1, 1], 2, &[1])]).as_slice());
    }
}
