//! Residual networks for small images (He et al. 2016).

use mrpf_api::network::LayerKind;
use mrpf_api::prelude::*;

/// Settings of `resnet`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct ResNetSettings {
    /// Layers with weights. 8, 14, 20, 32, 44, 56 and 110 have three stages of (depth - 2) / 6 blocks (the CIFAR form of the
    /// paper, section 4.2); 18 and 34 have four stages, as for ImageNet, with a 3x3 stem and without its pooling.
    pub depth: usize,
    /// Channels of the first stage; each later stage has twice as many. 1 to 4096; 16 for the CIFAR form and 64 for 18 and 34
    /// when not given.
    pub width: Option<usize>,
    /// How a block whose input and output differ in shape adds the two.
    pub shortcut: Shortcut,
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
        Self { depth: 20, width: None, shortcut: Shortcut::Projection }
    }
}

register_plugin! {
    kind: Architecture,
    name: "resnet",
    summary: "residual network for small images, depth 8 to 110",
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
    width: usize,
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
            34 => (vec![3, 4, 6, 3], 64),
            depth @ (8 | 14 | 20 | 32 | 44 | 56 | 110) => (vec![(depth - 2) / 6; 3], 16),
            depth => {
                let message = format!("depth {depth}, expected one of 8, 14, 18, 20, 32, 34, 44, 56, 110");
                return Err(Error::new(ErrorKind::Settings, message));
            }
        };
        let width = settings.width.unwrap_or(usual_width);
        if !(1..=MAX_WIDTH).contains(&width) {
            return Err(Error::new(ErrorKind::Settings, format!("width {width}, expected 1 to {MAX_WIDTH}")));
        }
        Ok(Self { blocks, width, shortcut: settings.shortcut })
    }

    fn block(&self, net: &mut Builder, name: &str, width: usize, stride: usize) {
        let input = net.current();
        let channels = net.shape().map_or(0, |shape| shape.channels());
        net.conv(&format!("{name}.conv1"), width, ConvGeometry::same3().stride(stride), false);
        net.batch_norm(&format!("{name}.bn1")).relu(&format!("{name}.relu1"));
        net.conv(&format!("{name}.conv2"), width, ConvGeometry::same3(), false).batch_norm(&format!("{name}.bn2"));
        let residual = net.current();
        let mut shortcut = input.clone();
        if stride != 1 || channels != width {
            net.from(&input);
            match self.shortcut {
                Shortcut::Projection => {
                    let geometry = ConvGeometry::square(1).stride(stride);
                    net.conv(&format!("{name}.shortcut.0"), width, geometry, false)
                        .batch_norm(&format!("{name}.shortcut.1"));
                }
                Shortcut::Padding => {
                    net.layer(
                        &format!("{name}.shortcut"),
                        LayerKind::PadShortcut { stride, channels: width },
                        &[&input],
                    );
                }
            }
            shortcut = net.current();
        }
        net.from(&residual).add(&format!("{name}.add"), &shortcut).relu(&format!("{name}.relu2"));
    }
}

impl Architecture for ResNet {
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        let mut net = Builder::new("resnet", request.input, request.classes);
        net.normalize("normalize", &request.mean, &request.std);
        net.conv("conv1", self.width, ConvGeometry::same3(), false).batch_norm("bn1").relu("relu1");
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

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::coupling::{channel_groups, cost};

    fn declare(depth: usize, shortcut: Shortcut) -> Result<Declaration> {
        let input = ImageShape { channels: 3, height: 32, width: 32 };
        let request = ArchitectureRequest { input, classes: 10, mean: vec![0.5; 3], std: vec![0.25; 3] };
        ResNet::new(ResNetSettings { depth, width: None, shortcut })?.declare(&request)
    }

    #[test]
    fn costs_are_those_that_pytorch_counts() -> Result<()> {
        let rows: Vec<mrpf_api::serde_json::Value> =
            mrpf_api::serde_json::from_str(include_str!("../../../tests/fixtures/counts.json")).expect("a list");
        let mut seen = 0;
        for row in rows.iter().filter(|row| row["architecture"] == "resnet") {
            let shortcut = if row["shortcut"] == "padding" { Shortcut::Padding } else { Shortcut::Projection };
            let found = cost(&declare(row["depth"].as_u64().expect("a number") as usize, shortcut)?)?;
            assert_eq!((Some(found.params), Some(found.macs)), (row["params"].as_u64(), row["macs"].as_u64()), "{row}");
            seen += 1;
        }
        assert_eq!(seen, 12);
        Ok(())
    }

