//! Schedule `plugin-name`: slow at first and at the end, fast between.

use mrpf_api::prelude::*;

/// Settings of `plugin-name`; these comments are their help in `mrpf plugins show plugin-name`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct PluginNameSettings {
    /// Share of the way that passes before anything is removed, at least 0 and below 1.
    pub delay: f64,
}

export_plugin!();

register_plugin! {
    kind: Schedule,
    name: "plugin-name",
    summary: "half a wave of the cosine",
    source: "own",
    settings: PluginNameSettings,
    make: |settings| Ok(Box::new(PluginName::new(settings)?)),
}

struct PluginName {
    delay: f64,
}

impl PluginName {
    fn new(settings: PluginNameSettings) -> Result<Self> {
        match (0.0..1.0).contains(&settings.delay) {
            true => Ok(Self { delay: settings.delay }),
            false => {
                let message = format!("delay {}, expected at least 0 and below 1", settings.delay);
                Err(Error::new(ErrorKind::Settings, message))
            }
        }
    }
}

impl PruningSchedule for PluginName {
    fn ratio(&self, progress: f64, final_ratio: f64) -> f64 {
        let way = ((progress - self.delay) / (1.0 - self.delay)).clamp(0.0, 1.0);
        // The end is exact whatever the cosine is rounded to.
        if way == 1.0 { final_ratio } else { final_ratio * 0.5 * (1.0 - (std::f64::consts::PI * way).cos()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Schedule, "plugin-name")
    }
}
