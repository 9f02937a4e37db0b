//! The pipeline: stages that the commands put together, each with a result on disk that a resumed run finds again.

mod evaluate;
mod finish;
mod measure;
mod session;
mod train;
mod variant;

pub use session::{Opened, Session};
pub use train::TrainedRecord;
pub use variant::{Finished, PrunedRow};
