//! Criteria by how far a filter lies from the middle of its layer, where others can stand for it: `fpgm` and `geometric-median`.
//!
//! Both begin with the geometric median m of a layer's filters, the point from which the sum of the distances to them is least. He et al.
//! 2019 want to remove the filters nearest to it, and take, instead of looking for m, the filters whose own sum of distances to all others is
//! least: that sum is `fpgm`. `geometric-median` looks for m and scores a filter by its distance to it. The two
//! begin with the same filter where m is one of them; they differ because a sum of distances grows flatly near m, and in another way in each
//! direction.

mod distances;
mod newton;
mod weiszfeld;

use mrpf_api::prelude::*;

pub use weiszfeld::geometric_median;

use distances::{sums_of_distances, to_point};

/// Settings of `fpgm`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct FpgmSettings {
    /// What is compared.
    pub form: Form,
    /// How the sums of the layers that belong to one channel become one score.
    pub reduction: Reduction,
}

/// What is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Form {
    /// The filters that produce the channels, as the paper says. Its code may first leave out filters of small norm; here none are.
    #[default]
    Filters,
    /// The squares of the weights that produce the channels and of those that consume them, depthwise ones left out: what
    /// Torch-Pruning's FPGMImportance computes.
    CoupledSquares,
}

register_plugin! {
    kind: Criterion,
    name: "fpgm",
    summary: "sum of a filter's distances to the other filters of its layer",
    source: "He et al. 2019, Filter Pruning via Geometric Median, arXiv 1811.00250, as it is computed there; form coupled-squares: Torch-Pruning (Fang et al. 2023, arXiv 2301.12900)",
    settings: FpgmSettings,
    make: |settings| Ok(Box::new(Fpgm(settings))),
}

struct Fpgm(FpgmSettings);

impl Criterion for Fpgm {
    fn scores(&self, cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let coupled = CoupledWeights { norms: false, depthwise: false, biases: false };
        let members = match self.0.form {
            Form::Filters => group.producers().collect(),
            Form::CoupledSquares => coupled.of(network, group)?,
        };
        let mut rows = Vec::with_capacity(members.len());
        for member in members {
            cx.check_interrupt()?;
            let weight = network.parameter(&member.tensor)?.as_detached_tensor().in_f64()?;
            let points = member.slices(&if self.0.form == Form::Filters { weight } else { weight.sqr()? })?;
            rows.push(sums_of_distances(&points));
        }
        Ok(self.0.reduction.reduce(&rows, group.channels))
    }
}

/// Settings of `geometric-median`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct MedianSettings {
    /// How the distances of the layers that belong to one channel become one score.
    pub reduction: Reduction,
    /// The search ends with a step shorter than this share of the mean distance to the median; above 0.
    pub tolerance: f64,
    /// Most steps of the search; at least 1.
    #[schemars(range(max = 1_000_000))]
    pub steps: usize,
}

impl Default for MedianSettings {
    fn default() -> Self {
        Self { reduction: Reduction::default(), tolerance: 1e-9, steps: 1000 }
    }
}

register_plugin! {
    kind: Criterion,
    name: "geometric-median",
    summary: "distance of a filter from the geometric median of its layer's filters",
    source: "He et al. 2019, Filter Pruning via Geometric Median, arXiv 1811.00250, without its relaxation to the layer's own filters; the median by Weiszfeld's algorithm (Vardi and Zhang 2000) and Newton's",
    settings: MedianSettings,
    make: |settings| {
        if settings.tolerance > 0.0 && settings.steps > 0 {
            return Ok(Box::new(GeometricMedian(settings)));
        }
        let MedianSettings { tolerance, steps, .. } = settings;
        let message = format!("tolerance {tolerance}, {steps} steps, expected a tolerance above 0 and at least 1 step");
        Err(Error::new(ErrorKind::Settings, message))
    },
}

struct GeometricMedian(MedianSettings);

impl Criterion for GeometricMedian {
    fn scores(&self, cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let mut rows = Vec::new();
        for member in group.producers() {
            cx.check_interrupt()?;
            let weight = network.parameter(&member.tensor)?.as_detached_tensor().in_f64()?;
            let filters = member.slices(&weight)?;
            let points: Vec<&[f64]> = filters.iter().flatten().map(Vec::as_slice).collect();
            let median = geometric_median(&points, self.0.tolerance, self.0.steps);
            rows.push(to_point(&filters, &median));
        }
        Ok(self.0.reduction.reduce(&rows, group.channels))
    }
}

#[cfg(test)]
mod tests;
