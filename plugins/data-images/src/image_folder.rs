//! Data set `image-folder`: the user's own pictures, a folder for each class.
//!
//! `train/CLASS/...` and `test/CLASS/...` (or `val/CLASS/...`) where there are such folders; otherwise `CLASS/...`, with a share of
//! each class held out to test with.

use mrpf_api::prelude::*;
use mrpf_data_files::contents;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::decode::{Fit, Target};
use crate::listing::{Entry, Listing, is_image, sorted};
use crate::load::{Request, load, statistics};

/// Folders below a class's folder are looked into down to this depth; a link that leads back up ends there.
const DEEPEST: usize = 8;

/// Settings of `image-folder`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct ImageFolderSettings {
    /// Height and width of the images in pixels, 1 to 1024; pictures of another size are scaled.
    pub size: usize,
    /// How a picture of another size becomes a square of that size.
    pub fit: Fit,
    /// What the pictures are turned into.
    pub colour: Colour,
    /// Share of each class that is held out to test with, where there is no folder `test` or `val`; above 0 and below 1.
    pub test_share: f64,
    /// Whether a mirrored picture is still one of its class, so that training may mirror it.
    pub mirror: bool,
    /// Whether decoded images are kept in the folder .mrpf-decoded beside the data, for the next run.
    pub cache: bool,
}

impl Default for ImageFolderSettings {
    fn default() -> Self {
        Self { size: 64, fit: Fit::Crop, colour: Colour::Rgb, test_share: 0.2, mirror: true, cache: true }
    }
}

/// Colours of images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Colour {
    /// Red, green and blue.
    #[default]
    Rgb,
    /// One grey channel.
    Grey,
}

register_plugin! {
    kind: DataSet,
    name: "image-folder",
    summary: "your own PNG, JPEG and WebP pictures; --data-dir holds a folder for each class",
    source: "own; the layout of torchvision's ImageFolder",
    settings: ImageFolderSettings,
    make: |settings| {
        if !(1..=1024).contains(&settings.size) {
            let message = format!("setting `size`: found {}, expected 1 to 1024 pixels", settings.size);
            return Err(Error::new(ErrorKind::Settings, message));
        }
        if !(settings.test_share > 0.0 && settings.test_share < 1.0) {
            let message = format!("setting `test_share`: found {}, expected above 0 and below 1", settings.test_share);
            return Err(Error::new(ErrorKind::Settings, message));
        }
        Ok(Box::new(ImageFolder { settings }))
    },
}

struct ImageFolder {
    settings: ImageFolderSettings,
}

impl DataSource for ImageFolder {
    fn load(&self, directory: Option<&Path>) -> Result<LoadedData> {
        self.load_watched(directory, &Unwatched)
    }

    fn load_watched(&self, directory: Option<&Path>, watcher: &dyn Watcher) -> Result<LoadedData> {
        let Some(root) = directory else {
            let message =
                "data set `image-folder` needs the folder that holds `train` and `test`, or the classes' folders";
            return Err(Error::new(ErrorKind::Data, message).hint("give it with --data-dir DIR"));
        };
        let ImageFolderSettings { size, fit, colour, test_share, mirror, cache } = self.settings;
        let listing = list(root, test_share)?;
        let channels = if colour == Colour::Rgb { 3 } else { 1 };
        let request = Request {
            root,
            kept_as: format!("image-folder-{channels}x{size}x{size}"),
            target: Target { shape: ImageShape { channels, height: size, width: size }, fit },
            cache,
        };
        let (train, test) = load(&listing, &request, watcher)?;
        let (mean, std) = statistics(&train);
        Ok(LoadedData { train, test, class_names: listing.class_names, mean, std, mirror_keeps_class: mirror })
    }
}

