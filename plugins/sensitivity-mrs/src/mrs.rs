//! Metric `mrs`: Module Robustness Sensitivity.
//!
//! How far the robust loss can rise when the weight of one module moves within a ball whose radius is relative to its norm,
//! on adversarial images that are made once and stay as they are. The paper (Bai et al. 2025, arXiv 2410.15176) names the
//! measure; its formula could not be had, and the definition of Module Robust Criticality (Zhu et al. 2023, arXiv 2308.02533,
//! definition 3.1), which it is taken to build on, stands in its place.

use mrpf_api::prelude::*;

use crate::ascent::{Mode as AscentMode, ModuleAscent, rises};
use crate::projection::Projection;

/// Settings of `mrs`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct MrsSettings {
    /// How the worst weight in the ball is looked for.
    pub mode: AscentMode,
    /// Radius of the ball, as a share of the weight's Frobenius norm.
    pub radius: f64,
    /// `strict`: gradient steps on all images; the others: passes over the images in batches. At least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// Step length of `rift-code` and `rift-alg1`, which take the gradient as it is.
    pub learning_rate: f64,
    /// When the weight is put back into the ball; after every step in `strict` and after every pass in the others when not given.
    pub projection: Option<Projection>,
    /// Images looked at, class-balanced.
    #[schemars(range(max = 100_000_000))]
    pub images: usize,
    /// Which images are looked at.
    pub split: Split,
    /// Images in a batch.
    #[schemars(range(max = 1_000_000))]
    pub batch: usize,
    /// Radius of the attack that makes the adversarial images, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of its steps; 2/255 as the paper means it, where RiFT's code has 2/225.
    #[schemars(extend("x-length" = "linf"))]
    pub attack_step_size: Fraction,
    /// Number of its steps.
    #[schemars(range(max = 10_000))]
    pub attack_steps: usize,
    /// Values before the module that moves are kept in so many MiB, and computed again for images beyond that. Changes nothing but the time.
    #[schemars(range(max = 16_777_216))]
    pub activation_mib: usize,
    /// Ends a module's ascent with a step or pass that raised the loss by less than this share of its rise so far; 0 never does.
    pub early_stop: f64,
}

impl Default for MrsSettings {
    fn default() -> Self {
        Self {
            mode: AscentMode::Strict,
            radius: 0.1,
            steps: 10,
            learning_rate: 1.0,
            projection: None,
            images: 1024,
            split: Split::Train,
            batch: 512,
            epsilon: Fraction::new(8, 255),
            attack_step_size: Fraction::new(2, 255),
            attack_steps: 10,
            activation_mib: 1024,
            early_stop: 0.0,
        }
    }
}

register_plugin! {
    kind: Sensitivity,
    name: "mrs",
    summary: "rise of the robust loss when one module's weight moves within a relative ball",
    source: "Bai et al. 2025, arXiv 2410.15176, after Zhu et al. 2023 (RiFT), arXiv 2308.02533, definition 3.1 and algorithm 1",
    settings: MrsSettings,
    make: |settings| Ok(Box::new(Mrs::new(settings)?)),
}

/// A checked MRS metric.
pub struct Mrs(MrsSettings);

impl Mrs {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the setting, what was found and what was expected.
    pub fn new(settings: MrsSettings) -> Result<Self> {
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
            projection: self.0.projection,
            batch: self.0.batch,
            memory: self.0.activation_mib << 20,
            early_stop: self.0.early_stop,
        }
    }

    fn probe(&self) -> ProbeImages {
        ProbeImages {
            split: self.0.split,
            images: self.0.images,
            batch: self.0.batch,
            epsilon: self.0.epsilon.clone(),
            attack_step_size: self.0.attack_step_size.clone(),
            attack_steps: self.0.attack_steps,
        }
    }
}

impl SensitivityMetric for Mrs {
    fn check(&self, _network: &Declaration) -> Result<Foresight> {
        Ok(Foresight::Fits)
    }

    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        let frozen = network.freeze()?;
        let set = self.probe().attacked(cx, network, &frozen, data)?;
        rises(cx, network, &frozen, &set, &self.ascent())
    }
}
