//! Densely connected networks for CIFAR: each layer reads what all earlier ones of its block give (Huang et al. 2017).

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
    /// Layers with weights, in three blocks: 6 n + 4 with bottlenecks, such as 40, 100, 190, and 3 n + 4 without.
    pub depth: usize,
    /// Channels that each layer adds, 1 to 512.
    pub growth: usize,
    /// Whether a 1x1 convolution to four times the growth stands before each 3x3 convolution (the B of DenseNet-BC).
    pub bottleneck: bool,
    /// Share of the channels that is left between the blocks, above 0 and at most 1 (the C of DenseNet-BC).
    pub compression: f64,
}

impl Default for DenseNetSettings {
    fn default() -> Self {
        Self { depth: 100, growth: 12, bottleneck: true, compression: 0.5 }
    }
}

register_plugin! {
    kind: Architecture,
    name: "densenet",
    summary: "densely connected network for CIFAR, such as DenseNet-BC 100-12",
    source: "Huang et al. 2017, arXiv 1608.06993",
    settings: DenseNetSettings,
    make: |settings| Ok(Box::new(DenseNet::new(settings)?)),
}

/// A checked DenseNet.
#[derive(Debug, Clone)]
pub struct DenseNet {
    layers: usize,
    settings: DenseNetSettings,
}

impl DenseNet {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a depth that does not divide into three blocks or is beyond 1000, and values out of range.
    pub fn new(settings: DenseNetSettings) -> Result<Self> {
        let DenseNetSettings { depth, growth, bottleneck, compression } = settings;
        let wrong = |message: String| Err(Error::new(ErrorKind::Settings, message));
        let each = if bottleneck { 6 } else { 3 };
        if !(each + 4..=1000).contains(&depth) || (depth - 4) % each != 0 {
            return wrong(format!("depth {depth}, expected {each} n + 4, such as 40 or 100"));
        }
        if !(1..=512).contains(&growth) {
            return wrong(format!("growth {growth}, expected 1 to 512"));
        }
        if !(compression > 0.0 && compression <= 1.0) {
            return wrong(format!("compression {compression}, expected above 0 and at most 1"));
        }
        Ok(Self { layers: (depth - 4) / each, settings })
    }
}

impl Architecture for DenseNet {
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        let DenseNetSettings { growth, bottleneck, compression, .. } = self.settings;
        let mut net = Builder::new("densenet", request.input, request.classes);
        net.normalize("normalize", &request.mean, &request.std);
        // The paper begins with 16 channels, and DenseNet-BC with twice the growth.
        net.conv("conv1", if bottleneck { 2 * growth } else { 16 }, ConvGeometry::same3(), false);
        for block in 1..=3 {
            for layer in 0..self.layers {
                dense_layer(&mut net, &format!("block{block}.layer.{layer}"), growth, bottleneck);
            }
            if block < 3 {
                transition(&mut net, &format!("trans{block}"), compression);
            }
        }
        net.batch_norm("bn1").relu("relu").global_avg_pool("pool").linear("fc", request.classes);
        net.finish()
    }
}
