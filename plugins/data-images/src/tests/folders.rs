//! Folders of other forms: parts by other names, other kinds of pictures, links, and what is no file.

use super::*;
use std::os::unix::fs::symlink;

/// Keeps what a data set tells of itself.
#[derive(Default)]
struct Said(Mutex<(Vec<String>, Vec<String>)>);

impl Watcher for Said {
    fn progress(&self, _: &str, _: usize, _: usize) {}

    fn warn(&self, message: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1.push(message.into());
    }

    fn note(&self, message: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0.push(message.into());
    }

    fn interrupted(&self) -> bool {
        false
    }
}

/// The data with the notes and the warnings.
fn heard(directory: &Path) -> Result<(LoadedData, Vec<String>, Vec<String>)> {
    let (said, settings) = (Said::default(), json!({ "size": 4, "cache": false }));
    let data = make::<dyn DataSource>("image-folder", settings)?.load_watched(Some(directory), &said)?;
    let (notes, warnings) = said.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok((data, notes, warnings))
}

/// So many pictures in each of two classes.
fn classes(folder: &Path, count: u8) -> Outcome {
    for (class, shade) in [("cat", 0), ("dog", 100)] {
        for at in 0..count {
            put(folder.join(class).join(format!("{at}.png")), &picture(4, 4, shade + at), ImageFormat::Png)?;
        }
    }
    Ok(())
}

#[test]
fn parts_are_known_by_other_names_and_told() -> Outcome {
    for (train, test) in
        [("Train", "Test"), ("TRAIN", "VAL"), ("training", "testing"), ("train", "valid"), ("train", "Validation")]
    {
        let directory = tempfile::tempdir()?;
        classes(&directory.path().join(train), 3)?;
        classes(&directory.path().join(test), 2)?;
        let (data, notes, warnings) = heard(directory.path())?;
        assert_eq!((data.train.len(), data.test.len()), (6, 4));
        assert_eq!(data.class_names, ["cat", "dog"]);
        let told = [
            format!("training images are from `{train}`: 6 pictures in 2 classes"),
            format!("test images are from `{test}`: 4 pictures in 2 classes"),
        ];
        assert_eq!((notes, warnings), (told.to_vec(), vec![]));
    }
    Ok(())
}

#[test]
fn folders_that_are_not_read_are_told() -> Outcome {
    let directory = tempfile::tempdir()?;
    for (folder, count) in [("train", 5), ("test", 2), ("val", 1), ("more", 2)] {
        classes(&directory.path().join(folder), count)?;
    }
    fs::create_dir(directory.path().join("empty"))?;
    put(directory.path().join("train/stray.png"), &picture(4, 4, 0), ImageFormat::Png)?;
    let (_, _, warnings) = heard(directory.path())?;
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert_eq!(warnings[0], "`more` is not read, with 4 pictures in it: it is no part of the data set");
    assert!(warnings[1].starts_with("`val` is not read, with 2 pictures in it"), "{warnings:?}");
    assert!(warnings[2].starts_with("1 picture beside the class folders of "), "{warnings:?}");
    // Without a part to test with.
    let directory = tempfile::tempdir()?;
    classes(&directory.path().join("Training"), 5)?;
    let (data, notes, _) = heard(directory.path())?;
    assert_eq!((data.train.len(), data.test.len()), (8, 2));
    assert!(notes[1].contains("of 10 pictures in 2 classes, 2 are held out"), "{notes:?}");
    Ok(())
}

#[test]
fn a_class_may_have_the_name_of_a_part() -> Outcome {
    let directory = tempfile::tempdir()?;
    classes(directory.path(), 2)?;
    for at in 0..3 {
        put(directory.path().join(format!("Train/{at}.png")), &picture(4, 4, at), ImageFormat::Png)?;
    }
    let (data, _, warnings) = heard(directory.path())?;
    assert_eq!(data.class_names, ["Train", "cat", "dog"]);
    assert!(warnings[0].starts_with("`Train` taken for a class"), "{warnings:?}");
    Ok(())
}

#[test]
fn parts_that_cannot_be_told_apart_are_refused() -> Outcome {
    let directory = tempfile::tempdir()?;
    classes(&directory.path().join("test"), 2)?;
    classes(&directory.path().join("val"), 2)?;
    let error = heard(directory.path()).err().ok_or("no training part")?;
    assert!(
        error.to_string().ends_with("holds `test`, `val` and no folder `train` with a folder for each class in it"),
        "{error}"
    );
    classes(&directory.path().join("train"), 2)?;
    classes(&directory.path().join("Training"), 2)?;
    let error = heard(directory.path()).err().ok_or("two training parts")?;
    assert!(error.to_string().ends_with("holds `Training`, `train`, expected one of them"), "{error}");
    Ok(())
}

