//! Experiments: settings as written in TOML and on the command line, checked and resolved.

mod architecture;
mod choice;
mod defaults;
mod files;
mod foresight;
mod load;
mod merge;
mod settings;
mod variant;

#[cfg(test)]
mod hostile;

pub use architecture::architecture;
pub use choice::PluginChoice;
pub use foresight::Ahead;
pub(crate) use load::check_counts;
pub use load::{BUILT_IN, Base, Chosen, Sources};
pub(crate) use merge::assignment;
pub use settings::{
    Combine, CompareRow, DataSettings, EvaluateSettings, Experiment, GridSettings, NetworkSettings, Pretraining,
    PruneSettings,
};
pub use variant::{Repeated, Variant};
