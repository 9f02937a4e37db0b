//! Sensitivity metrics: one number per module.

mod probe;

use serde::{Deserialize, Serialize};

pub use probe::{ProbeImages, Split};

use crate::Result;
use crate::context::CallContext;
use crate::data::LoadedData;
use crate::network::Network;

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
    /// One finite number for each of [`crate::network::Declaration::modules`], in that order; the network is left as it was.
    ///
    /// Data is the whole data set; a metric says in its settings which part it looks at, training images unless asked.
    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>>;
}
