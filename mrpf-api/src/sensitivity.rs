//! Sensitivity metrics: one number per module.

mod probe;

use serde::{Deserialize, Serialize};

pub use probe::{ProbeImages, Split};

use crate::Result;
use crate::context::CallContext;
use crate::data::LoadedData;
use crate::foresight::Foresight;
use crate::network::{Declaration, Network};

/// The sensitivity of one module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModuleSensitivity {
    /// Name of the layer whose weight was examined.
    pub module: String,
    /// How much depends on it: higher means that it should be pruned less. Finite.
    pub value: f64,
}

/// Measures how much a network depends on each of its modules.
pub trait SensitivityMetric: Send {
    /// Asked before anything is computed: will it take this network?
    ///
    /// Who answers [`Foresight::Fits`] or [`Foresight::FitsBut`] must not refuse that network later.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Settings`] for what it will refuse, saying what it takes.
    fn check(&self, _network: &Declaration) -> Result<Foresight> {
        Ok(Foresight::Unknown)
    }

    /// One finite number for each of [`crate::network::Declaration::modules`], in that order; the network is left as it was.
    ///
    /// Data is the whole data set; a metric says in its settings which part it looks at, training images unless asked.
    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>>;
}
