//! Data set `image-folder`: the user's own pictures, a folder for each class.
//!
//! `train/CLASS/...` and `test/CLASS/...` (or `val/CLASS/...`) where there are such folders, by any of the names that
//! [`Part::of_name`](mrpf_data_files::Part::of_name) knows; otherwise `CLASS/...`. Without a test folder, a share of each class is held
//! out to test with.

use mrpf_api::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::decode::{Fit, Target};
use crate::layout::{Class, Layout, size};
use crate::listing::{Entry, Listing};
use crate::load::{Request, load, statistics};

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
    summary: "your own PNG, JPEG, TIFF and other pictures; --data-dir holds a folder for each class",
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
        let listing = list(root, test_share, watcher)?;
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

fn list(root: &Path, test_share: f64, watcher: &dyn Watcher) -> Result<Listing> {
    let Layout { train: folder, classes, test } = Layout::find(root, watcher)?;
    let class_names: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
    let Some((test_folder, theirs)) = test else {
        let size = size(&classes);
        let (train, test) = hold_out(root, classes, test_share)?;
        watcher.note(&format!(
            "there is no folder `test` or `val`: of {size}, {} are held out to test with (test_share is {test_share})",
            test.len()
        ));
        return Ok(Listing { train, test, class_names });
    };
    let mut test = Vec::new();
    for Class { name, files } in theirs {
        let Some(label) = class_names.iter().position(|known| *known == name) else {
            let hint = Error::unknown_name("class", &name, class_names.iter().map(String::as_str));
            let hint = hint.hint_text().unwrap_or_default().to_owned();
            let (of, train) = (test_folder.display(), folder.display());
            let message = format!("class `{name}` of {of} has no folder in {train}");
            return Err(Error::new(ErrorKind::Data, message).hint(hint));
        };
        test.extend(files.into_iter().map(|path| Entry { path, label: label as u32 }));
    }
    let entries = |(label, Class { files, .. }): (usize, Class)| {
        files.into_iter().map(move |path| Entry { path, label: label as u32 })
    };
    Ok(Listing { train: classes.into_iter().enumerate().flat_map(entries).collect(), test, class_names })
}

/// Divides each class. Which file goes where depends on its name alone, so that a picture more moves few others.
fn hold_out(root: &Path, classes: Vec<Class>, share: f64) -> Result<(Vec<Entry>, Vec<Entry>)> {
    // The division is the data set's own and the same in every run, so its seed is not the run's.
    let streams = Streams::new(0).child("image-folder").child("test");
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (label, Class { name: class, files }) in classes.into_iter().enumerate() {
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
