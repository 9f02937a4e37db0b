//! Densely connected networks, for CIFAR and ImageNet: each layer reads what all earlier ones of its block give (Huang et al. 2017).

mod block;
#[cfg(test)]
mod tests;

use mrpf_api::prelude::*;

use block::{dense_layer, transition};

/// Settings of `densenet`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct DenseNetSettings {
    /// Layers with weights, in three blocks: 6 n + 4 with bottlenecks, such as 40, 100, 190, and 3 n + 4 without. 121, 161, 169 and 201
    /// with bottlenecks have four blocks, as table 1 of the paper; it gives them a growth of 32, and 161 one of 48.
    #[schemars(range(min = 7, max = 1000))]
    pub depth: usize,
    /// Channels that each layer adds, 1 to 512.
    #[schemars(range(min = 1, max = 512))]
    pub growth: usize,
    /// Whether a 1x1 convolution to four times the growth stands before each 3x3 convolution (the B of DenseNet-BC).
    pub bottleneck: bool,
    /// Share of the channels that is left between the blocks, above 0 and at most 1 (the C of DenseNet-BC).
    #[schemars(range(min = 0.0, max = 1.0))]
    pub compression: f64,
    /// How the images enter.
    pub form: Form,
}

/// How the images enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Form {
    /// A 3x3 convolution at full size, for images of about 32 pixels.
    Cifar,
    /// A 7x7 convolution of stride 2, batch norm, ReLU and a 3x3 max pooling of stride 2, for images of about 224 pixels.
    Imagenet,
}

impl Default for DenseNetSettings {
    fn default() -> Self {
        Self { depth: 100, growth: 12, bottleneck: true, compression: 0.5, form: Form::Cifar }
    }
}

register_plugin! {
    kind: Architecture,
    name: "densenet",
    summary: "densely connected network, such as 100-12, for CIFAR or ImageNet",
    source: "Huang et al. 2017, arXiv 1608.06993",
    settings: DenseNetSettings,
    make: |settings| Ok(Box::new(DenseNet::new(settings)?)),
}

/// A checked DenseNet.
#[derive(Debug, Clone)]
pub struct DenseNet {
    /// Layers of each block.
    blocks: Vec<usize>,
    settings: DenseNetSettings,
}

impl DenseNet {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a depth that does not divide into three blocks or is beyond 1000, and values out of range.
    pub fn new(settings: DenseNetSettings) -> Result<Self> {
        let DenseNetSettings { depth, growth, bottleneck, compression, .. } = settings;
        let wrong = |message: String| Err(Error::new(ErrorKind::Settings, message));
        let each = if bottleneck { 6 } else { 3 };
        let blocks = match (depth, bottleneck) {
            (121, true) => vec![6, 12, 24, 16],
            (161, true) => vec![6, 12, 36, 24],
            (169, true) => vec![6, 12, 32, 32],
            (201, true) => vec![6, 12, 48, 32],
            _ if (each + 4..=1000).contains(&depth) && (depth - 4) % each == 0 => vec![(depth - 4) / each; 3],
            _ => return wrong(format!("depth {depth}, expected {each} n + 4, such as 40 or 100")),
        };
        if !(1..=512).contains(&growth) {
            return wrong(format!("growth {growth}, expected 1 to 512"));
        }
        if !(compression > 0.0 && compression <= 1.0) {
            return wrong(format!("compression {compression}, expected above 0 and at most 1"));
        }
        Ok(Self { blocks, settings })
    }
}

impl Architecture for DenseNet {
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        let DenseNetSettings { growth, bottleneck, compression, form, .. } = self.settings;
        let mut net = Builder::new("densenet", request.input, request.classes);
        net.normalize("normalize", &request.mean, &request.std);
        // The paper begins with 16 channels, and DenseNet-BC with twice the growth.
        let stem = match form {
            Form::Cifar => ConvGeometry::same3(),
            Form::Imagenet => ConvGeometry::square(7).stride(2).padding(3),
        };
        net.conv("conv1", if bottleneck { 2 * growth } else { 16 }, stem, false);
        if form == Form::Imagenet {
            net.batch_norm("bn0").relu("relu0");
            net.max_pool("maxpool", PoolGeometry { kernel: [3; 2], stride: [2; 2], padding: [1; 2] });
        }
        for (block, &layers) in (1..).zip(&self.blocks) {
            for layer in 0..layers {
                dense_layer(&mut net, &format!("block{block}.layer.{layer}"), growth, bottleneck);
            }
            if block < self.blocks.len() {
                transition(&mut net, &format!("trans{block}"), compression);
            }
        }
        net.batch_norm("bn1").relu("relu").global_avg_pool("pool").linear("fc", request.classes);
        net.finish()
    }
}
