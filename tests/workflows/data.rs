//! `mrpf data`, and runs on data sets that are read from files.

use crate::support::{Playground, quick, repository};
use image::{Rgb, RgbImage};
use std::path::Path;

#[test]
fn what_a_data_set_holds_is_shown_and_drawn() {
    let ground = Playground::new();
    let ran = ground.mrpf(&["data", "check", "--data", "digits", "--out", "sheet.png"]).ok();
    insta::assert_snapshot!("data_check_digits", ran.stdout);
    let sheet = image::open(ground.path("sheet.png")).expect("a picture").to_rgb8();
    // Ten classes; digits of 8x8 are enlarged fourfold.
    assert_eq!(sheet.dimensions(), (15 * 34 + 14, 10 * 34 + 2));
    let json = ground.mrpf(&["data", "check", "--data", "digits", "--json", "--out", "again.png"]).ok();
    let found: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON alone");
    assert_eq!((found["train"].as_u64(), found["classes"][3]["name"].as_str()), (Some(1437), Some("3")));
    assert_eq!(std::fs::read(ground.path("again.png")).ok(), std::fs::read(ground.path("sheet.png")).ok());
}

#[test]
fn files_of_scipy_are_shown() {
    let folder = repository("tests/fixtures/svhn");
    let folder = folder.to_string_lossy();
    let ground = Playground::new();
    let ran = ground.mrpf(&["data", "check", "--data", "svhn", "--data-dir", &folder, "--set", "extra=true"]).ok();
    assert!(
        ran.stdout.contains("13 images to train with and 3 to test with, 32x32 colour, 10 classes"),
        "{}",
        ran.stdout
    );
}

#[test]
fn wrong_names_and_missing_files_are_answered() {
    let ground = Playground::new();
    let check = |arguments: &[&str]| ground.mrpf(&[&["data", "check", "--data"], arguments].concat());
    check(&["mnits"]).fails(2, &["unknown data set `mnits`", "did you mean `mnist`?"]);
    check(&["cifar100", "--set", "label=coarse"]).fails(2, &["label", "labels"]);
    check(&["mnist"])
        .fails(3, &["data set `mnist` needs the folder", "give it with --data-dir DIR; `mrpf data fetch mnist"]);
    check(&["svhn", "--data-dir", "nowhere"]).fails(3, &["nowhere cannot be read"]);
    let fetch = |arguments: &[&str]| {
        let mut command = ground.command(&[&["data", "fetch"], arguments].concat());
        for proxy in ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env_remove(proxy).env_remove(proxy.to_lowercase());
        }
        crate::support::Ran::new(arguments, command.output().expect("the program starts"))
    };
    fetch(&["cfar10", "--data-dir", "x"]).fails(2, &["unknown data set `cfar10`", "did you mean `cifar10`?"]);
    let fetchable = "these have: cifar10, cifar100, fashion-mnist, mnist, svhn, tiny-imagenet";
    fetch(&["digits", "--data-dir", "x"]).fails(3, &["has no official files to fetch", fetchable]);
    // Nobody listens on this port of this machine.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let from = format!("http://{nobody}/");
    fetch(&["svhn", "--data-dir", "x", "--from", &from]).fails(
        4,
        &[
            "fetching train_32x32.mat: http://127",
            "the connection is refused",
            "check the connection and repeat the same command",
        ],
    );
}

/// Small pictures, so many of each class.
fn shades(folder: &Path, classes: &[(&str, u8)], ending: &str) {
    for (at, (class, count)) in classes.iter().enumerate() {
        std::fs::create_dir_all(folder.join(class)).expect("a folder");
        for number in 0..*count {
            let shade = Rgb([60 * at as u8, number, 7]);
            let path = folder.join(class).join(format!("{number}.{ending}"));
            RgbImage::from_pixel(8, 8, shade).save(path).expect("a picture");
        }
    }
}

#[test]
fn what_was_taken_for_what_and_passed_over_is_told() {
    let ground = Playground::new();
    shades(&ground.path("pictures/Train"), &[("cat", 12), ("dog", 6)], "png");
    shades(&ground.path("pictures/Train"), &[("dog", 8)], "bmp");
    shades(&ground.path("pictures/Valid"), &[("cat", 4)], "tif");
    ground.write("pictures/Train/cat/a.heic", "x");
    let check = ["data", "check", "--data", "image-folder", "--data-dir", "pictures", "--set", "size=8"];
    let ran = ground.mrpf(&check).ok();
    let told = [
        "26 images to train with and 4 to test with",
        "training images are from `Train`: 26 pictures in 2 classes",
        "test images are from `Valid`: 4 pictures in 1 class",
        "warning: pictures of these kinds are not read: 1 .heic",
        "warning: class `dog` has no test images",
    ];
    assert!(told.iter().all(|text| ran.stdout.contains(text)), "{}", ran.stdout);
    let json = ground.mrpf(&[&check[..], &["--json"]].concat()).ok();
    let found: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON alone");
    assert_eq!(
        (found["notes"].as_array().map(Vec::len), found["warnings"].as_array().map(Vec::len)),
        (Some(2), Some(2))
    );
    let run = ["run", "--data", "image-folder", "--data-dir", "pictures", "--out", "out", "--set", "data.name.size=8"];
    let ran = ground.mrpf(&quick(&run)).ok();
    let place = |text: &str| ran.stdout.find(text).unwrap_or_else(|| panic!("`{text}` is not in\n{}", ran.stdout));
    assert!(place("data set `image-folder`: training images are from `Train`") < place("data `image-folder`: "));
    assert!(place("warning: data set `image-folder`: class `dog` has no test images") < place("[1/"));
    assert!(ground.read("out/metrics.jsonl").contains("not read: 1 .heic"));
}

