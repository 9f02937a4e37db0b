//! MobileNetV2: inverted residual blocks around depthwise convolutions (Sandler et al. 2018).

mod block;
#[cfg(test)]
mod tests;

use mrpf_api::prelude::*;

use block::{Block, inverted_residual};

/// Settings of `mobilenet-v2`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct MobileNetV2Settings {
    /// Where the network halves the size of the images.
    pub form: Form,
    /// Multiplies the channels of all layers, 0.01 to 4; those of the last convolution only if it is above 1.
    #[schemars(range(min = 0.01, max = 4.0))]
    pub width: f64,
    /// Numbers of channels are multiples of this, 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub divisor: usize,
}

/// Where the network halves the size of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Form {
    /// The stem and the stage of 24 channels keep the size, for images of about 32 pixels.
    Cifar,
    /// As the paper, for images of about 224 pixels.
    Imagenet,
}

impl Default for MobileNetV2Settings {
    fn default() -> Self {
        Self { form: Form::Cifar, width: 1.0, divisor: 8 }
    }
}

register_plugin! {
    kind: Architecture,
    name: "mobilenet-v2",
    summary: "inverted residuals with depthwise convolutions, for CIFAR or ImageNet",
    source: "Sandler et al. 2018, arXiv 1801.04381",
    settings: MobileNetV2Settings,
    make: |settings| Ok(Box::new(MobileNetV2::new(settings)?)),
}

/// Blocks of the same channels: factor of the expansion, channels, how many, stride of the first (table 2 of the paper).
const STAGES: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
/// The stage that keeps the size for CIFAR.
const STAGE_OF_24: usize = 1;

/// A checked MobileNetV2.
#[derive(Debug, Clone)]
pub struct MobileNetV2 {
    settings: MobileNetV2Settings,
}

impl MobileNetV2 {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a width or divisor out of range.
    pub fn new(settings: MobileNetV2Settings) -> Result<Self> {
        let MobileNetV2Settings { width, divisor, .. } = settings;
        if !(0.01..=4.0).contains(&width) {
            return Err(Error::new(ErrorKind::Settings, format!("width {width}, expected 0.01 to 4")));
        }
        if !(1..=64).contains(&divisor) {
            return Err(Error::new(ErrorKind::Settings, format!("divisor {divisor}, expected 1 to 64")));
        }
        Ok(Self { settings })
    }

    /// The nearest multiple of the divisor that is at most a tenth below `channels` times the width.
    fn channels(&self, channels: usize, width: f64) -> usize {
        let (wanted, divisor) = (channels as f64 * width, self.settings.divisor);
        let nearest = ((wanted + divisor as f64 / 2.0) as usize / divisor * divisor).max(divisor);
        if (nearest as f64) < 0.9 * wanted { nearest + divisor } else { nearest }
    }
}

impl Architecture for MobileNetV2 {
    /// Layers are called as in torchvision. The dropout before its classifier is left out.
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        let (width, keeps_size) = (self.settings.width, self.settings.form == Form::Cifar);
        let mut net = Builder::new("mobilenet-v2", request.input, request.classes);
        net.normalize("normalize", &request.mean, &request.std);
        let stem = ConvGeometry::same3().stride(if keeps_size { 1 } else { 2 });
        net.conv("features.0.0", self.channels(32, width), stem, false);
        net.batch_norm("features.0.1").relu6("features.0.2");
        let mut number = 1;
        for (stage, (expansion, channels, count, stride)) in STAGES.into_iter().enumerate() {
            for at in 0..count {
                let strides = at == 0 && !(keeps_size && stage == STAGE_OF_24);
                let stride = if strides { stride } else { 1 };
                let block = Block { expansion, channels: self.channels(channels, width), stride };
                inverted_residual(&mut net, &format!("features.{number}"), &block);
                number += 1;
            }
        }
        let name = |part: usize| format!("features.{number}.{part}");
        net.conv(&name(0), self.channels(1280, width.max(1.0)), ConvGeometry::square(1), false);
        net.batch_norm(&name(1)).relu6(&name(2)).global_avg_pool("pool").linear("classifier.1", request.classes);
        net.finish()
    }
}
