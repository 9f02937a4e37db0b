//! Residual networks with batch norm and ReLU before the convolutions (He et al. 2016, "Identity mappings").

use mrpf_api::prelude::*;

/// Settings of `preact-resnet`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct PreActResNetSettings {
    /// Layers with weights, 18 or 34: four stages after a 3x3 convolution, for images of about 32 pixels.
    #[schemars(range(min = 18, max = 34))]
    pub depth: usize,
    /// Channels of the first stage, 1 to 4096; each later stage has twice as many.
    #[schemars(range(min = 1, max = 4096))]
    pub width: usize,
    /// Whether a batch norm and a ReLU stand before the pooling, as in the paper and in Rice et al. 2020. The much copied CIFAR
    /// network of kuangliu's repository leaves them out.
    pub final_norm: bool,
}

impl Default for PreActResNetSettings {
    fn default() -> Self {
        Self { depth: 18, width: 64, final_norm: true }
    }
}

register_plugin! {
    kind: Architecture,
    name: "preact-resnet",
    summary: "residual network with pre-activation for CIFAR, depth 18 or 34",
    source: "He et al. 2016, arXiv 1603.05027; Rice et al. 2020, arXiv 2002.11569",
    settings: PreActResNetSettings,
    make: |settings| Ok(Box::new(PreActResNet::new(settings)?)),
}

/// Channels of the first stage at most. Far beyond any network that fits in memory, and small enough that no count overflows.
const MAX_WIDTH: usize = 4096;

/// A checked pre-activation ResNet.
#[derive(Debug, Clone)]
pub struct PreActResNet {
    blocks: [usize; 4],
    width: usize,
    final_norm: bool,
}

impl PreActResNet {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a depth that does not exist or a width outside 1 to 4096.
    pub fn new(settings: PreActResNetSettings) -> Result<Self> {
        let PreActResNetSettings { depth, width, final_norm } = settings;
        let blocks = match depth {
            18 => [2, 2, 2, 2],
            34 => [3, 4, 6, 3],
            depth => return Err(Error::new(ErrorKind::Settings, format!("depth {depth}, expected 18 or 34"))),
        };
        if !(1..=MAX_WIDTH).contains(&width) {
            return Err(Error::new(ErrorKind::Settings, format!("width {width}, expected 1 to {MAX_WIDTH}")));
        }
        Ok(Self { blocks, width, final_norm })
    }
}

impl Architecture for PreActResNet {
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        let mut net = Builder::new("preact-resnet", request.input, request.classes);
        net.normalize("normalize", &request.mean, &request.std);
        net.conv("conv1", self.width, ConvGeometry::same3(), false);
        for (stage, &count) in self.blocks.iter().enumerate() {
            for number in 0..count {
                let stride = if stage > 0 && number == 0 { 2 } else { 1 };
                block(&mut net, &format!("layer{}.{number}", stage + 1), self.width << stage, stride);
            }
        }
        if self.final_norm {
            net.batch_norm("bn").relu("relu");
        }
        net.global_avg_pool("pool").linear("linear", request.classes);
        net.finish()
    }
}

/// A projection reads what the first ReLU gives; the identity what comes before its batch norm.
fn block(net: &mut Builder, name: &str, width: usize, stride: usize) {
    let input = net.current();
    let channels = net.shape().map_or(0, |shape| shape.channels());
    net.batch_norm(&format!("{name}.bn1")).relu(&format!("{name}.relu1"));
    let active = net.current();
    net.conv(&format!("{name}.conv1"), width, ConvGeometry::same3().stride(stride), false);
    net.batch_norm(&format!("{name}.bn2")).relu(&format!("{name}.relu2"));
    net.conv(&format!("{name}.conv2"), width, ConvGeometry::same3(), false);
    let residual = net.current();
    let mut shortcut = input;
    if stride != 1 || channels != width {
        net.from(&active).conv(&format!("{name}.shortcut.0"), width, ConvGeometry::square(1).stride(stride), false);
        shortcut = net.current();
    }
    net.from(&residual).add(&format!("{name}.add"), &shortcut);
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::coupling::{channel_groups, cost};

    fn declare(settings: PreActResNetSettings) -> Result<Declaration> {
        let input = ImageShape { channels: 3, height: 32, width: 32 };
        let request = ArchitectureRequest { input, classes: 10, mean: vec![0.5; 3], std: vec![0.25; 3] };
        PreActResNet::new(settings)?.declare(&request)
    }

    #[test]
    fn the_counts_are_those_of_the_two_networks_in_use() -> Result<()> {
        for (final_norm, params) in [(true, 11_172_170), (false, 11_171_146)] {
            let declaration = declare(PreActResNetSettings { final_norm, ..Default::default() })?;
            assert_eq!(cost(&declaration)?.params, params, "final_norm {final_norm}");
        }
        Ok(())
    }

    #[test]
    fn a_stage_is_one_group_that_its_projection_begins() -> Result<()> {
        let groups = channel_groups(&declare(PreActResNetSettings::default())?)?;
        let made_by = |name: &str| -> Vec<&str> {
            let group = groups.iter().find(|group| group.name == name);
            group.into_iter().flat_map(|group| group.producers()).map(|member| member.layer.as_str()).collect()
        };
        assert_eq!(made_by("conv1"), ["conv1", "layer1.0.conv2", "layer1.1.conv2"]);
        assert_eq!(made_by("layer2.0.conv2"), ["layer2.0.conv2", "layer2.0.shortcut.0", "layer2.1.conv2"]);
        assert_eq!(groups.iter().filter(|group| group.frozen.is_none()).count(), 4 + 8);
        Ok(())
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (depth, width, message) in [(20, 64, "depth 20, expected 18 or 34"), (18, 0, "width 0, expected 1 to 4096")]
        {
            let settings = PreActResNetSettings { depth, width, ..Default::default() };
            assert_eq!(PreActResNet::new(settings).expect_err(message).to_string(), message);
        }
    }
}