#[test]
fn pictures_of_all_kinds_are_read_and_others_counted() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let kinds = [
        ("bmp", ImageFormat::Bmp),
        ("tif", ImageFormat::Tiff),
        ("TIFF", ImageFormat::Tiff),
        ("ppm", ImageFormat::Pnm),
        ("pnm", ImageFormat::Pnm),
        ("gif", ImageFormat::Gif),
        ("JFIF", ImageFormat::Jpeg),
        ("jpe", ImageFormat::Jpeg),
    ];
    for (at, (ending, format)) in kinds.into_iter().enumerate() {
        put(root.join(format!("train/cat/{at}.{ending}")), &picture(4, 4, 60), format)?;
    }
    let grey = DynamicImage::ImageLuma8(picture(4, 4, 60).to_luma8());
    put(root.join("train/cat/8.pgm"), &grey, ImageFormat::Pnm)?;
    fs::write(root.join("train/cat/9.pbm"), b"P1\n4 4\n1 0 1 0 0 1 0 1 1 0 1 0 0 1 0 1\n")?;
    put(root.join("train/dog/a.png"), &picture(4, 4, 60), ImageFormat::Png)?;
    put(root.join("test/dog/a.png"), &picture(4, 4, 60), ImageFormat::Png)?;
    for name in ["a.HEIC", "b.heic", "c.svg", "d.txt", "e"] {
        fs::write(root.join("train/dog").join(name), "x")?;
    }
    let (data, notes, warnings) = heard(root)?;
    assert_eq!(data.train.labels(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    // Those without loss are equal to the PNG file.
    assert!((0..5).all(|at| data.train.pixels(at) == data.train.pixels(10)));
    let kinds = "pictures of these kinds are not read: 2 .heic, 1 .svg; convert them, for example to .png";
    assert_eq!(warnings, [kinds]);
    assert_eq!(
        notes.last().map(String::as_str),
        Some("files that are no pictures by their names: 1 without an ending, 1 .txt")
    );
    // A class of such files alone is named with what it holds.
    fs::create_dir(root.join("train/emu"))?;
    fs::write(root.join("train/emu/a.heic"), "x")?;
    let error = heard(root).err().ok_or("no picture in it")?;
    assert!(error.to_string().contains("emu holds no picture, expected files ending in .jpg,"), "{error}");
    assert!(error.to_string().ends_with("; it holds 1 .heic"), "{error}");
    Ok(())
}

#[test]
fn links_that_lead_up_or_in_circles_are_not_followed() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    classes(&root.join("data"), 3)?;
    for at in 0..30 {
        symlink("..", root.join(format!("data/cat/up{at}")))?;
        symlink(".", root.join(format!("data/cat/here{at}")))?;
    }
    symlink(root, root.join("data/dog/root"))?;
    symlink("..", root.join("data/all"))?;
    // Folders outside that link to each other many times over.
    for folder in ["a", "b"] {
        put(root.join(folder).join("x.png"), &picture(4, 4, 7), ImageFormat::Png)?;
        for at in 0..30 {
            symlink(root.join(if folder == "a" { "b" } else { "a" }), root.join(folder).join(format!("{at}")))?;
        }
    }
    symlink(root.join("a"), root.join("data/dog/a"))?;
    let (data, _, warnings) = heard(&root.join("data"))?;
    assert_eq!(data.class_names, ["cat", "dog"]);
    assert_eq!(data.train.len() + data.test.len(), 3 + 3 + 2);
    // Sixty in `cat`, and those in `dog` and beside the classes.
    assert!(warnings[0].starts_with("62 folders not read, being links to a folder that holds them: "), "{warnings:?}");
    let mut deep = root.join("data/cat");
    (0..12).for_each(|_| deep.push("d"));
    put(deep.join("x.png"), &picture(4, 4, 7), ImageFormat::Png)?;
    let (_, _, warnings) = heard(&root.join("data"))?;
    assert!(warnings[1].starts_with("1 folder not read, lying too deep below their class: "), "{warnings:?}");
    Ok(())
}

#[test]
fn pipes_and_devices_are_refused_by_name() -> Outcome {
    for (name, kind) in [("pipe.png", "a named pipe"), ("zero.png", "a device")] {
        let directory = tempfile::tempdir()?;
        classes(directory.path(), 2)?;
        let path = directory.path().join("cat").join(name);
        match kind {
            "a device" => symlink("/dev/zero", &path)?,
            _ => assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success()),
        }
        for cache in [false, true] {
            let error = load("image-folder", directory.path(), json!({ "size": 4, "cache": cache })).expect_err(kind);
            assert!(error.to_string().ends_with(&format!("{name}: is {kind}, expected a file")), "{error}");
        }
    }
    Ok(())
}

#[test]
fn pictures_that_would_fill_the_memory_are_refused() {
    let side = 16_383u32;
    // A WebP file without loss says its size in 14 bits each.
    let bits = (side - 1) | (side - 1) << 14;
    let webp = [b"RIFF\x1e\0\0\0WEBPVP8L\x12\0\0\0\x2f".as_slice(), &bits.to_le_bytes(), &[0; 13]].concat();
    let pnm = format!("P6\n{side} {side}\n255\nxxx").into_bytes();
    let mut bmp = [0; 64];
    bmp[..2].copy_from_slice(b"BM");
    bmp[10] = 54;
    bmp[14] = 40;
    bmp[18..22].copy_from_slice(&side.to_le_bytes());
    bmp[22..26].copy_from_slice(&side.to_le_bytes());
    bmp[26] = 1;
    bmp[28] = 24;
    let target = Target { shape: ImageShape { channels: 3, height: 4, width: 4 }, fit: Fit::Crop };
    for bytes in [webp, pnm, bmp.to_vec()] {
        let why = decode_bytes(&bytes, target, &mut [0; 48]).expect_err("too large");
        assert!(why.starts_with("the image is 16383x16383 and takes"), "{why}");
        assert!(why.contains("at most 100 million pixels"), "{why}");
    }
}
