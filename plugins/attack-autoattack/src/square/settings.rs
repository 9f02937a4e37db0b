//! Settings of Square.

use mrpf_api::prelude::*;

/// Settings of `square`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct SquareSettings {
    /// How many points are tried after the start; at least 1.
    #[schemars(range(max = 1_000_000))]
    pub queries: usize,
    /// How often it starts anew; at least 1.
    #[schemars(range(max = 1_000))]
    pub restarts: usize,
    /// Share of the image's area that the first squares have; above 0, at most 1.
    pub p_init: f64,
    /// Whether the squares shrink in proportion to `queries` instead of as for 10,000; AutoAttack does not.
    pub rescale_schedule: bool,
}

impl Default for SquareSettings {
    fn default() -> Self {
        Self { queries: 5000, restarts: 1, p_init: 0.8, rescale_schedule: false }
    }
}

impl SquareSettings {
    /// # Errors
    /// [`ErrorKind::Settings`] with the setting that is out of range.
    pub(super) fn checked(self) -> Result<Self> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Settings, message));
        if self.queries == 0 || self.restarts == 0 {
            let (queries, restarts) = (self.queries, self.restarts);
            return wrong(format!("{queries} queries and {restarts} restarts, expected at least 1 of each"));
        }
        if !(self.p_init > 0.0 && self.p_init <= 1.0) {
            return wrong(format!("p_init {}, expected a share above 0, at most 1", self.p_init));
        }
        Ok(self)
    }
}
