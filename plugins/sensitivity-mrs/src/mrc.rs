//! Metric `mrc`: Module Robust Criticality, with the numbers of RiFT's code.
//!
//! What RiFT's code does (`main.py`, `layer_sharpness`) where its paper leaves room or says otherwise:
//! - the adversarial images are made once, of the *test* images, with steps of 2/225;
//! - plain SGD with learning rate 1 climbs in shuffled batches of 512, ten passes over the images, batch norm in evaluation mode;
//! - the weight is put back onto the sphere after each pass and the climb goes on from there;
//! - the largest loss after any pass counts, and 0 if none is above it; the value may be slightly negative.
//!
//! Module: the weight of each convolution and linear layer. RiFT passes over layers whose name contains `sub`; here every
//! module has a value, because every module may be pruned.

use mrpf_api::prelude::*;

use crate::ascent::{Mode, ModuleAscent, rises};

/// Settings of `mrc`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct MrcSettings {
    /// Which of RiFT's two descriptions is followed.
    pub mode: MrcMode,
    /// Radius of the ball, as a share of the weight's Frobenius norm.
    pub radius: f64,
    /// Passes over the images; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// Step length of the ascent, which takes the gradient as it is.
    pub learning_rate: f64,
    /// Images in a batch.
    #[schemars(range(max = 1_000_000))]
    pub batch: usize,
    /// Images looked at, class-balanced; all of the split when not given, as RiFT does.
    #[schemars(range(max = 100_000_000))]
    pub images: Option<usize>,
    /// Which images are looked at. RiFT's code takes the test images of CIFAR; to choose ratios by, `train` is the honest choice.
    pub split: Split,
    /// Radius of the attack that makes the adversarial images, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of its steps; 2/225 as in RiFT's code, where its paper means 2/255.
    #[schemars(extend("x-length" = "linf"))]
    pub attack_step_size: Fraction,
    /// Number of its steps.
    #[schemars(range(max = 10_000))]
    pub attack_steps: usize,
    /// Values before the module that moves are kept in so many MiB, and computed again for images beyond that. Changes nothing but the time.
    #[schemars(range(max = 16_777_216))]
    pub activation_mib: usize,
}

/// Which of RiFT's two descriptions is followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum MrcMode {
    /// Its code: all passes, each followed by the projection; the largest loss after any of them counts.
    #[default]
    RiftCode,
    /// Its algorithm 1: ended by the first pass that leaves the ball; the loss there counts.
    RiftAlg1,
}

impl Default for MrcSettings {
    fn default() -> Self {
        Self {
            mode: MrcMode::RiftCode,
            radius: 0.1,
            steps: 10,
            learning_rate: 1.0,
            batch: 512,
            images: None,
            split: Split::Test,
            epsilon: Fraction::new(8, 255),
            attack_step_size: Fraction::new(2, 225),
            attack_steps: 10,
            activation_mib: 1024,
        }
    }
}

register_plugin! {
    kind: Sensitivity,
    name: "mrc",
    summary: "Module Robust Criticality as RiFT's code measures it, on the test images",
    source: "Zhu et al. 2023 (RiFT), arXiv 2308.02533, definition 3.1 and algorithm 1; numbers of the authors' code",
    settings: MrcSettings,
    make: |settings| Ok(Box::new(Mrc::new(settings)?)),
}

/// A checked MRC metric.
pub struct Mrc(MrcSettings);

impl Mrc {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the setting, what was found and what was expected.
    pub fn new(settings: MrcSettings) -> Result<Self> {
        let metric = Self(settings);
        metric.ascent().check()?;
        metric.probe().check()?;
        Ok(metric)
    }

    /// The ascent on each module that the settings ask for.
    pub(crate) fn ascent(&self) -> ModuleAscent {
        ModuleAscent {
            mode: match self.0.mode {
                MrcMode::RiftCode => Mode::RiftCode,
                MrcMode::RiftAlg1 => Mode::RiftAlg1,
            },
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
        ProbeImages {
            split: self.0.split,
            images: self.0.images.unwrap_or(usize::MAX),
            batch: self.0.batch,
            epsilon: self.0.epsilon.clone(),
            attack_step_size: self.0.attack_step_size.clone(),
            attack_steps: self.0.attack_steps,
        }
    }
}

impl SensitivityMetric for Mrc {
    fn check(&self, _network: &Declaration) -> Result<Foresight> {
        Ok(Foresight::Fits)
    }

    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        let frozen = network.freeze()?;
        let set = self.probe().attacked(cx, network, &frozen, data)?;
        rises(cx, network, &frozen, &set, &self.ascent())
    }
}
