#[cfg(unix)]
mod folders;

use crate::cache::FOLDER;
use crate::decode::{Fit, Target, decode_bytes};
use image::{DynamicImage, ImageFormat, RgbImage};
use mrpf_api::prelude::*;
use mrpf_api::registry::make;
use mrpf_api::serde_json::{Value, json};
use proptest::prelude::*;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

/// A picture in which no two pixels near each other are equal.
fn picture(width: u32, height: u32, shade: u8) -> DynamicImage {
    let pixel = |x: u32, y: u32| image::Rgb([shade, (x * 3) as u8, (y * 3) as u8]);
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, pixel))
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> std::result::Result<Vec<u8>, image::ImageError> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

fn put(path: PathBuf, picture: &DynamicImage, format: ImageFormat) -> Outcome {
    fs::create_dir_all(path.parent().ok_or("a folder")?)?;
    Ok(fs::write(path, encoded(picture, format)?)?)
}

fn load(name: &str, directory: &Path, settings: Value) -> Result<LoadedData> {
    make::<dyn DataSource>(name, settings)?.load(Some(directory))
}

/// Two classes with two training images each, one of them grey, and two images to test with.
fn tiny() -> std::result::Result<tempfile::TempDir, Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("tiny-imagenet-200");
    for (class, shade) in [("n02", 10), ("n01", 200)] {
        let images = root.join("train").join(class).join("images");
        let grey = DynamicImage::ImageLuma8(picture(64, 64, shade).to_luma8());
        put(images.join(format!("{class}_0.JPEG")), &grey, ImageFormat::Jpeg)?;
        put(images.join(format!("{class}_1.JPEG")), &picture(64, 64, shade), ImageFormat::Jpeg)?;
    }
    put(root.join("val/images/val_0.JPEG"), &picture(64, 64, 201), ImageFormat::Jpeg)?;
    put(root.join("val/images/val_1.JPEG"), &picture(64, 64, 9), ImageFormat::Jpeg)?;
    fs::write(root.join("wnids.txt"), "n02\nn01\n")?;
    fs::write(root.join("words.txt"), "n01\tgoldfish, Carassius auratus\nn09\tother\n")?;
    fs::write(root.join("val/val_annotations.txt"), "val_0.JPEG\tn01\t0\t0\t1\t1\nval_1.JPEG\tn02\t0\t0\t1\t1\n")?;
    Ok(directory)
}

#[test]
fn the_layout_of_tiny_imagenet_is_read() -> Outcome {
    let directory = tiny()?;
    for path in [directory.path().to_owned(), directory.path().join("tiny-imagenet-200")] {
        let data = load("tiny-imagenet", &path, json!({}))?;
        assert_eq!((data.train.labels(), data.test.labels()), ([0, 0, 1, 1].as_slice(), [1, 0].as_slice()));
        assert_eq!(data.class_names, ["n02", "goldfish"]);
        // A grey file has three equal planes.
        let grey = data.train.pixels(0);
        assert!(grey[..4096] == grey[4096..8192] && grey[..4096] == grey[8192..]);
        let mean = |image: &[u8]| image[..4096].iter().map(|&value| f64::from(value)).sum::<f64>() / 4096.0;
        assert!((mean(data.train.pixels(1)) - 10.0).abs() < 3.0 && (mean(data.test.pixels(0)) - 201.0).abs() < 3.0);
    }
    Ok(())
}