fn list(root: &Path, test_share: f64) -> Result<Listing> {
    let train = root.join("train");
    let pictures = if train.is_dir() { train } else { root.to_owned() };
    let (class_names, found) = classes(&pictures, 2)?;
    let test = ["test", "val"].iter().map(|name| root.join(name)).find(|path| path.is_dir());
    // Folders of these names beside classes are classes, unless there is a folder `train`.
    match test.filter(|_| pictures != root) {
        None => {
            let (train, test) = hold_out(root, &class_names, found, test_share)?;
            Ok(Listing { train, test, class_names })
        }
        Some(folder) => {
            let (names, theirs) = classes(&folder, 1)?;
            let known = class_names.iter().map(String::as_str);
            if let Some(name) = names.iter().find(|name| !class_names.contains(name)) {
                let error = Error::unknown_name("class", name, known);
                let hint = error.hint_text().unwrap_or_default().to_owned();
                let message = format!("class `{name}` of {} has no folder in {}", folder.display(), pictures.display());
                return Err(Error::new(ErrorKind::Data, message).hint(hint));
            }
            let label = |name: &String| class_names.iter().position(|known| known == name).unwrap_or_default();
            let entries = |(name, files): (&String, Vec<PathBuf>)| {
                let label = label(name) as u32;
                files.into_iter().map(move |path| Entry { path, label })
            };
            let train = class_names.iter().zip(found).flat_map(entries).collect();
            Ok(Listing { train, test: names.iter().zip(theirs).flat_map(entries).collect(), class_names })
        }
    }
}

/// The classes in a folder by name, at least `fewest`, with the files of each.
fn classes(folder: &Path, fewest: usize) -> Result<(Vec<String>, Vec<Vec<PathBuf>>)> {
    let wrong = |message: String| {
        let inside = contents(folder).map_or_else(|error| error.to_string(), |inside| format!("holds {inside}"));
        Error::new(ErrorKind::Data, message).hint(format!("{} {inside}", folder.display()))
    };
    let mut found = (Vec::new(), Vec::new());
    for (name, path) in sorted(folder)?.into_iter().filter(|(_, path)| path.is_dir()) {
        let mut files = Vec::new();
        pictures(&path, 0, &mut files)?;
        if files.is_empty() {
            let message =
                format!("class folder {} holds no picture, expected .png, .jpg, .jpeg or .webp files", path.display());
            return Err(wrong(message));
        }
        found.0.push(name);
        found.1.push(files);
    }
    if found.0.len() < fewest {
        let plural = if found.0.len() == 1 { "" } else { "s" };
        return Err(wrong(format!(
            "{} class folder{plural} in {}, expected at least {fewest}, one for each class",
            found.0.len(),
            folder.display()
        )));
    }
    Ok(found)
}

/// The picture files below a folder, sorted.
fn pictures(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    for (name, path) in sorted(folder)? {
        if path.is_dir() {
            if depth < DEEPEST {
                pictures(&path, depth + 1, files)?;
            }
        } else if is_image(&name) {
            files.push(path);
        }
    }
    Ok(())
}

/// Divides each class. Which file goes where depends on its name alone, so that a picture more moves few others.
fn hold_out(
    root: &Path,
    class_names: &[String],
    found: Vec<Vec<PathBuf>>,
    share: f64,
) -> Result<(Vec<Entry>, Vec<Entry>)> {
    // The division is the data set's own and the same in every run, so its seed is not the run's.
    let streams = Streams::new(0).child("image-folder").child("test");
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (label, (class, files)) in class_names.iter().zip(found).enumerate() {
        if files.len() < 2 {
            let message = format!("class `{class}` has one picture, expected one to train with and one to test with");
            return Err(Error::new(ErrorKind::Data, message).hint("add pictures, or make folders `train` and `test`"));
        }
        let held = ((files.len() as f64 * share).round() as usize).clamp(1, files.len() - 1);
        let rank = |path: &PathBuf| {
            let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
            streams.child(name).stream().unit()
        };
        let mut ranked: Vec<(f64, &PathBuf)> = files.iter().map(|path| (rank(path), path)).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        let held: BTreeSet<&PathBuf> = ranked[..held].iter().map(|(_, path)| *path).collect();
        for path in &files {
            let part = if held.contains(&path) { &mut test } else { &mut train };
            part.push(Entry { path: path.clone(), label: label as u32 });
        }
    }
    Ok((train, test))
}
