use super::*;
use mrpf_api::registry::make;
use proptest::prelude::*;
use std::fs;

const LAYOUT10: Layout =
    Layout { folder: "cifar-10-batches-bin", test: "test_batch.bin", label_bytes: &[10], label: 0 };
const LAYOUT100: Layout = Layout { folder: "cifar-100-binary", test: "test.bin", label_bytes: &[20, 100], label: 1 };

fn record(labels: &[u8], fill: u8) -> Vec<u8> {
    [labels, &[fill; 3072]].concat()
}

fn load(name: &str, directory: Option<&Path>) -> Result<LoadedData> {
    make::<dyn DataSource>(name, mrpf_api::serde_json::json!({}))?.load(directory)
}

/// A folder with small but whole CIFAR-10 files.
fn small_cifar10() -> std::io::Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    let folder = directory.path().join("cifar-10-batches-bin");
    fs::create_dir(&folder)?;
    for number in 1..=5u8 {
        fs::write(
            folder.join(format!("data_batch_{number}.bin")),
            [record(&[number], 10), record(&[0], number)].concat(),
        )?;
    }
    fs::write(folder.join("test_batch.bin"), record(&[9], 255))?;
    Ok(directory)
}

#[test]
fn record_counts_come_from_the_file_lengths() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let directory = small_cifar10()?;
    for path in [directory.path().to_owned(), directory.path().join("cifar-10-batches-bin")] {
        let data = load("cifar10", Some(&path))?;
        assert_eq!((data.train.len(), data.test.len()), (10, 1));
        assert_eq!(data.train.labels(), [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]);
        assert_eq!((data.test.pixels(0)[0], data.train.pixels(9)[3071]), (255, 5));
        assert_eq!(data.class_names[9], "truck");
    }
    Ok(())
}

#[test]
fn corrupt_files_are_answered_with_file_and_offset() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let cases: [(Vec<u8>, &str); 4] = [
        (Vec::new(), "the file is empty, expected records of 3073 bytes"),
        (record(&[1], 0)[..3000].to_vec(), "3000 bytes are 0 records of 3073 bytes and 3000 bytes from offset 0 on"),
        (
            [record(&[1], 0), vec![0; 5]].concat(),
            "3078 bytes are 1 records of 3073 bytes and 5 bytes from offset 3073 on",
        ),
        ([record(&[1], 0), record(&[10], 0)].concat(), "record 1 at offset 3073 has label 10, expected 0 to 9"),
    ];
    for (bytes, message) in cases {
        let directory = small_cifar10()?;
        let path = directory.path().join("cifar-10-batches-bin").join("data_batch_3.bin");
        fs::write(&path, bytes)?;
        let error = load("cifar10", Some(directory.path())).expect_err(message).to_string();
        assert!(error.starts_with(&format!("reading {}: {message}", path.display())), "{error}");
    }
    Ok(())
}

#[test]
#[cfg(unix)]
fn a_device_is_refused_before_it_is_read() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let directory = small_cifar10()?;
    let path = directory.path().join("cifar-10-batches-bin/test_batch.bin");
    fs::remove_file(&path)?;
    std::os::unix::fs::symlink("/dev/zero", &path)?;
    let error = load("cifar10", Some(directory.path())).expect_err("it never ends").to_string();
    assert_eq!(error, format!("reading {}: is a device, expected a file", path.display()));
    Ok(())
}

#[test]
fn missing_folders_and_files_are_named() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("notes.txt"), "x")?;
    let error = load("cifar10", Some(directory.path())).expect_err("no folder").to_string();
    assert!(error.ends_with("holds notes.txt, expected `cifar-10-batches-bin` in it"), "{error}");
    let error = load("cifar10", None).expect_err("no directory");
    assert_eq!(error.hint_text(), Some("give it with --data-dir DIR"));
    let whole = small_cifar10()?;
    fs::remove_file(whole.path().join("cifar-10-batches-bin/test_batch.bin"))?;
    let error = load("cifar10", Some(whole.path())).expect_err("no test file").to_string();
    assert!(error.contains("test_batch.bin: cannot be read"), "{error}");
    let error = load("cifar10", Some(&whole.path().join("nowhere"))).expect_err("no such folder").to_string();
    assert!(error.contains("nowhere cannot be read"), "{error}");
    Ok(())
}

