//! MobileViT: convolutions around transformers over the patches of a map (Mehta and Rastegari 2021).

mod block;
#[cfg(test)]
mod tests;

use mrpf_api::network::AttentionUnit;
use mrpf_api::prelude::*;

use block::{Transformers, conv_norm_act, inverted_residual, mobilevit_block};

/// Settings of `mobilevit`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct MobileVitSettings {
    /// Which of the paper's three networks; `mobilevit-xs` is the one of size `xs`.
    pub size: Size,
    /// Where the network halves the size of the images.
    pub form: Form,
    /// What pruning removes from an attention at once.
    pub attention_unit: Unit,
    /// Multiplies the channels of all layers and the width of tokens, 0.01 to 4; they are multiples of 4, the number of heads.
    #[schemars(range(min = 0.01, max = 4.0))]
    pub width: f64,
}

/// Which of the paper's three networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Size {
    /// 1.3 M parameters with 1000 classes.
    Xxs,
    /// 2.3 M parameters with 1000 classes.
    Xs,
    /// 5.6 M parameters with 1000 classes.
    S,
}

/// Where the network halves the size of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Form {
    /// The stem and the second stage keep the size, for images of about 32 pixels: transformers see maps of 16, 8 and 4.
    Cifar,
    /// The second stage keeps the size, for images of about 64 pixels: transformers see the same maps as with `cifar`.
    TinyImagenet,
    /// As the paper, for images of about 256 pixels: transformers see maps of 32, 16 and 8.
    Imagenet,
}

/// What pruning removes from an attention at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Unit {
    /// One place in all heads, which get narrower; queries with keys, and values, each by themselves.
    Width,
    /// A whole head.
    Head,
}

impl Default for MobileVitSettings {
    fn default() -> Self {
        Self { size: Size::Xxs, form: Form::Cifar, attention_unit: Unit::Width, width: 1.0 }
    }
}

register_plugin! {
    kind: Architecture,
    name: "mobilevit",
    summary: "inverted residuals and transformers over patches, for CIFAR or ImageNet",
    source: "Mehta and Rastegari 2021, arXiv 2110.02178",
    settings: MobileVitSettings,
    make: |settings| Ok(Box::new(MobileVit::new(settings)?)),
}

/// What differs between the three networks (table 4 of the paper).
struct Widths {
    /// How many times wider an inverted residual is inside.
    expansion: usize,
    /// Channels of the five stages.
    stages: [usize; 5],
    /// Width of the tokens in the last three stages.
    tokens: [usize; 3],
    /// Channels of the last convolution.
    last: usize,
}

impl Size {
    fn widths(self) -> Widths {
        match self {
            Self::Xxs => Widths { expansion: 2, stages: [16, 24, 48, 64, 80], tokens: [64, 80, 96], last: 320 },
            Self::Xs => Widths { expansion: 4, stages: [32, 48, 64, 80, 96], tokens: [96, 120, 144], last: 384 },
            Self::S => Widths { expansion: 4, stages: [32, 64, 96, 128, 160], tokens: [144, 192, 240], last: 640 },
        }
    }
}

impl Form {
    /// Strides of the stem and of the five stages.
    fn strides(self) -> (usize, [usize; 5]) {
        match self {
            Self::Cifar => (1, [1, 1, 2, 2, 2]),
            Self::TinyImagenet => (2, [1, 1, 2, 2, 2]),
            Self::Imagenet => (2, [1, 2, 2, 2, 2]),
        }
    }
}

/// Channels of the stem.
const STEM: usize = 16;
/// Heads of every attention.
const HEADS: usize = 4;
/// Inverted residuals in each stage.
const RESIDUALS: [usize; 5] = [1, 3, 1, 1, 1];
/// Transformers in each of the last three stages.
const TRANSFORMERS: [usize; 3] = [2, 4, 3];

/// A checked MobileViT.
#[derive(Debug, Clone)]
pub struct MobileVit {
    settings: MobileVitSettings,
}

impl MobileVit {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a width out of range.
    pub fn new(settings: MobileVitSettings) -> Result<Self> {
        match (0.01..=4.0).contains(&settings.width) {
            true => Ok(Self { settings }),
            false => Err(Error::new(ErrorKind::Settings, format!("width {}, expected 0.01 to 4", settings.width))),
        }
    }

    /// The nearest multiple of the number of heads; the paper's own numbers are such multiples.
    fn channels(&self, channels: usize) -> usize {
        ((channels as f64 * self.settings.width / HEADS as f64).round() as usize * HEADS).max(HEADS)
    }
}

impl Architecture for MobileVit {
    /// Layers are called as in timm, whose `attn.qkv` is `attn.query`, `attn.key` and `attn.value` here. There is no dropout.
    ///
    /// Maps that patches of 2x2 do not divide are resized before the transformers and back after them, as timm and the authors do.
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        let Widths { expansion, stages, tokens, last } = self.settings.size.widths();
        let (stem, strides) = self.settings.form.strides();
        let unit = match self.settings.attention_unit {
            Unit::Width => AttentionUnit::Width,
            Unit::Head => AttentionUnit::Head,
        };
        let mut net = Builder::new("mobilevit", request.input, request.classes);
        net.normalize("normalize", &request.mean, &request.std);
        conv_norm_act(&mut net, "stem", self.channels(STEM), ConvGeometry::same3().stride(stem));
        for (stage, &channels) in stages.iter().enumerate() {
            for at in 0..RESIDUALS[stage] {
                let stride = if at == 0 { strides[stage] } else { 1 };
                inverted_residual(
                    &mut net,
                    &format!("stages.{stage}.{at}"),
                    expansion,
                    self.channels(channels),
                    stride,
                );
            }
            if let Some(late) = stage.checked_sub(2) {
                let transformers =
                    Transformers { width: self.channels(tokens[late]), heads: HEADS, count: TRANSFORMERS[late], unit };
                mobilevit_block(&mut net, &format!("stages.{stage}.{}", RESIDUALS[stage]), &transformers);
            }
        }
        conv_norm_act(&mut net, "final_conv", self.channels(last), ConvGeometry::square(1));
        net.global_avg_pool("head.pool").linear("head.fc", request.classes).finish()
    }
}
