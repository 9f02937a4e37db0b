//! Settings of FAB.

use mrpf_api::prelude::*;

/// Settings of `fab`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct FabSettings {
    /// Number of steps; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// How often it starts anew; the first start is the clean image, the others are random. At least 1.
    #[schemars(range(max = 1_000))]
    pub restarts: usize,
    /// The largest share of a step that leads back towards the clean image; between 0 and 1.
    pub alpha_max: f64,
    /// How far a step goes, as a multiple of the way to the boundary; at least 1.
    pub eta: f64,
    /// What is kept of a misclassified point's way from the clean image; between 0 and 1.
    pub beta: f64,
}

impl Default for FabSettings {
    fn default() -> Self {
        Self { steps: 100, restarts: 1, alpha_max: 0.1, eta: 1.05, beta: 0.9 }
    }
}

impl FabSettings {
    /// # Errors
    /// [`ErrorKind::Settings`] with the setting that is out of range.
    pub(super) fn checked(self) -> Result<Self> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Settings, message));
        let (alpha_max, eta, beta) = (self.alpha_max, self.eta, self.beta);
        if self.steps == 0 || self.restarts == 0 {
            let (steps, restarts) = (self.steps, self.restarts);
            return wrong(format!("{steps} steps and {restarts} restarts, expected at least 1 of each"));
        }
        if !((0.0..=1.0).contains(&alpha_max) && (0.0..=1.0).contains(&beta)) {
            return wrong(format!("alpha_max {alpha_max} and beta {beta}, expected shares between 0 and 1"));
        }
        if !(eta >= 1.0 && eta.is_finite()) {
            return wrong(format!("eta {eta}, expected at least 1: a shorter step never crosses a boundary"));
        }
        Ok(self)
    }
}

/// Settings of `fab-t`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct FabTargetedSettings {
    /// How many wrong classes are tried, from the one with the highest logit on; all where a network has fewer. At least 1.
    #[schemars(range(max = 10_000))]
    pub targets: usize,
    /// Number of steps for each target; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// How often it starts anew for each target; the first start is the clean image, the others are random. At least 1.
    #[schemars(range(max = 1_000))]
    pub restarts: usize,
    /// The largest share of a step that leads back towards the clean image; between 0 and 1.
    pub alpha_max: f64,
    /// How far a step goes, as a multiple of the way to the boundary; at least 1.
    pub eta: f64,
    /// What is kept of a misclassified point's way from the clean image; between 0 and 1.
    pub beta: f64,
}

impl Default for FabTargetedSettings {
    fn default() -> Self {
        let FabSettings { steps, restarts, alpha_max, eta, beta } = FabSettings::default();
        Self { targets: 9, steps, restarts, alpha_max, eta, beta }
    }
}

impl FabTargetedSettings {
    pub(super) fn split(self) -> Result<(usize, FabSettings)> {
        let Self { targets, steps, restarts, alpha_max, eta, beta } = self;
        if targets == 0 {
            return Err(Error::new(ErrorKind::Settings, "0 targets, expected at least 1"));
        }
        Ok((targets, FabSettings { steps, restarts, alpha_max, eta, beta }.checked()?))
    }
}
