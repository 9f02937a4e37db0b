//! Metric `clean-sensitivity`: what `mrs` measures, on clean images.
//!
//! A module can matter for accuracy and not for robustness, or the other way round. Beside `mrs` this shows which, because nothing
//! else differs: the same ball, the same ascent, the same images before the attack.

use mrpf_api::prelude::*;

use crate::ascent::{Mode, ModuleAscent, rises};

/// Settings of `clean-sensitivity`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct CleanSensitivitySettings {
    /// How the worst weight in the ball is looked for.
    pub mode: Mode,
    /// Radius of the ball, as a share of the weight's Frobenius norm.
    pub radius: f64,
    /// `strict`: gradient steps on all images; the others: passes over the images in batches. At least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// Step length of `rift-code` and `rift-alg1`, which take the gradient as it is.
    pub learning_rate: f64,
    /// Images looked at, class-balanced.
    #[schemars(range(max = 100_000_000))]
    pub images: usize,
    /// Which images are looked at.
    pub split: Split,
    /// Images in a batch.
    #[schemars(range(max = 1_000_000))]
    pub batch: usize,
    /// Values before the module that moves are kept in so many MiB, and computed again for images beyond that. Changes nothing but the time.
    #[schemars(range(max = 16_777_216))]
    pub activation_mib: usize,
}

impl Default for CleanSensitivitySettings {
    fn default() -> Self {
        Self {
            mode: Mode::Strict,
            radius: 0.1,
            steps: 10,
            learning_rate: 1.0,
            images: 1024,
            split: Split::Train,
            batch: 512,
            activation_mib: 1024,
        }
    }
}

register_plugin! {
    kind: Sensitivity,
    name: "clean-sensitivity",
    summary: "rise of the clean loss when one module's weight moves within a relative ball; mrs without the attack",
    source: "own control for mrs; the ball of Zhu et al. 2023 (RiFT), arXiv 2308.02533, definition 3.1",
    settings: CleanSensitivitySettings,
    make: |settings| Ok(Box::new(CleanSensitivity::new(settings)?)),
}

/// A checked clean-sensitivity metric.
pub struct CleanSensitivity(CleanSensitivitySettings);

impl CleanSensitivity {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the setting, what was found and what was expected.
    pub fn new(settings: CleanSensitivitySettings) -> Result<Self> {
        let metric = Self(settings);
        metric.ascent().check()?;
        metric.probe().check()?;
        Ok(metric)
    }

    fn ascent(&self) -> ModuleAscent {
        ModuleAscent {
            mode: self.0.mode,
            radius: self.0.radius,
            steps: self.0.steps,
            learning_rate: self.0.learning_rate,
            projection: None,
            batch: self.0.batch,
            memory: self.0.activation_mib << 20,
            early_stop: 0.0,
        }
    }

    fn probe(&self) -> ProbeImages {
        ProbeImages::unattacked(self.0.split, self.0.images, self.0.batch)
    }
}

impl SensitivityMetric for CleanSensitivity {
    fn check(&self, _network: &Declaration) -> Result<Foresight> {
        Ok(Foresight::Fits)
    }

    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        let set = self.probe().clean(cx, network, data)?;
        rises(cx, network, &network.freeze()?, &set, &self.ascent())
    }
}
