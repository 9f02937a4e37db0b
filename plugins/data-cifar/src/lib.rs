//! Data sets `cifar10` and `cifar100` in their official binary layout (Krizhevsky 2009).

mod records;

use mrpf_api::prelude::*;
use std::path::Path;

use records::{Layout, Records};

/// `cifar10` has no settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct NoSettings {}

/// Settings of `cifar100`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct Cifar100Settings {
    /// Which of the two labels of an image is used.
    pub labels: Labels,
}

/// Labels of CIFAR-100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Labels {
    /// 100 classes.
    #[default]
    Fine,
    /// 20 superclasses.
    Coarse,
}

register_plugin! {
    kind: DataSet,
    name: "cifar10",
    summary: "32x32 colour photographs in 10 classes; --data-dir holds cifar-10-batches-bin",
    source: "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(Cifar10)),
}

register_plugin! {
    kind: DataSet,
    name: "cifar100",
    summary: "32x32 colour photographs in 100 classes; --data-dir holds cifar-100-binary",
    source: "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    settings: Cifar100Settings,
    make: |settings| Ok(Box::new(Cifar100(settings.labels))),
}

const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

struct Cifar10;

impl DataSource for Cifar10 {
    fn load(&self, directory: Option<&Path>) -> Result<LoadedData> {
        let layout = Layout { folder: "cifar-10-batches-bin", test: "test_batch.bin", label_bytes: &[10], label: 0 };
        let files = Records::open("cifar10", directory, &layout)?;
        let train: Vec<String> = (1..=5).map(|number| format!("data_batch_{number}.bin")).collect();
        let names = files.names("batches.meta.txt", 10);
        Ok(LoadedData {
            train: files.read(&train)?,
            test: files.read(&[layout.test.into()])?,
            class_names: names.unwrap_or_else(|| CIFAR10_CLASSES.map(str::to_owned).to_vec()),
            mean: vec![0.4914, 0.4822, 0.4465],
            std: vec![0.2470, 0.2435, 0.2616],
            mirror_keeps_class: true,
        })
    }

    fn downloads(&self) -> Vec<Download> {
        let url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";
        let archive = Download::with_md5([url], 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530");
        vec![archive.unpacked(ArchiveFormat::TarGz, "cifar-10-batches-bin", 200 << 20)]
    }
}

struct Cifar100(Labels);

impl DataSource for Cifar100 {
    fn load(&self, directory: Option<&Path>) -> Result<LoadedData> {
        let (label, classes, meta) = match self.0 {
            Labels::Coarse => (0, 20, "coarse_label_names.txt"),
            Labels::Fine => (1, 100, "fine_label_names.txt"),
        };
        let layout = Layout { folder: "cifar-100-binary", test: "test.bin", label_bytes: &[20, 100], label };
        let files = Records::open("cifar100", directory, &layout)?;
        let names = files.names(meta, classes);
        Ok(LoadedData {
            train: files.read(&["train.bin".into()])?,
            test: files.read(&[layout.test.into()])?,
            class_names: names.unwrap_or_else(|| (0..classes).map(|class| format!("class {class}")).collect()),
            mean: vec![0.5071, 0.4865, 0.4409],
            std: vec![0.2673, 0.2564, 0.2762],
            mirror_keeps_class: true,
        })
    }

    fn downloads(&self) -> Vec<Download> {
        let url = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz";
        let archive = Download::with_md5([url], 168_513_733, "03b5dce01913d631647c71ecec9e9cb8");
        vec![archive.unpacked(ArchiveFormat::TarGz, "cifar-100-binary", 200 << 20)]
    }
}

#[cfg(test)]
mod tests;
