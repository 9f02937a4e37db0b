//! Allocation `plugin-name`: wide groups give a larger share than narrow ones.

use mrpf_api::prelude::*;

/// Settings of `plugin-name`; these comments are their help in `mrpf plugins show plugin-name`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct PluginNameSettings {
    /// Largest share of a group that may go, in (0, 1].
    pub max_ratio: f64,
    /// How much more the widest group gives; 0 treats all alike.
    pub power: f64,
}

impl Default for PluginNameSettings {
    fn default() -> Self {
        Self { max_ratio: 0.9, power: 0.5 }
    }
}

export_plugin!();

register_plugin! {
    kind: Allocation,
    name: "plugin-name",
    summary: "a share that grows with the group's width",
    source: "own",
    settings: PluginNameSettings,
    make: |settings| Ok(Box::new(PluginName { settings })),
}

struct PluginName {
    settings: PluginNameSettings,
}

impl Allocation for PluginName {
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let PluginNameSettings { max_ratio, power } = self.settings;
        let groups = request.problem.groups();
        let widest = groups.iter().map(|group| group.channels).max().unwrap_or(1) as f64;
        let weight: Vec<f64> = groups.iter().map(|group| (group.channels as f64 / widest).powf(power)).collect();
        // The solver looks for the strength at which the budget is met; shares must not fall as it grows.
        request.problem.solve(&|strength| {
            // At full strength every group gives as much as it may, so that every budget is reached.
            let share = |weight: f64| max_ratio * (strength * weight + strength * strength * (1.0 - weight));
            weight.iter().map(|&weight| share(weight)).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Allocation, "plugin-name")
    }
}
