//! Settings of APGD.

use mrpf_api::prelude::*;

/// Settings of `apgd-ce` and `apgd-dlr`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct ApgdSettings {
    /// Number of steps; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// How often it starts anew from other noise; at least 1.
    #[schemars(range(max = 1_000))]
    pub restarts: usize,
    /// Share of the steps between two checks in which the loss must rise, or the step is halved; between 0 and 1.
    pub rho: f64,
    /// How many gradients are averaged for a step; above 1 for networks that are random, at least 1.
    #[schemars(range(max = 1_000))]
    pub gradients: usize,
    /// Begin in balls of three and two times the radius; L1 only.
    pub large_radii: bool,
}

impl Default for ApgdSettings {
    fn default() -> Self {
        Self { steps: 100, restarts: 1, rho: 0.75, gradients: 1, large_radii: false }
    }
}

impl ApgdSettings {
    /// # Errors
    /// [`ErrorKind::Settings`] with the setting that is out of range.
    pub(super) fn checked(self) -> Result<Self> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Settings, message));
        let (steps, restarts, gradients, rho) = (self.steps, self.restarts, self.gradients, self.rho);
        if steps == 0 || restarts == 0 || gradients == 0 {
            return wrong(format!(
                "{steps} steps, {restarts} restarts, {gradients} gradients a step, expected at least 1 of each"
            ));
        }
        if !(0.0..=1.0).contains(&rho) {
            return wrong(format!("rho {rho}, expected a share between 0 and 1"));
        }
        if self.large_radii && steps < 5 {
            return wrong(format!("{steps} steps with large_radii, expected at least 5: three balls share them"));
        }
        Ok(self)
    }
}

/// Settings of `apgd-t`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct ApgdTargetedSettings {
    /// How many wrong classes are tried, from the one with the highest logit on; all where a network has fewer. At least 1.
    #[schemars(range(max = 10_000))]
    pub targets: usize,
    /// Number of steps for each target; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// How often it starts anew for each target; at least 1.
    #[schemars(range(max = 1_000))]
    pub restarts: usize,
    /// Share of the steps between two checks in which the loss must rise, or the step is halved; between 0 and 1.
    pub rho: f64,
    /// How many gradients are averaged for a step; above 1 for networks that are random, at least 1.
    #[schemars(range(max = 1_000))]
    pub gradients: usize,
    /// Begin in balls of three and two times the radius; L1 only.
    pub large_radii: bool,
}

impl Default for ApgdTargetedSettings {
    fn default() -> Self {
        let ApgdSettings { steps, restarts, rho, gradients, large_radii } = ApgdSettings::default();
        Self { targets: 9, steps, restarts, rho, gradients, large_radii }
    }
}

impl ApgdTargetedSettings {
    pub(super) fn split(self) -> Result<(usize, ApgdSettings)> {
        let Self { targets, steps, restarts, rho, gradients, large_radii } = self;
        if targets == 0 {
            return Err(Error::new(ErrorKind::Settings, "0 targets, expected at least 1"));
        }
        Ok((targets, ApgdSettings { steps, restarts, rho, gradients, large_radii }.checked()?))
    }
}
