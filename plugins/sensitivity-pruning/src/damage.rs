//! Metric `prune-and-measure`: the damage that pruning a group alone does.

use mrpf_api::prelude::*;
use mrpf_api::registry;
use mrpf_api::serde_json::{Map, Value};

use crate::one_group::OneGroup;

/// Settings of `prune-and-measure`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct DamageSettings {
    /// Share of the group's channels that is removed, above 0 and below 1; at least one channel goes.
    pub ratio: f64,
    /// Name of the criterion that chooses them, at its usual settings.
    pub criterion: String,
    /// Images looked at, class-balanced.
    #[schemars(range(max = 100_000_000))]
    pub images: usize,
    /// Which images are looked at.
    pub split: Split,
    /// Images in a batch; changes nothing but the memory.
    #[schemars(range(max = 1_000_000))]
    pub batch: usize,
    /// Radius of the attack that makes the adversarial images, in the unit of the pixels; 0 leaves them clean. The network as it is is
    /// attacked, once.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of its steps.
    #[schemars(extend("x-length" = "linf"))]
    pub attack_step_size: Fraction,
    /// Number of its steps.
    #[schemars(range(max = 10_000))]
    pub attack_steps: usize,
}

impl Default for DamageSettings {
    fn default() -> Self {
        Self {
            ratio: 0.5,
            criterion: "l1-norm".into(),
            images: 1024,
            split: Split::Train,
            batch: 128,
            epsilon: Fraction::new(8, 255),
            attack_step_size: Fraction::new(2, 255),
            attack_steps: 10,
        }
    }
}

register_plugin! {
    kind: Sensitivity,
    name: "prune-and-measure",
    summary: "rise of the robust loss when the module's group alone is pruned by a ratio",
    source: "the sensitivity analysis of Li et al. 2017, arXiv 1608.08710, section 3.2, with the loss on attacked images",
    settings: DamageSettings,
    make: |settings| Ok(Box::new(PruneAndMeasure::new(settings)?)),
}

/// A checked metric.
pub struct PruneAndMeasure {
    ratio: f64,
    criterion: String,
    probe: ProbeImages,
}

impl PruneAndMeasure {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the setting, what was found and what was expected; [`ErrorKind::UnknownName`] for a criterion that
    /// there is not.
    pub fn new(settings: DamageSettings) -> Result<Self> {
        let DamageSettings { ratio, criterion, images, split, batch, epsilon, attack_step_size, attack_steps } =
            settings;
        if !(ratio > 0.0 && ratio < 1.0) {
            let message = format!("ratio {ratio}, expected a share above 0 and below 1");
            return Err(Error::new(ErrorKind::Settings, message));
        }
        let probe = ProbeImages { split, images, batch, epsilon, attack_step_size, attack_steps };
        probe.check()?;
        registry::find(Kind::Criterion, &criterion)?;
        Ok(Self { ratio, criterion, probe })
    }
}

impl SensitivityMetric for PruneAndMeasure {
    fn check(&self, network: &Declaration) -> Result<Foresight> {
        registry::make::<dyn Criterion>(&self.criterion, Value::Object(Map::new()))?.check(network)
    }

    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        let set = self.probe.attacked(cx, network, &network.freeze()?, data)?;
        let pruned = OneGroup::new(cx, network, data, &self.criterion, set, self.probe.batch)?;
        pruned.for_modules(|at| {
            let channels = pruned.groups()[at].channels;
            let keep = (channels as f64 * (1.0 - self.ratio)).round() as usize;
            pruned.rise(at, keep.clamp(pruned.fewest(at), channels - 1))
        })
    }
}
