//! Settings of one training stage.

use mrpf_api::fraction::Fraction;
use mrpf_api::numeric::Precision;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use crate::experiment::PluginChoice;
use crate::files::path_text;

/// One training stage: pretraining, or the fine-tuning after pruning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSettings {
    /// What makes the loss of a batch; `mrpf plugins list` shows them.
    pub trainer: PluginChoice,
    /// File of a saved network to learn from, for trainers that distil. When not given, fine-tuning in a run learns from its dense
    /// network.
    #[serde(default, with = "path_text::optional")]
    pub teacher: Option<PathBuf>,
    /// Passes over the training images; 0 leaves the network as it is.
    pub epochs: usize,
    /// Images in a step.
    pub batch: usize,
    /// In which numbers passes are computed on an NVIDIA GPU, attacks and validation included: `f32`, `tf32`, `bf16` or `f16`. Weights,
    /// sums and the optimiser stay in f32, and so does everything after the stage. Other devices compute in f32 whatever this says.
    pub precision: Precision,
    /// Step length over time.
    pub learning_rate: LearningRate,
    /// Share of the last step's direction that is kept, in [0, 1).
    pub momentum: f64,
    /// Nesterov's form of the momentum.
    pub nesterov: bool,
    /// Weight decay, coupled as in PyTorch's SGD.
    pub weight_decay: f64,
    /// Whether batch-norm scales and shifts and biases decay too.
    pub decay_norm_and_bias: bool,
    /// Largest allowed norm of the whole gradient; none when not given.
    pub clip: Option<f64>,
    /// Share of each label that is spread over all classes, in [0, 1).
    pub label_smoothing: f64,
    /// How images are varied.
    pub augment: Augment,
    /// Which epoch's network is taken: `best` or `best-clean` on held-out images, or the `last`.
    pub select: Select,
    /// The attack on held-out images by which the best epoch is chosen.
    pub validation: Validation,
}

/// Step length over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRate {
    /// The largest value.
    pub peak: f64,
    /// How it falls.
    pub decay: Decay,
    /// Share of all steps in which it first rises linearly from 0, in [0, 1).
    pub warm_up: f64,
    /// `step` only: shares of all steps at which it is multiplied by `factor`.
    pub milestones: Vec<f64>,
    /// `step` only: the factor.
    pub factor: f64,
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Not at all.
    Constant,
    /// By a factor at milestones (Rice et al. 2020: tenfold at 50 % and 75 %).
    Step,
    /// Half a cosine down to 0 (Loshchilov and Hutter 2017).
    #[default]
    Cosine,
    /// One triangle: up to the peak at half the steps, then down to 0 (Smith 2017; Wong et al. 2020).
    Cyclic,
}

/// How training images are varied; every image is varied anew in each epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Pixels added on each side before a random crop of the old size; 0 for none.
    pub crop: usize,
    /// What the added pixels are.
    pub padding: Padding,
    /// Random mirroring; `auto` mirrors where the data set says that it keeps the class.
    pub flip: Flip,
    /// Side in pixels of a square at a random place that is filled with the data set's mean (DeVries and Taylor 2017, arXiv
    /// 1708.04552: 16 for CIFAR-10); 0 for none.
    pub cutout: usize,
}

/// What pixels outside the image are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// Black.
    #[default]
    Zero,
    /// The image mirrored at its edge, without repeating the edge.
    Reflect,
}

/// Whether images are mirrored at random.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flip {
    /// Where the data set says that it keeps the class.
    #[default]
    Auto,
    /// Always with probability one half.
    On,
    /// Never.
    Off,
}

/// Which epoch's network is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// The one with the highest robust accuracy on held-out images (against robust overfitting); of equals the later.
    #[default]
    Best,
    /// The one with the highest clean accuracy on held-out images, for training without attacks; of equals the later.
    BestClean,
    /// The last.
    Last,
}

/// The attack on held-out images by which the best epoch is chosen: PGD in the L-inf ball.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Radius.
    pub epsilon: Fraction,
    /// Length of a step.
    pub step_size: Fraction,
    /// Number of steps.
    pub steps: usize,
}

impl Default for TrainingSettings {
    /// The recipe of Rice et al. 2020 in short form: SGD, momentum 0.9, weight decay 5e-4, batch 128, PGD-10 validation.
    fn default() -> Self {
        Self {
            trainer: PluginChoice::named("pgd-at"),
            teacher: None,
            epochs: 30,
            batch: 128,
            precision: Precision::F32,
            learning_rate: LearningRate::default(),
            momentum: 0.9,
            nesterov: false,
            weight_decay: 5e-4,
            decay_norm_and_bias: false,
            clip: None,
            label_smoothing: 0.0,
            augment: Augment::default(),
            select: Select::Best,
            validation: Validation::default(),
        }
    }
}

impl Default for LearningRate {
    fn default() -> Self {
        Self { peak: 0.1, decay: Decay::Cosine, warm_up: 0.0, milestones: vec![0.5, 0.75], factor: 0.1 }
    }
}

impl Default for Augment {
    fn default() -> Self {
        Self { crop: 4, padding: Padding::Zero, flip: Flip::Auto, cutout: 0 }
    }
}

impl Default for Validation {
    fn default() -> Self {
        Self { epsilon: Fraction::new(8, 255), step_size: Fraction::new(2, 255), steps: 10 }
    }
}
