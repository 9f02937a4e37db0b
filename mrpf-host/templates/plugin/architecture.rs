//! Architecture `plugin-name`: plain convolutions in stages, each half as large and twice as wide as the one before.

use mrpf_api::prelude::*;

/// Settings of `plugin-name`; these comments are their help in `mrpf plugins show plugin-name`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct PluginNameSettings {
    /// Channels of the first stage; at least 1.
    pub width: usize,
    /// Number of stages; at least 1.
    pub stages: usize,
}

impl Default for PluginNameSettings {
    fn default() -> Self {
        Self { width: 16, stages: 3 }
    }
}

export_plugin!();

register_plugin! {
    kind: Architecture,
    name: "plugin-name",
    summary: "plain convolutions in stages",
    source: "own",
    settings: PluginNameSettings,
    make: |settings| Ok(Box::new(PluginName { settings })),
}

struct PluginName {
    settings: PluginNameSettings,
}

impl Architecture for PluginName {
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        let PluginNameSettings { width, stages } = self.settings;
        if width == 0 || stages == 0 {
            let message = format!("width {width}, stages {stages}, expected at least 1 of each");
            return Err(Error::new(ErrorKind::Settings, message));
        }
        let mut net = Builder::new("plugin-name", request.input, request.classes);
        net.normalize("normalize", &request.mean, &request.std);
        for stage in 0..stages {
            let stride = if stage == 0 { 1 } else { 2 };
            let channels = width << stage;
            net.conv(&format!("conv{stage}"), channels, ConvGeometry::same3().stride(stride), false);
            net.batch_norm(&format!("bn{stage}")).relu(&format!("relu{stage}"));
        }
        // The last layer gives the logits.
        net.global_avg_pool("pool").linear("fc", request.classes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Architecture, "plugin-name")
    }
}
