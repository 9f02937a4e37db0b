//! What the findings show and what they do not: means over seeds, tests of pairs, ranks, agreement of metrics, overlap of what is kept.

mod agreement;
mod bootstrap;
mod correlation;
mod holm;
mod mcnemar;
mod mean;
mod overlap;
mod pairs;
mod ranking;
mod rounding;
mod setting;
#[cfg(test)]
mod tests;

pub use agreement::{Agreement, Unit, agreement};
pub use bootstrap::{RESAMPLES, paired_bootstrap};
pub use correlation::{kendall_tau_b, spearman};
pub use holm::holm;
pub use mcnemar::McNemar;
pub use mean::Mean;
pub use overlap::{GroupOverlap, Overlap, jaccard, jaccard_by_chance};
pub use pairs::{Outcome, Pair};
pub use ranking::{Ranking, classes};
pub use setting::{MethodStatistics, SettingStatistics};

use serde::{Deserialize, Serialize};

use super::findings::Findings;

/// A difference is called shown where the corrected p value is below this.
pub const LEVEL: f64 = 0.05;

/// The statistics of a comparison. They do not depend on the order of its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// The settings of the grid in their order, each with its methods.
    pub settings: Vec<SettingStatistics>,
    /// How alike two sensitivity metrics rank what may be pruned of a dense network.
    pub agreement: Vec<Agreement>,
}

impl Statistics {
    /// Computes them.
    pub fn of(findings: &Findings) -> Self {
        let mut settings = setting::settings(findings);
        pairs::correct(settings.iter_mut().flat_map(|setting| &mut setting.pairs));
        settings.iter_mut().for_each(SettingStatistics::rank);
        Self { settings, agreement: agreement::of_metrics(findings) }
    }

    /// How many pairs the p values of an outcome are corrected for.
    pub fn family(&self, outcome: Outcome) -> usize {
        self.settings.iter().flat_map(|setting| &setting.pairs).filter(|pair| pair.outcome == outcome).count()
    }
}