#[test]
fn what_is_wrong_in_tiny_imagenet_is_named() -> Outcome {
    let jpeg = encoded(&picture(64, 64, 1), ImageFormat::Jpeg)?;
    let cases: [(&str, Vec<u8>, &str); 10] = [
        ("train/n01/images/n01_1.JPEG", Vec::new(), "the file is empty"),
        ("train/n01/images/n01_1.JPEG", jpeg[..jpeg.len() / 2].to_vec(), "the JPEG file has no end mark in its"),
        (
            "train/n01/images/n01_1.JPEG",
            b"<html>404</html>".to_vec(),
            "starts with 3c68746d, expected a JPEG, PNG, WebP",
        ),
        (
            "train/n01/images/n01_1.JPEG",
            encoded(&picture(32, 64, 1), ImageFormat::Jpeg)?,
            "the image is 32x64, expected 64x64",
        ),
        ("wnids.txt", b"n02\n../n01\n".to_vec(), "line 2: `../n01`, expected a class identifier"),
        ("wnids.txt", b"n02\nn02\n".to_vec(), "line 2: `n02` stands there twice"),
        ("val/val_annotations.txt", b"val_0.JPEG\tn07\t0\n".to_vec(), "line 1: class `n07` is not in wnids.txt"),
        ("val/val_annotations.txt", b"../../x\tn01\t0\n".to_vec(), "line 1: `../../x`, expected the name of a file"),
        ("val/val_annotations.txt", b"val_0.JPEG n01\n".to_vec(), "expected a file and a class identifier with a tab"),
        ("val/val_annotations.txt", b"val_7.JPEG\tn01\n".to_vec(), "val_7.JPEG: cannot be read"),
    ];
    for (file, bytes, message) in cases {
        let directory = tiny()?;
        fs::write(directory.path().join("tiny-imagenet-200").join(file), bytes)?;
        let error = load("tiny-imagenet", directory.path(), json!({})).expect_err(message);
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(message), "expected {message}\nfound {error}");
    }
    Ok(())
}

/// Keeps what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<(String, usize, usize)>>);

impl Watcher for Told {
    fn progress(&self, what: &str, done: usize, total: usize) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((what.into(), done, total));
    }

    fn interrupted(&self) -> bool {
        false
    }
}

fn watched(directory: &Path) -> Result<(LoadedData, usize)> {
    let told = Told::default();
    let data = make::<dyn DataSource>("tiny-imagenet", json!({}))?.load_watched(Some(directory), &told)?;
    Ok((data, told.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).len()))
}

#[test]
fn decoded_images_are_kept_until_their_source_changes() -> Outcome {
    let directory = tiny()?;
    let root = directory.path().join("tiny-imagenet-200");
    let kept = root.join(FOLDER).join("tiny-imagenet.safetensors");
    let (first, decoded) = watched(directory.path())?;
    assert!(decoded > 0 && kept.is_file());
    let (second, decoded) = watched(directory.path())?;
    assert_eq!(decoded, 0, "what is kept is used");
    assert_eq!(first.train.all_pixels(), second.train.all_pixels());
    assert_eq!((first.test.all_pixels(), first.test.labels()), (second.test.all_pixels(), second.test.labels()));

    // Another label, another file, and a kept file that is damaged: decoded anew each time, and kept anew.
    let annotations = root.join("val/val_annotations.txt");
    fs::write(&annotations, fs::read_to_string(&annotations)?.replace("val_0.JPEG\tn01", "val_0.JPEG\tn02"))?;
    let (third, decoded) = watched(directory.path())?;
    assert!(decoded > 0 && third.test.labels() == [0, 0]);
    put(root.join("train/n01/images/n01_1.JPEG"), &picture(64, 64, 77), ImageFormat::Jpeg)?;
    let (fourth, decoded) = watched(directory.path())?;
    assert!(decoded > 0 && fourth.train.pixels(3) != third.train.pixels(3));
    let whole = fs::read(&kept)?;
    for damaged in [
        Vec::new(),
        whole[..5].to_vec(),
        whole[..whole.len() - 1].to_vec(),
        vec![255; 400],
        [&whole[..], &[0]].concat(),
        [&whole[..whole.len() - 40], &[whole[whole.len() - 40] ^ 1], &whole[whole.len() - 39..]].concat(),
    ] {
        fs::write(&kept, damaged)?;
        let (fifth, decoded) = watched(directory.path())?;
        assert!(decoded > 0 && fifth.train.all_pixels() == fourth.train.all_pixels());
        assert_eq!(fs::read(&kept)?.len(), whole.len());
    }
    // Without the cache nothing is written.
    fs::remove_dir_all(root.join(FOLDER))?;
    load("tiny-imagenet", directory.path(), json!({ "cache": false }))?;
    assert!(!root.join(FOLDER).exists());
    Ok(())
}

