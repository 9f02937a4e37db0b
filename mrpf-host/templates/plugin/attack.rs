//! Attack `plugin-name`: noise, the worst of several draws. Needs no gradient.

use mrpf_api::prelude::*;

/// Settings of `plugin-name`; these comments are their help in `mrpf plugins show plugin-name`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct PluginNameSettings {
    /// How many draws; at least 1.
    #[schemars(range(max = 100_000))]
    pub draws: usize,
}

impl Default for PluginNameSettings {
    fn default() -> Self {
        Self { draws: 10 }
    }
}

export_plugin!();

register_plugin! {
    kind: Attack,
    name: "plugin-name",
    summary: "random noise inside the ball, the worst of several draws",
    source: "own",
    settings: PluginNameSettings,
    make: |settings| Ok(Box::new(PluginName { draws: settings.draws })),
}

struct PluginName {
    draws: usize,
}

impl Attack for PluginName {
    fn check(&self, _threat: &ThreatModel, _classes: usize, _shape: ImageShape) -> Result<Foresight> {
        // Asked before anything is computed. Refuse here what `attack` would refuse; it knows every norm.
        Ok(Foresight::Fits)
    }

    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        let epsilon = threat.epsilon.value();
        let shape = &batch.images.dims()[1..];
        let mut worst = AttackOutcome::judge(classifier, batch.images.clone(), &batch.labels)?;
        for draw in 0..self.draws {
            cx.check_interrupt()?;
            // Random numbers are addressed by image, so that batch size and order do not matter.
            let noise = cx.streams.child(draw).normal_per_image(&batch.indices, shape, &batch.images)?;
            let moved = threat.project(&batch.images, &(&batch.images + (noise * epsilon)?)?)?;
            worst = worst.worse(AttackOutcome::judge(classifier, moved, &batch.labels)?)?;
        }
        Ok(worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Attack, "plugin-name")
    }
}