#[test]
fn a_rare_class_is_trained_on_and_a_class_without_images_is_told() {
    let ground = Playground::new();
    shades(&ground.path("pictures/train"), &[("a", 80), ("b", 40), ("c", 4)], "png");
    shades(&ground.path("pictures/test"), &[("a", 20), ("b", 20), ("c", 2)], "png");
    let run = |out: &str, images: &[&str]| {
        let data =
            ["train", "--data", "image-folder", "--data-dir", "pictures", "--out", out, "--set", "data.name.size=8"];
        let few = quick(&[]);
        let training = |pair: &&[&str]| pair[1].starts_with("network") || pair[1].starts_with("pretrain");
        let network: Vec<&str> = few.chunks(2).filter(training).flatten().copied().collect();
        ground.mrpf(&[&data[..], &network, images].concat()).ok().stdout
    };
    let told = run("all", &["--set", "data.holdout=0.1"]);
    // 72, 36 and 4 are trained on: of the rarest, four tenths of an image would be held out.
    assert!(told.contains("112 images to train on, 12 held out"), "{told}");
    assert!(!told.contains("has no"), "{told}");
    let told = run("few", &["--set", "data.train_images=2", "--set", "data.holdout=0"]);
    assert!(told.contains("class `c` has no images to train on, because data.train_images is below"), "{told}");
}

/// Pictures in two classes that are told apart by their colour, of different sizes.
fn pictures(folder: &Path) {
    for (class, base) in [("blue", [30, 40, 200]), ("red", [200, 40, 30])] {
        std::fs::create_dir_all(folder.join(class)).expect("a folder");
        for at in 0..30u8 {
            let (width, height) = (10 + u32::from(at % 7), 9 + u32::from(at % 5));
            let pixel = |x: u32, y: u32| Rgb(base.map(|value: u8| value.wrapping_add((x * 3 + y) as u8 + at)));
            let path = folder.join(class).join(format!("{at}.png"));
            RgbImage::from_fn(width, height, pixel).save(path).expect("a picture");
        }
    }
}

#[test]
fn a_run_on_pictures_of_ones_own() {
    let ground = Playground::new();
    pictures(&ground.path("pictures"));
    let arguments =
        ["run", "--data", "image-folder", "--data-dir", "pictures", "--out", "out", "--set", "data.name.size=8"];
    let ran = ground.mrpf(&quick(&arguments)).ok();
    assert!(ran.stdout.contains("data `image-folder`"), "{}", ran.stdout);
    assert!(ran.stdout.contains("3x8x8, 2 classes"), "{}", ran.stdout);
    assert!(ground.path("pictures/.mrpf-decoded/image-folder-3x8x8.safetensors").is_file());
    // A picture that is damaged is named, also where decoded ones were kept before.
    std::fs::write(ground.path("pictures/red/3.png"), "not a picture").expect("written");
    let again = ["data", "check", "--data", "image-folder", "--data-dir", "pictures", "--set", "size=8"];
    ground
        .mrpf(&again)
        .fails(3, &["3.png: the file starts with 6e6f7420, expected a JPEG, PNG, WebP, BMP, TIFF, GIF or PNM image"]);
}

#[test]
fn cutout_is_a_setting_and_does_not_depend_on_the_threads() {
    let ground = Playground::new();
    let weights = |out: &str, threads: &str| {
        let arguments = ["train", "--out", out, "--threads", threads, "--set", "pretrain.augment.cutout=3"];
        ground.mrpf(&quick(&arguments)).ok();
        std::fs::read(ground.path(&format!("{out}/networks/dense.safetensors"))).expect("a network")
    };
    assert!(weights("one", "1") == weights("two", "2"), "the threads change the network");
}

#[test]
fn real_mnist_is_trained_on() {
    let data = repository("../shared/data/mnist");
    if !data.is_dir() {
        println!("skipped: {} is not there", data.display());
        return;
    }
    let ground = Playground::new();
    let data = data.to_string_lossy();
    let arguments = ["train", "--data", "mnist", "--data-dir", &data, "--out", "out", "--set", "data.train_images=100"];
    let few =
        ["--set", "network.architecture.width=4", "--set", "pretrain.epochs=1", "--set", "pretrain.trainer.steps=1"];
    let ran = ground.mrpf(&[&arguments[..], &few, &["--set", "pretrain.validation.steps=1"]].concat()).ok();
    assert!(ran.stdout.contains("10000 to test, 1x28x28, 10 classes"), "{}", ran.stdout);
}
