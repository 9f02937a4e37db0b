//! VGG with batch norm, in the forms used for CIFAR (Simonyan and Zisserman 2015).

#[cfg(test)]
mod tests;

use mrpf_api::network::Shape;
use mrpf_api::prelude::*;

/// Settings of `vgg`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct VggSettings {
    /// Layers with weights in the original with its three-layer head: 11, 13, 16 or 19.
    #[schemars(range(min = 11, max = 19))]
    pub depth: usize,
    /// Channels of the first stage, 1 to 4096; the later ones have 2, 4, 8 and 8 times as many.
    #[schemars(range(min = 1, max = 4096))]
    pub width: usize,
    /// What stands after the convolutions.
    pub head: Head,
    /// Whether convolutions have a bias beside the batch norm; when not given, as the networks with that head have it: with the
    /// single layer they do, as in torchvision, with three they do not.
    pub conv_bias: Option<bool>,
}

/// What stands after the convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Head {
    /// A last pooling and one linear layer.
    Single,
    /// No last pooling, a mean over quarters of the map, and linear layers of 256, 256 and as many outputs as there are classes, as
    /// in HYDRA (Sehwag et al. 2020) and the adversarial pruning benchmark (Piras et al. 2024).
    ThreeLayer,
}

impl Default for VggSettings {
    fn default() -> Self {
        Self { depth: 16, width: 64, head: Head::Single, conv_bias: None }
    }
}

register_plugin! {
    kind: Architecture,
    name: "vgg",
    summary: "plain convolutional network with batch norm, depth 11 to 19",
    source: "Simonyan and Zisserman 2015, arXiv 1409.1556",
    settings: VggSettings,
    make: |settings| Ok(Box::new(Vgg::new(settings)?)),
}

/// Channels of the first stage at most. Far beyond any network that fits in memory, and small enough that no count overflows.
const MAX_WIDTH: usize = 4096;

/// A checked VGG.
#[derive(Debug, Clone)]
pub struct Vgg {
    stages: [usize; 5],
    width: usize,
    head: Head,
    conv_bias: bool,
}

impl Vgg {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a depth that does not exist or a width outside 1 to 4096.
    pub fn new(settings: VggSettings) -> Result<Self> {
        let stages = match settings.depth {
            11 => [1, 1, 2, 2, 2],
            13 => [2, 2, 2, 2, 2],
            16 => [2, 2, 3, 3, 3],
            19 => [2, 2, 4, 4, 4],
            depth => {
                return Err(Error::new(ErrorKind::Settings, format!("depth {depth}, expected one of 11, 13, 16, 19")));
            }
        };
        if !(1..=MAX_WIDTH).contains(&settings.width) {
            let message = format!("width {}, expected 1 to {MAX_WIDTH}", settings.width);
            return Err(Error::new(ErrorKind::Settings, message));
        }
        let head = settings.head;
        let conv_bias = settings.conv_bias.unwrap_or(head == Head::Single);
        Ok(Self { stages, width: settings.width, head, conv_bias })
    }
}

impl Architecture for Vgg {
    /// Layers are numbered as in PyTorch's `features`. Images below 32 pixels leave out the poolings that would shrink them to
    /// nothing; their numbers stay free, so that the convolutions keep their names.
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        let mut net = Builder::new("vgg", request.input, request.classes);
        net.normalize("normalize", &request.mean, &request.std);
        let mut number = 0;
        let mut next = || {
            number += 1;
            format!("features.{}", number - 1)
        };
        for (stage, &count) in self.stages.iter().enumerate() {
            for _ in 0..count {
                net.conv(&next(), self.width << stage.min(3), ConvGeometry::same3(), self.conv_bias);
                net.batch_norm(&next()).relu(&next());
            }
            if self.head == Head::ThreeLayer && stage + 1 == self.stages.len() {
                break;
            }
            let pool = next();
            if matches!(net.shape(), Some(Shape::Map(map)) if map.height.min(map.width) >= 2) {
                net.max_pool(&pool, PoolGeometry::square(2));
            }
        }
        match self.head {
            Head::Single => net.flatten("flatten").linear("classifier", request.classes),
            Head::ThreeLayer => three_layers(&mut net, request.classes),
        };
        net.finish()
    }
}

/// Width of the hidden layers of the head of three.
const HIDDEN: usize = 256;

/// The pooling is PyTorch's adaptive one to 2x2: windows of half the side, rounded up, which begin at half the side, rounded down.
/// Sides of one pixel stay, where PyTorch would repeat that pixel.
fn three_layers(net: &mut Builder, classes: usize) -> &mut Builder {
    if let Some(Shape::Map(map)) = net.shape() {
        let sides = [map.height, map.width];
        let (kernel, stride) = (sides.map(|side| side.div_ceil(2)), sides.map(|side| (side / 2).max(1)));
        if sides != kernel && sides.iter().any(|&side| side > 2) {
            net.avg_pool("avgpool", PoolGeometry { kernel, stride, padding: [0; 2] });
        }
    }
    net.flatten("flatten").linear("classifier.0", HIDDEN).relu("classifier.1");
    net.linear("classifier.2", HIDDEN).relu("classifier.3").linear("classifier.4", classes)
}
