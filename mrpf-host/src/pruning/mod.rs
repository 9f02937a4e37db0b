//! Pruning: from a network, sensitivities and a ratio to a plan and a smaller network.

mod allocate;
mod dense;
mod forecast;
mod group_sensitivity;
mod layer_times;
mod rounds;
mod step;

pub use dense::Dense;
pub use forecast::{Forecast, ForecastRequest, LayerForecast, forecast};
pub use group_sensitivity::group_sensitivities;
pub use layer_times::measure_layer_times;
pub use rounds::{Round, rounds};
pub use step::{GroupRecord, PruneRecord, PruneStep, Pruned, prune_step};
