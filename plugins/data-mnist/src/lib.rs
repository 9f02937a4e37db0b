//! Data sets `mnist` (LeCun et al. 1998) and `fashion-mnist` (Xiao et al. 2017): 28x28 grey images in idx files, gzip or plain.

mod idx;

use mrpf_api::prelude::*;
use mrpf_data_files::Place;
use std::path::Path;

/// Neither data set has settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct NoSettings {}

register_plugin! {
    kind: DataSet,
    name: "mnist",
    summary: "28x28 grey handwritten digits; --data-dir holds train-images-idx3-ubyte.gz",
    source: "LeCun, Cortes and Burges 1998, The MNIST database of handwritten digits",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(MNIST)),
}

register_plugin! {
    kind: DataSet,
    name: "fashion-mnist",
    summary: "28x28 grey photographs of clothes in 10 classes; --data-dir holds train-images-idx3-ubyte.gz",
    source: "Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(FASHION_MNIST)),
}

/// What tells the two data sets apart, whose files have the same names and layout.
struct Idx {
    place: Place<'static>,
    classes: [&'static str; 10],
    mean: f64,
    std: f64,
    mirror_keeps_class: bool,
    /// Addresses under which the four files of [`FILES`] are found.
    servers: &'static [&'static str],
    /// Published size and MD5 of each file of [`FILES`].
    published: [(u64, &'static str); 4],
}

/// Images and labels to train with, then to test with.
const FILES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// Sizes, checksums and mirror as torchvision 0.20 has them; the authors' own server no longer gives the files away.
const MNIST: Idx = Idx {
    place: Place {
        name: "mnist",
        below: &["mnist", "MNIST/raw"],
        marks: &["train-images-idx3-ubyte.gz", "train-images-idx3-ubyte", "train-images.idx3-ubyte"],
        advice: "`mrpf data fetch mnist --data-dir DIR` downloads it",
    },
    classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    mean: 0.1307,
    std: 0.3081,
    mirror_keeps_class: false,
    servers: &["https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"],
    published: [
        (9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        (28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
        (1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
        (4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
    ],
};

/// Class names, sizes and checksums as in the authors' repository.
const FASHION_MNIST: Idx = Idx {
    place: Place {
        name: "fashion-mnist",
        below: &["fashion-mnist", "FashionMNIST/raw"],
        marks: &["train-images-idx3-ubyte.gz", "train-images-idx3-ubyte", "train-images.idx3-ubyte"],
        advice: "`mrpf data fetch fashion-mnist --data-dir DIR` downloads it",
    },
    classes: ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
    mean: 0.2860,
    std: 0.3530,
    mirror_keeps_class: true,
    servers: &[
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ],
    published: [
        (26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        (29_515, "25c81989df183df01b3e8a0aad5dffbe"),
        (4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
        (5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
    ],
};

impl DataSource for Idx {
    fn load(&self, directory: Option<&Path>) -> Result<LoadedData> {
        let folder = self.place.find(directory)?;
        let part = |images: &str, labels: &str| -> Result<ImageSet> {
            // Compressed, plain, and as some tools name the plain one.
            let find = |name: &str| {
                let dotted = name.replace("-idx", ".idx");
                folder.file(&[&format!("{name}.gz"), name, &dotted, &format!("{dotted}.gz")])
            };
            idx::read(&find(images)?, &find(labels)?, self.classes.len())
        };
        Ok(LoadedData {
            train: part(FILES[0], FILES[1])?,
            test: part(FILES[2], FILES[3])?,
            class_names: self.classes.map(str::to_owned).to_vec(),
            mean: vec![self.mean],
            std: vec![self.std],
            mirror_keeps_class: self.mirror_keeps_class,
        })
    }

    fn downloads(&self) -> Vec<Download> {
        let files = FILES.iter().zip(self.published);
        files
            .map(|(file, (bytes, md5))| {
                let urls: Vec<String> = self.servers.iter().map(|server| format!("{server}{file}.gz")).collect();
                Download::with_md5(urls.iter().map(String::as_str), bytes, md5)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
