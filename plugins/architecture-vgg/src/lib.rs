//! VGG with batch norm and a single linear layer as head (Simonyan and Zisserman 2015, in the form used for CIFAR).

use mrpf_api::network::Shape;
use mrpf_api::prelude::*;

/// Settings of `vgg`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct VggSettings {
    /// Layers with weights in the original with its three-layer head: 11, 13, 16 or 19.
    pub depth: usize,
    /// Channels of the first stage, 1 to 4096; the later ones have 2, 4, 8 and 8 times as many.
    pub width: usize,
    /// Whether convolutions have a bias beside the batch norm, as in torchvision.
    pub conv_bias: bool,
}

impl Default for VggSettings {
    fn default() -> Self {
        Self { depth: 16, width: 64, conv_bias: true }
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
        Ok(Self { stages, width: settings.width, conv_bias: settings.conv_bias })
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
            let pool = next();
            if matches!(net.shape(), Some(Shape::Map(map)) if map.height.min(map.width) >= 2) {
                net.max_pool(&pool, PoolGeometry::square(2));
            }
        }
        net.flatten("flatten").linear("classifier", request.classes);
        net.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::coupling::{channel_groups, cost};

    fn declare(settings: VggSettings, size: usize) -> Result<Declaration> {
        let input = ImageShape { channels: 3, height: size, width: size };
        Vgg::new(settings)?.declare(&ArchitectureRequest { input, classes: 10, mean: vec![0.5; 3], std: vec![0.25; 3] })
    }

    #[test]
    fn costs_are_those_that_pytorch_counts() -> Result<()> {
        let rows: Vec<mrpf_api::serde_json::Value> =
            mrpf_api::serde_json::from_str(include_str!("../../../tests/fixtures/counts.json")).expect("a list");
        let mut seen = 0;
        for row in rows.iter().filter(|row| row["architecture"] == "vgg") {
            let depth = row["depth"].as_u64().expect("a number") as usize;
            let settings = VggSettings { depth, conv_bias: row["conv_bias"] == true, ..VggSettings::default() };
            let found = cost(&declare(settings, 32)?)?;
            assert_eq!((Some(found.params), Some(found.macs)), (row["params"].as_u64(), row["macs"].as_u64()), "{row}");
            seen += 1;
        }
        assert_eq!(seen, 8);
        Ok(())
    }

    #[test]
    fn small_and_large_images_fit() -> Result<()> {
        for (size, features) in [(8, 512), (32, 512), (64, 2048)] {
            let declaration = declare(VggSettings::default(), size)?;
            let shapes = declaration.wiring()?.shapes;
            assert_eq!(shapes[shapes.len() - 2].channels(), features, "size {size}");
        }
        Ok(())
    }

    #[test]
    fn every_convolution_can_be_pruned_by_itself() -> Result<()> {
        let groups = channel_groups(&declare(VggSettings::default(), 64)?)?;
        let free: Vec<_> = groups.iter().filter(|group| group.frozen.is_none()).collect();
        assert_eq!(free.len(), 13);
        assert!(free.iter().all(|group| group.producers().count() == 1));
        let last = free.last().and_then(|group| group.consumers().last()).expect("the classifier reads the last");
        assert_eq!((last.layer.as_str(), last.positions[1].as_slice()), ("classifier", [4, 5, 6, 7].as_slice()));
        Ok(())
    }

    #[test]
    fn layers_are_numbered_as_in_pytorch_and_small_images_keep_the_numbers() -> Result<()> {
        let settings = || VggSettings { depth: 11, ..VggSettings::default() };
        let convolutions = |size: usize| -> Result<Vec<String>> {
            let layers = declare(settings(), size)?.layers;
            let is_conv =
                |layer: &mrpf_api::network::Layer| matches!(layer.kind, mrpf_api::network::LayerKind::Conv2d(_));
            Ok(layers.into_iter().filter(is_conv).map(|layer| layer.name).collect())
        };
        let expected = [0, 4, 8, 11, 15, 18, 22, 25].map(|number| format!("features.{number}"));
        assert_eq!(convolutions(32)?, expected);
        assert_eq!(convolutions(8)?, expected);
        let pools = declare(settings(), 8)?.layers;
        let pools: Vec<&str> = pools
            .iter()
            .map(|layer| layer.name.as_str())
            .filter(|name| ["features.3", "features.7", "features.14", "features.21", "features.28"].contains(name))
            .collect();
        assert_eq!(pools, ["features.3", "features.7", "features.14"], "8, 4, 2, and then one pixel is left");
        Ok(())
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (depth, width, message) in [
            (12, 64, "depth 12, expected one of 11, 13, 16, 19"),
            (16, 0, "width 0, expected 1 to 4096"),
            (16, 4097, "width 4097, expected 1 to 4096"),
        ] {
            let error = Vgg::new(VggSettings { depth, width, conv_bias: true }).expect_err(message);
            assert_eq!(error.to_string(), message);
        }
    }
}
