//! Data set `plugin-name`: bright bars on dark noise, lying or standing.

use mrpf_api::prelude::*;
use std::path::Path;

/// Settings of `plugin-name`; these comments are their help in `mrpf plugins show plugin-name`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct PluginNameSettings {
    /// Height and width of the images; at least 4.
    pub side: usize,
    /// Number of training images; a quarter as many are made for testing.
    #[schemars(range(max = 100_000_000))]
    pub images: usize,
}

impl Default for PluginNameSettings {
    fn default() -> Self {
        Self { side: 8, images: 400 }
    }
}

export_plugin!();

register_plugin! {
    kind: DataSet,
    name: "plugin-name",
    summary: "lying and standing bars, made on the spot",
    source: "own",
    settings: PluginNameSettings,
    make: |settings| Ok(Box::new(PluginName { settings })),
}

struct PluginName {
    settings: PluginNameSettings,
}

impl DataSource for PluginName {
    // A data set of files reads them from `directory`, which is what the user gives as --data-dir.
    fn load(&self, _directory: Option<&Path>) -> Result<LoadedData> {
        let PluginNameSettings { side, images } = self.settings;
        if side < 4 || images < 8 {
            let message = format!("side {side}, images {images}, expected at least 4 and 8");
            return Err(Error::new(ErrorKind::Data, message));
        }
        Ok(LoadedData {
            train: bars("train", side, images)?,
            test: bars("test", side, images / 4)?,
            class_names: vec!["lying".into(), "standing".into()],
            mean: vec![0.25],
            std: vec![0.25],
            mirror_keeps_class: true,
        })
    }
}

/// `count` images of `[1, side, side]`, the classes in turn.
fn bars(name: &str, side: usize, count: usize) -> Result<ImageSet> {
    // The data are the same in every run, so their seed is not the run's.
    let mut stream = Streams::new(1).child(name).stream();
    let mut pixels = Vec::with_capacity(count * side * side);
    for image in 0..count {
        let place = stream.below(side - 1);
        for row in 0..side {
            for column in 0..side {
                let across = if image % 2 == 0 { row } else { column };
                let bright = if (place..place + 2).contains(&across) { 150.0 } else { 0.0 };
                pixels.push((bright + 100.0 * stream.unit()) as u8);
            }
        }
    }
    let labels = (0..count).map(|image| (image % 2) as u32).collect();
    ImageSet::new(ImageShape { channels: 1, height: side, width: side }, pixels, 255, labels, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::DataSet, "plugin-name")
    }
}