#[test]
fn several_at_once_see_whole_files_only() -> Outcome {
    let directory = tiny()?;
    let alone = load("tiny-imagenet", directory.path(), json!({ "cache": false }))?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| (0..5).map(|_| load("tiny-imagenet", directory.path(), json!({}))).collect::<Vec<_>>())
            })
            .collect();
        for loaded in threads.into_iter().flat_map(|thread| thread.join().expect("no panic")) {
            assert_eq!(loaded.expect("it loads").train.all_pixels(), alone.train.all_pixels());
        }
    });
    let kept = fs::read_dir(directory.path().join("tiny-imagenet-200").join(FOLDER))?.count();
    assert_eq!(kept, 1, "nothing is left beside it");
    Ok(())
}

#[test]
fn pictures_of_any_size_and_format_become_images() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    put(root.join("train/cat/a.PNG"), &picture(40, 20, 250), ImageFormat::Png)?;
    put(root.join("train/cat/deeper/b.jpeg"), &picture(9, 33, 250), ImageFormat::Jpeg)?;
    put(root.join("train/dog/c.webp"), &picture(16, 16, 3), ImageFormat::WebP)?;
    put(root.join("train/dog/d.png"), &DynamicImage::ImageRgba8(picture(5, 5, 3).to_rgba8()), ImageFormat::Png)?;
    fs::write(root.join("train/dog/notes.txt"), "not a picture")?;
    put(root.join("val/dog/e.png"), &picture(16, 16, 3), ImageFormat::Png)?;
    let data = load("image-folder", root, json!({ "size": 16 }))?;
    assert_eq!((data.train.labels(), data.test.labels()), ([0, 0, 1, 1].as_slice(), [1].as_slice()));
    assert_eq!(
        (data.class_names.as_slice(), data.shape().dims()),
        (["cat".to_owned(), "dog".to_owned()].as_slice(), [3, 16, 16])
    );
    // The formats without loss agree, and a picture of the right size is not touched.
    assert_eq!(data.train.pixels(2), data.test.pixels(0));
    assert_eq!(&data.test.pixels(0)[256..260], [0, 3, 6, 9]);
    let expected = data.train.all_pixels().chunks(256).step_by(3).flatten().map(|&value| f64::from(value)).sum::<f64>()
        / (255.0 * 1024.0);
    assert!((data.mean[0] - expected).abs() < 1e-12);
    let grey = load("image-folder", root, json!({ "size": 8, "colour": "grey", "fit": "stretch" }))?;
    assert_eq!((grey.shape().dims(), grey.mean.len()), ([1, 8, 8], 1));
    let error =
        load("image-folder", root, json!({ "fit": "exact", "size": 16 })).expect_err("another size").to_string();
    assert!(error.contains("the image is 40x20, expected 16x16"), "{error}");
    Ok(())
}

#[test]
fn classes_are_held_out_alike_and_by_name_alone() -> Outcome {
    let directory = tempfile::tempdir()?;
    for at in 0..10 {
        put(directory.path().join(format!("a/{at}.png")), &picture(4, 4, at), ImageFormat::Png)?;
        put(directory.path().join(format!("b/{at}.png")), &picture(4, 4, 100 + at), ImageFormat::Png)?;
    }
    let shades = |set: &ImageSet| (0..set.len()).map(|at| set.pixels(at)[0]).collect::<Vec<_>>();
    let data = load("image-folder", directory.path(), json!({ "size": 4 }))?;
    assert_eq!((data.train.len(), data.test.len()), (16, 4));
    assert_eq!(data.test.labels(), [0, 0, 1, 1]);
    let (before, all) = (shades(&data.test), [shades(&data.train), shades(&data.test)].concat());
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 20);
    // One picture more changes one at most.
    put(directory.path().join("a/x.png"), &picture(4, 4, 60), ImageFormat::Png)?;
    let after = shades(&load("image-folder", directory.path(), json!({ "size": 4 }))?.test);
    assert!(before.iter().filter(|shade| after.contains(shade)).count() >= 3, "{before:?} {after:?}");
    Ok(())
}

