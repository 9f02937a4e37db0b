//! Metric `mrs`: Module Robustness Sensitivity.
//!
//! How far the robust loss can rise when the weight of one module moves within a ball whose radius is relative to its norm,
//! on adversarial images that are made once and stay as they are. The paper (Bai et al. 2025, arXiv 2410.15176) names the
//! measure; its formula could not be had, and the definition of Module Robust Criticality (Zhu et al. 2023, arXiv 2308.02533,
//! definition 3.1), which it is taken to build on, stands in its place.

mod ascent;

pub use ascent::{Mode as AscentMode, ModuleAscent, rise_of_module};

use mrpf_api::prelude::*;

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
    pub steps: usize,
    /// Step length of `rift-code` and `rift-alg1`, which take the gradient as it is.
    pub learning_rate: f64,
    /// When the weight is put back into the ball; after every step in `strict` and after every pass in the others when not given.
    pub projection: Option<Projection>,
    /// Images looked at, class-balanced.
    pub images: usize,
    /// Which images are looked at.
    pub split: Split,
    /// Images in a batch.
    pub batch: usize,
    /// Radius of the attack that makes the adversarial images, in the unit of the pixels.
    pub epsilon: Fraction,
    /// Length of its steps; 2/255 as the paper means it, where RiFT's code has 2/225.
    pub attack_step_size: Fraction,
    /// Number of its steps.
    pub attack_steps: usize,
    /// Values before the module that moves are kept in so many MiB, and computed again for images beyond that. Changes nothing but the time.
    pub activation_mib: usize,
    /// Ends a module's ascent with a step or pass that raised the loss by less than this share of its rise so far; 0 never does.
    pub early_stop: f64,
}

/// Which images are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Split {
    /// Training images, so that nothing is chosen by the test set.
    #[default]
    Train,
    /// Test images, as RiFT's code does for CIFAR.
    Test,
}

/// When the weight is put back into the ball.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Projection {
    /// After every gradient step.
    PerStep,
    /// After every pass over the images.
    PerEpoch,
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
        let wrong = |what: &str, found: String, expected: &str| {
            Err(Error::new(ErrorKind::Settings, format!("{what} {found}, expected {expected}")))
        };
        if !(settings.radius >= 0.0 && settings.radius.is_finite()) {
            return wrong("radius", settings.radius.to_string(), "a share of at least 0");
        }
        if !(settings.learning_rate > 0.0 && settings.learning_rate.is_finite()) {
            return wrong("learning_rate", settings.learning_rate.to_string(), "a number above 0");
        }
        if settings.steps == 0 || settings.images == 0 || settings.batch == 0 {
            let found = format!("{}, images {}, batch {}", settings.steps, settings.images, settings.batch);
            return wrong("steps", found, "at least 1 of each");
        }
        if !(0.0..1.0).contains(&settings.early_stop) {
            return wrong("early_stop", settings.early_stop.to_string(), "a share of at least 0 and below 1");
        }
        if settings.epsilon.value() < 0.0 || settings.attack_step_size.value() <= 0.0 {
            let found = format!("{}, attack_step_size {}", settings.epsilon, settings.attack_step_size);
            return wrong("epsilon", found, "a radius of at least 0 and a positive step");
        }
        Ok(Self(settings))
    }

    /// The fixed adversarial images, in batches: PGD on the network in evaluation mode.
    fn adversarial(
        &self,
        cx: &CallContext<'_>,
        network: &Network,
        frozen: &FrozenNetwork,
        data: &LoadedData,
    ) -> Result<Batch> {
        let set = match self.0.split {
            Split::Train => &data.train,
            Split::Test => &data.test,
        };
        let indices = set.balanced_subset(self.0.images, &cx.streams.child("subset"));
        let ascent = Ascent {
            threat: ThreatModel { norm: Norm::Linf, epsilon: self.0.epsilon.clone() },
            step_size: self.0.attack_step_size.value(),
            steps: self.0.attack_steps,
            start: Start::Uniform,
        };
        let mut attacked = Vec::new();
        for part in indices.chunks(self.0.batch) {
            let batch = set.batch(part, network.dtype(), network.device())?;
            let start = ascent.starting_images(cx, &batch)?;
            let loss = |logits: &Tensor| loss::cross_entropy_per_image(logits, &batch.labels);
            attacked.push(ascend(cx, frozen, &batch.images, &start, &ascent, &loss)?);
        }
        Ok(set.batch(&indices, network.dtype(), network.device())?.with_images(Tensor::cat(&attacked, 0)?))
    }
}

impl SensitivityMetric for Mrs {
    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        let frozen = network.freeze()?;
        let set = self.adversarial(cx, network, &frozen, data)?;
        let orders: Vec<Vec<usize>> = (0..self.0.steps)
            .map(|pass| {
                let mut order: Vec<usize> = (0..set.len()).collect();
                cx.streams.child("order").child(pass).stream().shuffle(&mut order);
                order
            })
            .collect();
        let settings = ModuleAscent {
            mode: self.0.mode,
            radius: self.0.radius,
            steps: self.0.steps,
            learning_rate: self.0.learning_rate,
            projection: self.0.projection,
            batch: self.0.batch,
            memory: self.0.activation_mib << 20,
            early_stop: self.0.early_stop,
        };
        let modules: Vec<String> = network.declaration().modules().map(|layer| layer.name.clone()).collect();
        let mut values = Vec::with_capacity(modules.len());
        for (at, module) in modules.iter().enumerate() {
            cx.step(&format!("module {module}"), at, modules.len())?;
            let value = rise_of_module(cx, network, &frozen, module, &set, &orders, &settings)?;
            values.push(ModuleSensitivity { module: module.clone(), value });
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests;
