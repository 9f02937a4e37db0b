//! What a resumed run refuses to set beside what it has: other settings, other images, damaged files.

use std::path::{Path, PathBuf};

use crate::support::{Playground, quick};

/// Replaces `from` by `to` in a file, where it must stand.
fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).expect("a text file");
    assert!(text.contains(from), "`{from}` is not in {}:\n{text}", path.display());
    std::fs::write(path, text.replacen(from, to, 1)).expect("it is written");
}

#[test]
fn changed_settings_are_refused_with_the_difference() {
    let ground = Playground::new();
    ground.mrpf(&quick(&["run", "--out", "run"])).ok();
    let settings = ground.path("run/experiment.toml");
    let (before, results) = (ground.read("run/experiment.toml"), ground.read("run/results.json"));
    // In each stage: pretraining, measuring, pruning, fine-tuning, attacking.
    for (from, to, stage, difference) in [
        (
            "norm = \"linf\"\nepsilon = 0.1",
            "norm = \"linf\"\nepsilon = 0.2",
            "attack dense-standard",
            "evaluate.threat.epsilon was",
        ),
        ("ratio = 0.5", "ratio = 0.6", "prune mrs-l1-norm", "prune.ratio was 0.5 and is 0.6 now"),
        ("train_images = 200", "train_images = 150", "train standard", "data.train_images was 200 and is 150 now"),
        ("width = 4", "width = 8", "train standard", "network.architecture"),
        ("images = 60", "images = 50", "attack dense-standard", "evaluate.images was 60 and is 50 now"),
        ("seed = 0", "seed = 1", "train standard", "seed was 0 and is 1 now"),
        ("images = 40", "images = 30", "measure mrs", "prune.sensitivity.images was 40 and is 30 now"),
    ] {
        edit(&settings, from, to);
        let way = "start a new run with the new settings, in another directory with --out";
        let told = ground.mrpf(&["run", "--resume", "run"]).fails(2, &[stage, difference, way]);
        assert!(told.stderr.contains("was computed from something else"), "{}", told.stderr);
        std::fs::write(&settings, &before).expect("it is written");
    }
    assert_eq!(ground.read("run/results.json"), results, "nothing was touched");
    // A row that is new takes nothing from the others, and where files lie makes no difference.
    let row = "[[compare]]\nname = \"new\"\ncriterion = \"l2-norm\"\nallocation = \"uniform\"\n";
    std::fs::write(&settings, format!("{before}\n{row}")).expect("it is written");
    let told = ground.mrpf(&["run", "--resume", "run"]).ok();
    assert!(told.stdout.contains("experiment.toml has changed since this run was started"), "{}", told.stdout);
    assert!(ground.path("run/networks/new.safetensors").is_file());
}

#[test]
fn other_images_are_refused() {
    let ground = Playground::new();
    let folder = |name: &str, shade: u8| {
        for (part, class, count) in [("train", "a", 12), ("train", "b", 12), ("test", "a", 4), ("test", "b", 4)] {
            let path = ground.path(&format!("{name}/{part}/{class}"));
            std::fs::create_dir_all(&path).expect("a folder");
            for at in 0..count {
                let pixel =
                    |x: u32, y: u32| image::Rgb([shade, (x * 9 + at) as u8, (y * 9) as u8 + u8::from(class == "a")]);
                image::RgbImage::from_fn(8, 8, pixel).save(path.join(format!("{at}.png"))).expect("a picture");
            }
        }
    };
    folder("mine", 10);
    folder("other", 11);
    let data =
        ["--data", "image-folder", "--data-dir", "mine", "--set", "data.name.size=8", "--set", "data.train_images=24"];
    let train = [quick(&["train", "--out", "run"]), data.to_vec()].concat();
    ground.mrpf(&train).ok();
    ground.mrpf(&["train", "--resume", "run", "--data-dir", "mine"]).ok();
    let told = ground.mrpf(&["train", "--resume", "run", "--data-dir", "other"]);
    told.fails(2, &["`train dense` in run was computed from something else", "training images was"]);
}

/// The files below `folder` that something is computed from.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in ["networks", "training", "sensitivity", "done"] {
        for entry in std::fs::read_dir(folder.join(name)).expect("a folder") {
            found.push(entry.expect("an entry").path());
        }
    }
    found.sort();
    found
}

#[test]
fn a_flipped_bit_in_any_file_is_refused() {
    let ground = Playground::new();
    ground.mrpf(&quick(&["run", "--out", "run"])).ok();
    let results = ground.read("run/results.json");
    for path in kept(&ground.path("run")) {
        let whole = std::fs::read(&path).expect("a file");
        let mut flipped = whole.clone();
        // In the middle of what the file holds; a number or a letter, never the space between two.
        let at = (whole.len() / 2..whole.len()).find(|&at| !whole[at].is_ascii_whitespace()).expect("a place");
        flipped[at] ^= 1;
        std::fs::write(&path, &flipped).expect("it is written");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let told = ground.mrpf(&["run", "--resume", "run"]);
        let damaged = told.stderr.contains("has changed since it was written")
            || told.stderr.contains("is damaged")
            || told.stderr.contains("cannot be read");
        assert!(told.code == Some(4) && damaged && told.stderr.contains(&name), "{name}: {}", told.stderr);
        std::fs::write(&path, &whole).expect("it is written");
    }
    ground.mrpf(&["run", "--resume", "run"]).ok();
    assert_eq!(ground.read("run/results.json"), results);
    // The same where the user names the file.
    let network = ground.path("run/networks/dense.safetensors");
    let mut bytes = std::fs::read(&network).expect("a network");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(ground.path("mine.safetensors"), bytes).expect("it is written");
    let evaluate = quick(&["evaluate", "mine.safetensors", "--data", "digits", "--out", "evaluated"]);
    ground.mrpf(&evaluate).fails(4, &["mine.safetensors", "the file is damaged"]);
    edit(&ground.path("run/sensitivity/mrs.json"), "0.", "1.");
    let prune =
        ["prune", "run/networks/dense.safetensors", "--sensitivity", "run/sensitivity/mrs.json", "--out", "cut"];
    ground.mrpf(&prune).fails(4, &["has changed since it was written", "copy it out of the run directory"]);
}

#[test]
fn a_run_directory_that_is_renamed_ends_the_run() {
    let ground = Playground::new();
    let mut child = ground
        .command(&[quick(&["train", "--out", "run"]), vec!["--set", "pretrain.epochs=400"]].concat())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    while !ground.path("run/checkpoints/dense.safetensors").is_file() {
        assert!(child.try_wait().expect("its state").is_none(), "it ended before the first epoch");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::fs::rename(ground.path("run"), ground.path("renamed")).expect("it is renamed");
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("it was removed, renamed or replaced while this command worked in it"), "{told}");
    assert!(!ground.path("run").exists(), "nothing is made in its place");
}