#[test]
fn folders_of_another_form_are_answered() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let said = |settings: Value| load("image-folder", root, settings).expect_err("wrong").to_string();
    assert!(said(json!({})).contains("0 class folders in"), "{}", said(json!({})));
    put(root.join("cat/a.png"), &picture(4, 4, 0), ImageFormat::Png)?;
    assert!(said(json!({})).contains("1 class folder in"), "{}", said(json!({})));
    put(root.join("dog/a.png"), &picture(4, 4, 0), ImageFormat::Png)?;
    assert!(said(json!({})).contains("class `cat` has one picture"), "{}", said(json!({})));
    fs::create_dir(root.join("owl"))?;
    assert!(said(json!({})).contains("owl holds no picture"), "{}", said(json!({})));
    let split = tempfile::tempdir()?;
    for class in ["train/cat", "train/dog", "test/cat", "test/dgo"] {
        put(split.path().join(class).join("a.png"), &picture(4, 4, 0), ImageFormat::Png)?;
    }
    let error = load("image-folder", split.path(), json!({})).expect_err("an unknown class");
    assert!(error.to_string().starts_with("class `dgo` of"), "{error}");
    assert_eq!(error.hint_text(), Some("did you mean `dog`? known: dog, cat"));
    for (settings, message) in [
        (json!({ "size": 0 }), "setting `size`: found 0, expected 1 to 1024 pixels"),
        (json!({ "test_share": 1.0 }), "setting `test_share`: found 1, expected above 0 and below 1"),
    ] {
        assert!(said(settings).ends_with(message));
    }
    let error = make::<dyn DataSource>("image-folder", json!({}))?.load(None).expect_err("no folder");
    assert_eq!(error.hint_text(), Some("give it with --data-dir DIR"));
    Ok(())
}

#[test]
fn a_header_that_claims_a_huge_picture_is_refused() -> Outcome {
    // A PNG whose header names 30,000 x 30,000 pixels.
    let mut png = encoded(&picture(4, 4, 0), ImageFormat::Png)?;
    png[16..24].copy_from_slice(&[30_000u32.to_be_bytes(), 30_000u32.to_be_bytes()].concat());
    let target = Target { shape: ImageShape { channels: 3, height: 4, width: 4 }, fit: Fit::Crop };
    assert!(decode_bytes(&png, target, &mut [0; 48]).is_err());
    Ok(())
}

#[test]
fn real_tiny_imagenet_is_read_completely() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/tiny-imagenet");
    if !path.is_dir() {
        println!("skipped: {} is not there", path.display());
        return Ok(());
    }
    let data = load("tiny-imagenet", &path, json!({ "cache": false }))?;
    assert_eq!((data.train.len(), data.test.len(), data.classes()), (1_500, 300, 20));
    let count = |set: &ImageSet, class: u32| set.labels().iter().filter(|&&label| label == class).count();
    assert!((0..20).all(|class| count(&data.train, class) == 75 && count(&data.test, class) == 15));
    let grey = |set: &ImageSet| {
        let equal = |at: &usize| set.pixels(*at).chunks(4096).all(|plane| plane == &set.pixels(*at)[..4096]);
        (0..set.len()).filter(equal).count()
    };
    // Colour files of grey pictures may be among them as well.
    assert!(grey(&data.train) >= 26 && grey(&data.test) >= 4);
    Ok(())
}

proptest! {
    #[test]
    fn changed_pictures_never_panic(
        format in prop::sample::select(vec![ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP]),
        changes in prop::collection::vec((0..1200usize, any::<u8>()), 0..6),
        length in 0..1200usize,
    ) {
        let whole = encoded(&picture(20, 12, 9), format).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut bytes = whole;
        bytes.truncate(length);
        for (place, value) in changes {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
        }
        let target = Target { shape: ImageShape { channels: 3, height: 8, width: 8 }, fit: Fit::Crop };
        let mut out = [0; 192];
        let _ = decode_bytes(&bytes, target, &mut out);
    }
}
