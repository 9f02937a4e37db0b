//! Benchmarks of the work that a run is made of, with the flags and fields of a peer's script, so that the two can be paired.
//!
//! Images and labels are random: how long the work takes does not depend on them. One process times one piece of work; machines are
//! shared, so ours and the peer's belong in turns in one sitting, and the ratio of the medians is what counts.

mod report;
mod work;

pub use report::{Peer, as_json_line, as_table, read_peers};
pub use work::{Settings, What, measure};

use mrpf_api::numeric::Precision;
use serde::{Deserialize, Serialize};

/// What was measured, with the fields of a line of JSON. Those that do not belong to the work are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measurement {
    /// The work: `conv`, `forward`, `attack`, `train_step`, `mrs` or `cut`.
    pub what: String,
    /// The network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The trainer of a training step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trainer: Option<String>,
    /// Steps of the attack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack_steps: Option<usize>,
    /// The share of its multiply-accumulates that the network was cut to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<f64>,
    /// `mrs`: size of the fixed adversarial set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// `mrs`: ascent epochs for each module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// `conv`: `forward` or `forward_backward`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<String>,
    /// `conv`: channels in and out, height and width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<[usize; 3]>,
    /// `forward`, `attack` and `train_step`: the numbers that were computed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Images in a batch.
    pub batch: usize,
    /// Threads that computations use.
    pub threads: usize,
    /// Where it was computed.
    pub device: String,
    /// Time of each repetition.
    pub seconds: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// Images of a batch over the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_s: Option<f64>,
    /// `conv`: multiplications and additions of the plain algorithm, in 1e9 a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
}

impl Measurement {
    /// Whether `other` timed the same work, so that the two may be compared. A line that names no precision goes with any.
    pub fn is_same_work(&self, other: &Self) -> bool {
        let work = |m: &Self| {
            let names = (m.what.clone(), m.arch.clone(), m.trainer.clone(), m.pass.clone());
            (names, m.macs, m.attack_steps, m.images, m.epochs, m.shape, m.batch, m.threads)
        };
        let same_numbers = self.precision.zip(other.precision).is_none_or(|(ours, theirs)| ours == theirs);
        same_numbers && work(self) == work(other)
    }
}
