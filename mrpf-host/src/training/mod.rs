//! Training: epochs of an adversarial trainer with SGD, the best epoch chosen on held-out training images.

mod augment;
mod batches;
mod check;
mod checkpoint;
mod device_images;
mod epoch;
mod holdout;
mod job;
mod learning_rate;
mod parts;
mod prefetch;
mod settings;
mod sgd;
mod step;
mod validate;

pub use augment::augment;
pub use checkpoint::Checkpoint;
pub use holdout::{Split, classes_without};
pub(crate) use job::missing_teacher;
pub use job::{EpochRecord, Trained, TrainingJob, train};
pub use settings::{Augment, Decay, Flip, LearningRate, Padding, Select, TrainingSettings, Validation};
pub use sgd::Sgd;
pub(crate) use step::train_step;

#[cfg(test)]
mod tests;