    #[test]
    fn the_published_parameter_counts_hold() -> Result<()> {
        for (depth, params) in [(18, 11_173_962), (20, 272_474), (56, 855_770)] {
            assert_eq!(cost(&declare(depth, Shortcut::Projection)?)?.params, params, "depth {depth}");
        }
        Ok(())
    }

    #[test]
    fn a_stage_is_one_group_and_each_block_has_one_inside() -> Result<()> {
        let groups = channel_groups(&declare(20, Shortcut::Projection)?)?;
        let free: Vec<_> = groups.iter().filter(|group| group.frozen.is_none()).collect();
        assert_eq!(free.len(), 3 + 9);
        let stream = free.iter().find(|group| group.name == "conv1").expect("the stem's group");
        let producers: Vec<_> = stream.producers().map(|member| member.layer.as_str()).collect();
        assert_eq!(producers, ["conv1", "layer1.0.conv2", "layer1.1.conv2", "layer1.2.conv2"]);
        Ok(())
    }

    #[test]
    fn padding_shortcuts_freeze_what_lies_between_the_blocks() -> Result<()> {
        let groups = channel_groups(&declare(20, Shortcut::Padding)?)?;
        let free: Vec<_> =
            groups.iter().filter(|group| group.frozen.is_none()).map(|group| group.name.as_str()).collect();
        assert!(free.iter().all(|name| name.ends_with("conv1") && name.starts_with("layer")), "{free:?}");
        assert_eq!(free.len(), 9);
        Ok(())
    }

    #[test]
    fn a_depth_that_does_not_exist_is_answered_with_those_that_do() {
        let error = ResNet::new(ResNetSettings { depth: 19, ..ResNetSettings::default() }).expect_err("depth 19");
        assert_eq!(error.to_string(), "depth 19, expected one of 8, 14, 18, 20, 32, 34, 44, 56, 110");
    }

    #[test]
    fn layers_have_the_usual_names_in_the_usual_order() -> Result<()> {
        let declaration = declare(8, Shortcut::Projection)?;
        let names: Vec<&str> = declaration.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names[..4], ["normalize", "conv1", "bn1", "relu1"]);
        let block: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix("layer2.0.")).collect();
        let expected = ["conv1", "bn1", "relu1", "conv2", "bn2", "shortcut.0", "shortcut.1", "add", "relu2"];
        assert_eq!(block, expected);
        assert_eq!(names[names.len() - 2..], ["pool", "linear"]);
        assert!(!names.iter().any(|name| name.starts_with("layer1.0.shortcut")), "the shape stays the same there");
        Ok(())
    }

    #[test]
    fn images_from_four_pixels_on_give_logits() -> Result<()> {
        for (depth, channels, size) in [(8, 1, 4), (8, 3, 5), (18, 1, 4), (18, 3, 7)] {
            for shortcut in [Shortcut::Projection, Shortcut::Padding] {
                let input = ImageShape { channels, height: size, width: size };
                let request =
                    ArchitectureRequest { input, classes: 7, mean: vec![0.5; channels], std: vec![0.25; channels] };
                let declaration = ResNet::new(ResNetSettings { depth, width: Some(4), shortcut })?.declare(&request)?;
                let network = Network::initialise(declaration, &Streams::new(0), DType::F32, &Device::Cpu)?;
                let images = Tensor::zeros((2, channels, size, size), DType::F32, &Device::Cpu)?;
                assert_eq!(network.forward(&images, Mode::Evaluate)?.dims(), [2, 7], "{depth} {channels} {size}");
            }
        }
        Ok(())
    }

    #[test]
    fn widths_out_of_range_are_refused() {
        for width in [0, MAX_WIDTH + 1, usize::MAX] {
            let settings = ResNetSettings { width: Some(width), ..ResNetSettings::default() };
            let error = ResNet::new(settings).expect_err("the width is out of range");
            assert_eq!(error.to_string(), format!("width {width}, expected 1 to 4096"));
        }
    }
}
