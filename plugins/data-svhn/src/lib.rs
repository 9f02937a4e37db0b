//! Data set `svhn`: house numbers photographed from the street, one 32x32 colour image a digit, in MATLAB files (Netzer et al. 2011).

mod digits;
mod mat;

use mrpf_api::prelude::*;
use mrpf_data_files::{Folder, Place};
use std::path::Path;

/// Settings of `svhn`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct SvhnSettings {
    /// Whether the 531,131 easier images of extra_32x32.mat are trained with as well (1.6 GB of memory).
    pub extra: bool,
}

register_plugin! {
    kind: DataSet,
    name: "svhn",
    summary: "32x32 colour photographs of house-number digits; --data-dir holds train_32x32.mat",
    source: "Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning",
    settings: SvhnSettings,
    make: |settings| Ok(Box::new(Svhn { settings })),
}

const PLACE: Place<'static> = Place {
    name: "svhn",
    below: &["svhn", "SVHN"],
    marks: &["train_32x32.mat"],
    advice: "`mrpf data fetch svhn --data-dir DIR` downloads it",
};

/// Published size in bytes and MD5 of each file, as in torchvision 0.20.
const PUBLISHED: [(&str, u64, &str); 3] = [
    ("train_32x32.mat", 182_040_794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
    ("test_32x32.mat", 64_275_384, "eb5a983be6a315427106f1b164d9cef3"),
    ("extra_32x32.mat", 1_329_278_602, "a93ce644f1a588dc4d68dda5feec44a7"),
];

struct Svhn {
    settings: SvhnSettings,
}

impl Svhn {
    /// The files of the training part, in order.
    fn train_files(&self) -> Vec<&'static str> {
        let extra = self.settings.extra.then_some("extra_32x32.mat");
        std::iter::once("train_32x32.mat").chain(extra).collect()
    }
}

impl DataSource for Svhn {
    fn load(&self, directory: Option<&Path>) -> Result<LoadedData> {
        self.load_watched(directory, &Unwatched)
    }

    fn load_watched(&self, directory: Option<&Path>, watcher: &dyn Watcher) -> Result<LoadedData> {
        let folder = PLACE.find(directory)?;
        let train = self.train_files();
        let files = train.len() + 1;
        let read = |names: &[&str], before: usize| read(&folder, names, &|done| watch(watcher, before + done, files));
        Ok(LoadedData {
            train: read(&train, 0)?,
            test: read(&["test_32x32.mat"], train.len())?,
            class_names: (0..10).map(|digit| digit.to_string()).collect(),
            mean: vec![0.4377, 0.4438, 0.4728],
            std: vec![0.1980, 0.2010, 0.1970],
            mirror_keeps_class: false,
        })
    }

    fn downloads(&self) -> Vec<Download> {
        let wanted = PUBLISHED.iter().filter(|(file, ..)| *file != "extra_32x32.mat" || self.settings.extra);
        wanted
            .map(|(file, bytes, md5)| {
                let url = format!("http://ufldl.stanford.edu/housenumbers/{file}");
                Download::with_md5([url.as_str()], *bytes, md5)
            })
            .collect()
    }
}

/// The images of several files, one after the other; `told` is called with the number of files done.
fn read(folder: &Folder, names: &[&str], told: &dyn Fn(usize) -> Result<()>) -> Result<ImageSet> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (done, name) in names.iter().enumerate() {
        told(done)?;
        let path = folder.file(&[name])?;
        let (mut more, mut their_labels) = digits::read(&path)?;
        // The first file's memory is taken over as it is.
        if pixels.is_empty() {
            pixels = more
        } else {
            pixels.append(&mut more)
        }
        labels.append(&mut their_labels);
    }
    told(names.len())?;
    ImageSet::new(digits::SHAPE, pixels, 255, labels, 10)
}

fn watch(watcher: &dyn Watcher, done: usize, files: usize) -> Result<()> {
    watcher.progress("files of svhn", done, files);
    match watcher.interrupted() {
        true => Err(Error::new(ErrorKind::Interrupted, "stopped on request")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
