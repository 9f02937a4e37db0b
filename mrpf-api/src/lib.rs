//! What a plugin of mrpf is written against.
//!
//! mrpf measures how sensitive each module's robustness is, turns that into a pruning ratio per layer, removes channels for
//! real, fine-tunes adversarially and attacks the result. Every step is a plugin: a type that implements one of the traits
//! here and is announced with [`register_plugin!`]; [`export_plugin!`] makes a library of it that the program opens while it runs. This crate never prints, never reads files and never draws unseeded
//! randomness; the program itself is `mrpf-host`.
//!
//! Reading order: [`network`] (a network is a declaration), [`coupling`] (what must shrink together), the traits, the
//! [`registry`], [`export`].

pub mod allocation;
pub mod architecture;
pub mod attack;
pub mod budget;
pub mod conformance;
pub mod context;
pub mod coupling;
pub mod criterion;
pub mod data;
pub mod device;
mod engine;
mod error;
pub mod export;
pub mod foresight;
pub mod fraction;
mod halving;
pub mod network;
pub mod numeric;
pub mod random;
pub mod registry;
pub mod schedule;
pub mod sensitivity;
pub mod trainer;

pub use error::{Context, Error, ErrorKind, Result, nearest_first};

// Plugins use these copies and no others: Candle numbers its autograd nodes by a static of each linked copy.
pub use {candle_core, candle_nn, inventory, rayon, schemars, serde, serde_json};

/// Everything that a plugin usually needs.
pub mod prelude {
    pub use crate::allocation::{Allocation, AllocationRequest};
    pub use crate::architecture::{Architecture, ArchitectureRequest};
    pub use crate::attack::{
        Ascent, Attack, AttackMeans, AttackOutcome, AttackPart, Norm, Start, ThreatModel, ascend, ascend_watched,
    };
    pub use crate::budget::{BudgetKind, BudgetProblem, Constraints, Solution};
    pub use crate::context::{CallContext, Unwatched, Watcher};
    pub use crate::coupling::{ChannelGroup, CoupledWeights, Member, Reduction, Role};
    pub use crate::criterion::Criterion;
    pub use crate::data::{ArchiveFormat, Batch, DataSource, Download, ImageSet, ImageShape, LoadedData};
    pub use crate::foresight::Foresight;
    pub use crate::fraction::Fraction;
    pub use crate::network::{
        Builder, Classifier, Declaration, FrozenNetwork, InputGradient, Mode, Network, Suffix, Weights,
    };
    pub use crate::numeric::{ConvGeometry, InF64, PoolGeometry, loss};
    pub use crate::random::Streams;
    pub use crate::registry::Kind;
    pub use crate::schedule::PruningSchedule;
    pub use crate::sensitivity::{ModuleSensitivity, ProbeImages, SensitivityMetric, Split};
    pub use crate::trainer::{AdversarialTrainer, EpochEnd, TrainingLoss, TrainingStep};
    pub use crate::{Context, Error, ErrorKind, Result};
    pub use crate::{export_plugin, register_plugin};
    pub use candle_core::backprop::GradStore;
    pub use candle_core::{DType, Device, Tensor, Var};
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
}
