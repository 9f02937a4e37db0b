//! Residual networks, in the forms for CIFAR and for ImageNet (He et al. 2016).

mod block;
#[cfg(test)]
mod tests;

use mrpf_api::prelude::*;

/// Settings of `resnet`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct ResNetSettings {
    /// Layers with weights. 8, 14, 20, 32, 44, 56 and 110 have three stages of (depth - 2) / 6 blocks, as the paper's section 4.2;
    /// 18, 34, 50, 101 and 152 have four stages, as its table 1, from 50 on of bottleneck blocks.
    #[schemars(range(min = 8, max = 152))]
    pub depth: usize,
    /// How the images enter.
    pub form: Form,
    /// Channels of the first stage, of its 3x3 convolutions; each later stage has twice as many. 1 to 4096; 16 for three stages
    /// and 64 for four when not given.
    #[schemars(range(min = 1, max = 4096))]
    pub width: Option<usize>,
    /// How a block whose input and output differ in shape adds the two.
    pub shortcut: Shortcut,
}

/// How the images enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Form {
    /// A 3x3 convolution at full size, for images of about 32 pixels.
    Cifar,
    /// A 7x7 convolution of stride 2 and a 3x3 max pooling of stride 2, for images of about 224 pixels.
    Imagenet,
}

/// The shortcut of a block that changes the shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Shortcut {
    /// A 1x1 convolution and a batch norm (option B).
    Projection,
    /// Every other pixel and zero channels, without parameters (option A); freezes the channels between the blocks.
    Padding,
}

impl Default for ResNetSettings {
    fn default() -> Self {
        Self { depth: 20, form: Form::Cifar, width: None, shortcut: Shortcut::Projection }
    }
}

register_plugin! {
    kind: Architecture,
    name: "resnet",
    summary: "residual network, depth 8 to 152, for CIFAR or ImageNet",
    source: "He et al. 2016, arXiv 1512.03385",
    settings: ResNetSettings,
    make: |settings| Ok(Box::new(ResNet::new(settings)?)),
}

/// Channels of the first stage at most. Far beyond any network that fits in memory, and small enough that no count overflows.
const MAX_WIDTH: usize = 4096;

/// A checked ResNet.
#[derive(Debug, Clone)]
pub struct ResNet {
    blocks: Vec<usize>,
    bottleneck: bool,
    width: usize,
    form: Form,
    shortcut: Shortcut,
}

impl ResNet {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a depth that does not exist or a width outside 1 to 4096.
    pub fn new(settings: ResNetSettings) -> Result<Self> {
        let (blocks, usual_width) = match settings.depth {
            18 => (vec![2, 2, 2, 2], 64),
            34 | 50 => (vec![3, 4, 6, 3], 64),
            101 => (vec![3, 4, 23, 3], 64),
            152 => (vec![3, 8, 36, 3], 64),
            depth @ (8 | 14 | 20 | 32 | 44 | 56 | 110) => (vec![(depth - 2) / 6; 3], 16),
            depth => {
                let known = "8, 14, 18, 20, 32, 34, 44, 50, 56, 101, 110, 152";
                return Err(Error::new(ErrorKind::Settings, format!("depth {depth}, expected one of {known}")));
            }
        };
        let width = settings.width.unwrap_or(usual_width);
        if !(1..=MAX_WIDTH).contains(&width) {
            return Err(Error::new(ErrorKind::Settings, format!("width {width}, expected 1 to {MAX_WIDTH}")));
        }
        let bottleneck = matches!(settings.depth, 50 | 101 | 152);
        Ok(Self { blocks, bottleneck, width, form: settings.form, shortcut: settings.shortcut })
    }
}

impl Architecture for ResNet {
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        let mut net = Builder::new("resnet", request.input, request.classes);
        net.normalize("normalize", &request.mean, &request.std);
        let stem = match self.form {
            Form::Cifar => ConvGeometry::same3(),
            Form::Imagenet => ConvGeometry::square(7).stride(2).padding(3),
        };
        net.conv("conv1", self.width, stem, false).batch_norm("bn1").relu("relu1");
        if self.form == Form::Imagenet {
            net.max_pool("maxpool", PoolGeometry { kernel: [3; 2], stride: [2; 2], padding: [1; 2] });
        }
        for (stage, &count) in self.blocks.iter().enumerate() {
            for block in 0..count {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                self.block(&mut net, &format!("layer{}.{block}", stage + 1), self.width << stage, stride);
            }
        }
        net.global_avg_pool("pool").linear("linear", request.classes);
        net.finish()
    }
}
