//! Wide residual networks (Zagoruyko and Komodakis 2016), the large networks of the robustness literature.

use mrpf_api::prelude::*;

/// Settings of `wide-resnet`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct WideResNetSettings {
    /// Layers with weights: 10, 16, 22, 28, 34, 40 and so on, 6 n + 4 for n blocks a stage.
    #[schemars(range(min = 10, max = 1000))]
    pub depth: usize,
    /// How many times the stages are wider than those of a ResNet for CIFAR, 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub widen: usize,
    /// Channels of the first convolution, 1 to 256; the stages have 1, 2 and 4 times as many, times `widen`.
    #[schemars(range(min = 1, max = 256))]
    pub width: usize,
}

impl Default for WideResNetSettings {
    fn default() -> Self {
        Self { depth: 28, widen: 4, width: 16 }
    }
}

register_plugin! {
    kind: Architecture,
    name: "wide-resnet",
    summary: "wide residual network for CIFAR, such as 28-4, 28-10 and 34-10",
    source: "Zagoruyko and Komodakis 2016, arXiv 1605.07146",
    settings: WideResNetSettings,
    make: |settings| Ok(Box::new(WideResNet::new(settings)?)),
}

/// A checked wide ResNet.
#[derive(Debug, Clone)]
pub struct WideResNet {
    blocks: usize,
    widen: usize,
    width: usize,
}

impl WideResNet {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for a depth that is not 6 n + 4 or beyond 1000, and widths out of range.
    pub fn new(settings: WideResNetSettings) -> Result<Self> {
        let WideResNetSettings { depth, widen, width } = settings;
        let wrong = |message: String| Err(Error::new(ErrorKind::Settings, message));
        if !(10..=1000).contains(&depth) || (depth - 4) % 6 != 0 {
            return wrong(format!("depth {depth}, expected 6 n + 4, such as 16, 22, 28, 34 or 40"));
        }
        if !(1..=64).contains(&widen) {
            return wrong(format!("widen {widen}, expected 1 to 64"));
        }
        if !(1..=256).contains(&width) {
            return wrong(format!("width {width}, expected 1 to 256"));
        }
        Ok(Self { blocks: (depth - 4) / 6, widen, width })
    }
}

impl Architecture for WideResNet {
    /// Layers are called as in the reference code for PyTorch. That of TRADES has a second first stage which it never runs, and
    /// which stands in no list of parameters here.
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        let mut net = Builder::new("wide-resnet", request.input, request.classes);
        net.normalize("normalize", &request.mean, &request.std);
        net.conv("conv1", self.width, ConvGeometry::same3(), false);
        for stage in 0..3 {
            for number in 0..self.blocks {
                let stride = if stage > 0 && number == 0 { 2 } else { 1 };
                let width = (self.width << stage) * self.widen;
                block(&mut net, &format!("block{}.layer.{number}", stage + 1), width, stride);
            }
        }
        net.batch_norm("bn1").relu("relu").global_avg_pool("pool").linear("fc", request.classes);
        net.finish()
    }
}

/// Only a block that changes the number of channels has a projection, which reads what the first ReLU gives.
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
    if channels != width || stride != 1 {
        net.from(&active).conv(&format!("{name}.convShortcut"), width, ConvGeometry::square(1).stride(stride), false);
        shortcut = net.current();
    }
    net.from(&residual).add(&format!("{name}.add"), &shortcut);
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::coupling::{channel_groups, cost};

    fn declare(depth: usize, widen: usize) -> Result<Declaration> {
        let input = ImageShape { channels: 3, height: 32, width: 32 };
        let request = ArchitectureRequest { input, classes: 10, mean: vec![0.5; 3], std: vec![0.25; 3] };
        WideResNet::new(WideResNetSettings { depth, widen, ..Default::default() })?.declare(&request)
    }

    #[test]
    fn the_published_parameter_counts_hold() -> Result<()> {
        // 36.5 M for 28-10 in the paper; the others by PyTorch.
        for (depth, widen, params) in [(28, 4, 5_849_050), (28, 10, 36_479_194), (34, 10, 46_160_474)] {
            assert_eq!(cost(&declare(depth, widen)?)?.params, params, "{depth}-{widen}");
        }
        Ok(())
    }

    #[test]
    fn the_stem_is_a_group_by_itself_and_a_stage_is_one() -> Result<()> {
        let groups = channel_groups(&declare(16, 2)?)?;
        let made_by = |name: &str| -> Vec<&str> {
            let group = groups.iter().find(|group| group.name == name);
            group.into_iter().flat_map(|group| group.producers()).map(|member| member.layer.as_str()).collect()
        };
        assert_eq!(made_by("conv1"), ["conv1"]);
        let stage = ["block1.layer.0.conv2", "block1.layer.0.convShortcut", "block1.layer.1.conv2"];
        assert_eq!(made_by("block1.layer.0.conv2"), stage);
        assert_eq!(groups.iter().filter(|group| group.frozen.is_none()).count(), 1 + 3 + 6);
        Ok(())
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (depth, widen, width, message) in [
            (27, 4, 16, "depth 27, expected 6 n + 4, such as 16, 22, 28, 34 or 40"),
            (4, 4, 16, "depth 4, expected 6 n + 4, such as 16, 22, 28, 34 or 40"),
            (28, 0, 16, "widen 0, expected 1 to 64"),
            (28, 4, 257, "width 257, expected 1 to 256"),
        ] {
            let error = WideResNet::new(WideResNetSettings { depth, widen, width }).expect_err(message);
            assert_eq!(error.to_string(), message);
        }
    }
}
