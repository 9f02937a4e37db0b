//! Allocation `lamp-global`: all channels compete by their LAMP scores.
//!
//! LAMP divides the square of a weight by the sum of the squares of all weights of its layer that are not smaller: how much of what
//! is left would go with it. Here a channel's score stands for the weight and its group for the layer, so that no group needs a
//! normaliser, and the best channel of every group goes last.

use mrpf_api::prelude::*;

use crate::ranking::{candidates, check_max_ratio, in_order, solve};

/// Settings of `lamp-global`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct LampSettings {
    /// Exponent of the scores, above 0: 2 for scores that are lengths, such as those of `l2-norm`; 1 for scores that are squares already.
    pub power: f64,
    /// Largest share of a group that may go, in (0, 1].
    pub max_ratio: f64,
}

impl Default for LampSettings {
    fn default() -> Self {
        Self { power: 2.0, max_ratio: 0.9 }
    }
}

register_plugin! {
    kind: Allocation,
    name: "lamp-global",
    summary: "ranks all channels together by their share of what their group has left (LAMP)",
    source: "Lee et al. 2021, arXiv 2010.07611, equation 2; on channel scores as in Torch-Pruning (Fang et al. 2023, arXiv 2301.12900)",
    settings: LampSettings,
    make: |settings| Ok(Box::new(LampGlobal::new(settings)?)),
}

pub(crate) struct LampGlobal(LampSettings);

impl LampGlobal {
    pub(crate) fn new(settings: LampSettings) -> Result<Self> {
        check_max_ratio(settings.max_ratio)?;
        match settings.power > 0.0 && settings.power.is_finite() {
            true => Ok(Self(settings)),
            false => {
                let message = format!("power {}, expected a number above 0", settings.power);
                Err(Error::new(ErrorKind::Settings, message))
            }
        }
    }
}

/// For each channel score^power over the sum of score^power of the channels of the group that do not score less, in [0, 1].
///
/// Of equal scores the first in order is taken to be the smallest, as the original does by sorting. Negative scores, which LAMP does
/// not know, are lifted until the lowest is 0; a channel with nothing above it to share with has 0 if it scores 0.
pub fn lamp_scores(scores: &[f64], power: f64) -> Vec<f64> {
    let lift = scores.iter().copied().fold(0.0, f64::min);
    // Divided by the largest, so that no power leaves the range of numbers.
    let largest = scores.iter().map(|score| score - lift).fold(f64::MIN_POSITIVE, f64::max);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(b.cmp(&a)));
    let (mut sum, mut lamp) = (0.0, vec![0.0; scores.len()]);
    for at in order {
        let value = ((scores[at] - lift) / largest).powf(power);
        sum += value;
        lamp[at] = if sum > 0.0 { value / sum } else { 0.0 };
    }
    lamp
}

impl Allocation for LampGlobal {
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let ranked = candidates(request, self.0.max_ratio, |scores| lamp_scores(scores, self.0.power));
        solve(request.problem, &[in_order(ranked)])
    }
}
