//! Data set `tiny-imagenet`: 64x64 photographs in 200 classes, in the layout of the Stanford course CS231n.
//!
//! `wnids.txt` has one class identifier a line, and the line number is the label. Training images are in
//! `train/IDENTIFIER/images`; the labels of `val/images`, which serve as test images, are in `val/val_annotations.txt`. The images
//! in `test` have no labels and are not read.

use mrpf_api::prelude::*;
use mrpf_data_files::{Folder, Place, read_small};
use std::collections::BTreeMap;
use std::path::Path;

use crate::decode::{Fit, Target};
use crate::listing::{Entry, Listing, is_image, sorted};
use crate::load::{Request, load};
use crate::passed_over::PassedOver;

const SHAPE: ImageShape = ImageShape { channels: 3, height: 64, width: 64 };
/// The folder that the official archive unpacks to.
const FOLDER: &str = "tiny-imagenet-200";
/// No text file of the data set is larger (words.txt has 2.6 MB).
const LARGEST_TEXT: u64 = 64 << 20;

/// Settings of `tiny-imagenet`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct TinyImagenetSettings {
    /// Whether decoded images are kept in the folder .mrpf-decoded beside the data (1.4 GB for the whole set), for the next run.
    pub cache: bool,
}

impl Default for TinyImagenetSettings {
    fn default() -> Self {
        Self { cache: true }
    }
}

register_plugin! {
    kind: DataSet,
    name: "tiny-imagenet",
    summary: "64x64 colour photographs in 200 classes; --data-dir holds tiny-imagenet-200",
    source: "Stanford CS231n; Le and Yang 2015, Tiny ImageNet Visual Recognition Challenge",
    settings: TinyImagenetSettings,
    make: |settings| Ok(Box::new(TinyImagenet { settings })),
}

const PLACE: Place<'static> = Place {
    name: "tiny-imagenet",
    below: &[FOLDER],
    marks: &["wnids.txt"],
    advice: "`mrpf data fetch tiny-imagenet --data-dir DIR` downloads it",
};

struct TinyImagenet {
    settings: TinyImagenetSettings,
}

impl DataSource for TinyImagenet {
    fn load(&self, directory: Option<&Path>) -> Result<LoadedData> {
        self.load_watched(directory, &Unwatched)
    }

    fn load_watched(&self, directory: Option<&Path>, watcher: &dyn Watcher) -> Result<LoadedData> {
        let folder = PLACE.find(directory)?;
        let mut passed = PassedOver::default();
        let listing = list(&folder, &mut passed)?;
        passed.tell(watcher);
        let request = Request {
            root: folder.path(),
            kept_as: "tiny-imagenet".into(),
            target: Target { shape: SHAPE, fit: Fit::Exact },
            cache: self.settings.cache,
        };
        let (train, test) = load(&listing, &request, watcher)?;
        Ok(LoadedData {
            train,
            test,
            class_names: listing.class_names,
            // Over the whole training set.
            mean: vec![0.4802, 0.4481, 0.3975],
            std: vec![0.2770, 0.2691, 0.2821],
            mirror_keeps_class: true,
        })
    }

    fn downloads(&self) -> Vec<Download> {
        // The archive holds 120,000 images of a few kilobytes.
        let url = "http://cs231n.stanford.edu/tiny-imagenet-200.zip";
        let archive = Download::with_md5([url], 248_100_043, "90528d7ca1a48142e341f4ef8d21d0de");
        vec![archive.unpacked(ArchiveFormat::Zip, FOLDER, 2 << 30)]
    }
}

fn list(folder: &Folder, passed: &mut PassedOver) -> Result<Listing> {
    let identifiers = identifiers(folder)?;
    let labels: BTreeMap<&str, u32> = identifiers.iter().map(String::as_str).zip(0..).collect();
    let mut train = Vec::new();
    for (identifier, label) in identifiers.iter().zip(0..) {
        let images = folder.path().join("train").join(identifier).join("images");
        let before = train.len();
        for (name, path) in sorted(&images)? {
            if is_image(&name) { train.push(Entry { path, label }) } else { passed.file(&name) }
        }
        if train.len() == before {
            let message = format!("{} holds no image, expected those of class {label}", images.display());
            return Err(Error::new(ErrorKind::Data, message).hint(PLACE.advice));
        }
    }
    let test = annotated(folder, &labels)?;
    Ok(Listing { train, test, class_names: class_names(folder, &identifiers)? })
}

/// The class identifiers in the order of their labels.
fn identifiers(folder: &Folder) -> Result<Vec<String>> {
    let path = folder.file(&["wnids.txt"])?;
    let text = read_small(&path, LARGEST_TEXT)?;
    let wrong = |why: String| Error::new(ErrorKind::Data, why).context(format!("reading {}", path.display()));
    let identifiers: Vec<String> =
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    if identifiers.len() < 2 {
        return Err(wrong(format!("{} class identifiers, expected one a line, such as n02124075", identifiers.len())));
    }
    for (line, identifier) in identifiers.iter().enumerate() {
        if !is_plain_name(identifier) {
            return Err(wrong(format!(
                "line {}: `{identifier}`, expected a class identifier such as n02124075",
                line + 1
            )));
        }
        if identifiers[..line].contains(identifier) {
            return Err(wrong(format!("line {}: `{identifier}` stands there twice", line + 1)));
        }
    }
    Ok(identifiers)
}

/// The test images with the labels of `val_annotations.txt`: file, class identifier and a box, separated by tabs.
fn annotated(folder: &Folder, labels: &BTreeMap<&str, u32>) -> Result<Vec<Entry>> {
    let val = Folder::at(folder.path().join("val"));
    let path = val.file(&["val_annotations.txt"])?;
    let text = read_small(&path, LARGEST_TEXT)?;
    let wrong = |why: String| Error::new(ErrorKind::Data, why).context(format!("reading {}", path.display()));
    let mut test = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = |why: String| wrong(format!("line {}: {why}", number + 1));
        let mut fields = line.split('\t').map(str::trim);
        let (Some(file), Some(identifier)) = (fields.next(), fields.next()) else {
            return Err(at(format!("`{line}`, expected a file and a class identifier with a tab between them")));
        };
        if !is_plain_name(file) {
            return Err(at(format!("`{file}`, expected the name of a file in val/images")));
        }
        let Some(&label) = labels.get(identifier) else {
            return Err(at(format!("class `{identifier}` is not in wnids.txt")));
        };
        test.push(Entry { path: val.path().join("images").join(file), label });
    }
    if test.is_empty() {
        return Err(wrong("no line, expected one for each image in val/images".into()));
    }
    Ok(test)
}

/// The first word for each class in `words.txt`, or its identifier where that file is missing.
fn class_names(folder: &Folder, identifiers: &[String]) -> Result<Vec<String>> {
    let words = match folder.path().join("words.txt") {
        path if path.is_file() => read_small(&path, LARGEST_TEXT)?,
        _ => String::new(),
    };
    let words: BTreeMap<&str, &str> = words.lines().filter_map(|line| line.split_once('\t')).collect();
    let name = |identifier: &String| {
        let first = words.get(identifier.as_str()).and_then(|words| words.split(',').next()).map(str::trim);
        first.filter(|name| !name.is_empty()).unwrap_or(identifier).to_owned()
    };
    Ok(identifiers.iter().map(name).collect())
}

/// Whether a name leads to no other folder.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}
