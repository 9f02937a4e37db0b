//! Training: epochs of an adversarial trainer with SGD, the best epoch chosen on held-out training images.

mod job;
mod settings;

pub use job::{EpochRecord, Split, Trained, TrainingJob, train};
pub use settings::{Augment, Decay, Flip, LearningRate, Padding, Select, TrainingSettings, Validation};
