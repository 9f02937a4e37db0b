//! The pipeline: stages that the commands put together, each with a result on disk that a resumed run finds again.

mod evaluate;
mod finish;
mod keys;
mod measure;
mod resumed;
mod saved_network;
mod session;
mod timing;
mod train;
mod variant;

pub use saved_network::read_model;
pub use session::{Opened, Session};
pub use timing::read_layer_times;
pub use train::{TrainedRecord, TrainingStage};
pub use variant::{Finished, PrunedRow};