#[test]
fn a_folder_that_holds_the_files_may_have_any_name() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let directory = small_cifar10()?;
    let renamed = directory.path().join("renamed");
    fs::rename(directory.path().join("cifar-10-batches-bin"), &renamed)?;
    assert_eq!(load("cifar10", Some(&renamed))?.train.len(), 10);
    fs::remove_file(renamed.join("data_batch_4.bin"))?;
    let error = load("cifar10", Some(&renamed)).expect_err("a file is missing");
    assert!(error.to_string().contains("data_batch_4.bin: cannot be read"), "{error}");
    let there = "data_batch_1.bin, data_batch_2.bin, data_batch_3.bin, data_batch_5.bin, test_batch.bin";
    assert_eq!(error.hint_text(), Some(format!("its folder holds {there}").as_str()));
    Ok(())
}

#[test]
fn each_label_byte_of_cifar100_is_checked() {
    let cases: [(Vec<u8>, &str); 4] = [
        (record(&[20, 0], 0), "record 0 at offset 0 has label 20, expected 0 to 19"),
        (
            [record(&[1, 1], 0), record(&[1, 100], 0)].concat(),
            "record 1 at offset 3075 has label 100, expected 0 to 99",
        ),
        (Vec::new(), "the file is empty, expected records of 3074 bytes"),
        (record(&[1], 0), "3073 bytes are 0 records of 3074 bytes and 3073 bytes from offset 0 on"),
    ];
    for (bytes, message) in cases {
        let error = records::parse(&bytes, &LAYOUT100).expect_err(message);
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn class_names_come_from_the_file_beside_the_images() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("train.bin"), record(&[0, 0], 1))?;
    fs::write(directory.path().join("test.bin"), record(&[0, 0], 1))?;
    let lines = |kind: &str, count: usize| (0..count).map(|class| format!("{kind} {class}\n")).collect::<String>();
    fs::write(directory.path().join("fine_label_names.txt"), lines("fine", 100))?;
    fs::write(directory.path().join("coarse_label_names.txt"), lines("coarse", 20))?;
    for (labels, last) in [("fine", "fine 99"), ("coarse", "coarse 19")] {
        let source = make::<dyn DataSource>("cifar100", mrpf_api::serde_json::json!({ "labels": labels }))?;
        let names = source.load(Some(directory.path()))?.class_names;
        assert_eq!(names.last().map(String::as_str), Some(last));
    }
    Ok(())
}

#[test]
fn both_labels_of_cifar100_are_read() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let folder = directory.path().join("cifar-100-binary");
    fs::create_dir(&folder)?;
    fs::write(folder.join("train.bin"), record(&[19, 99], 1))?;
    fs::write(folder.join("test.bin"), record(&[3, 42], 1))?;
    for (labels, train, classes) in [("fine", 99, 100), ("coarse", 19, 20)] {
        let source = make::<dyn DataSource>("cifar100", mrpf_api::serde_json::json!({ "labels": labels }))?;
        let data = source.load(Some(directory.path()))?;
        assert_eq!((data.train.labels(), data.classes()), ([train].as_slice(), classes));
    }
    Ok(())
}

/// The real images lie outside the repository, for those who develop it.
fn shared(name: &str) -> Option<std::path::PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.is_dir() {
        println!("skipped: {} is not there", path.display());
    }
    path.is_dir().then_some(path)
}

#[test]
fn real_cifar10_is_read_completely() -> Result<()> {
    let Some(path) = shared("cifar10") else { return Ok(()) };
    let data = load("cifar10", Some(&path))?;
    assert_eq!((data.train.len(), data.test.len()), (10_000, 2_000));
    for class in 0..10 {
        assert_eq!(data.test.labels().iter().filter(|&&label| label == class).count(), 200);
    }
    assert_eq!(data.class_names, CIFAR10_CLASSES);
    Ok(())
}

#[test]
fn real_cifar100_is_read_completely() -> Result<()> {
    let Some(path) = shared("cifar100") else { return Ok(()) };
    let data = load("cifar100", Some(&path))?;
    assert_eq!((data.train.len(), data.test.len(), data.classes()), (3_000, 1_000, 100));
    assert_eq!(data.class_names[0], "apple");
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..8000)) {
        for layout in [LAYOUT10, LAYOUT100] {
            if let Ok((pixels, labels)) = records::parse(&bytes, &layout) {
                prop_assert_eq!(pixels.len(), labels.len() * 3072);
            }
        }
    }
}
