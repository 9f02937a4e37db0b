//! Metric `score-bisection`: how much of its width a group needs.
//!
//! A group is narrowed, alone, until the loss has risen by more than a threshold: first in even steps from wide to narrow, so that
//! a loss that does not rise evenly is not taken for one that does, then by halving the step in which it passed the threshold. The
//! share of the channels that is left there, between whole channels by a straight line, is the sensitivity. FastNAS looks for the
//! narrowest width that it may search in the same way.

use mrpf_api::prelude::*;
use mrpf_api::registry;
use mrpf_api::serde_json::{Map, Value};

use crate::one_group::OneGroup;

/// Settings of `score-bisection`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct BisectionSettings {
    /// Rise of the mean cross-entropy that a group may cause, above 0.
    pub threshold: f64,
    /// Even steps from the whole width to the narrowest, at least 1.
    #[schemars(range(max = 10_000))]
    pub widths: usize,
    /// Name of the criterion that chooses the channels, at its usual settings.
    pub criterion: String,
    /// Images looked at, class-balanced.
    #[schemars(range(max = 100_000_000))]
    pub images: usize,
    /// Which images are looked at.
    pub split: Split,
    /// Images in a batch; changes nothing but the memory.
    #[schemars(range(max = 1_000_000))]
    pub batch: usize,
    /// Radius of the attack that makes the adversarial images, in the unit of the pixels; 0 leaves them clean. The network as it is is
    /// attacked, once.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of its steps.
    #[schemars(extend("x-length" = "linf"))]
    pub attack_step_size: Fraction,
    /// Number of its steps.
    #[schemars(range(max = 10_000))]
    pub attack_steps: usize,
}

impl Default for BisectionSettings {
    fn default() -> Self {
        Self {
            threshold: 0.1,
            widths: 4,
            criterion: "l1-norm".into(),
            images: 1024,
            split: Split::Train,
            batch: 128,
            epsilon: Fraction::new(8, 255),
            attack_step_size: Fraction::new(2, 255),
            attack_steps: 10,
        }
    }
}

register_plugin! {
    kind: Sensitivity,
    name: "score-bisection",
    summary: "share of its channels that the module's group needs to keep the robust loss within a threshold",
    source: "own, after the width bounds of FastNAS in NVIDIA TensorRT Model Optimizer",
    settings: BisectionSettings,
    make: |settings| Ok(Box::new(ScoreBisection::new(settings)?)),
}

/// A checked metric.
pub struct ScoreBisection {
    threshold: f64,
    widths: usize,
    criterion: String,
    probe: ProbeImages,
}

impl ScoreBisection {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the setting, what was found and what was expected; [`ErrorKind::UnknownName`] for a criterion that
    /// there is not.
    pub fn new(settings: BisectionSettings) -> Result<Self> {
        let BisectionSettings { threshold, widths, criterion, images, split, batch, epsilon, .. } = settings;
        let wrong = |message: String| Err(Error::new(ErrorKind::Settings, message));
        if !(threshold > 0.0 && threshold.is_finite()) {
            return wrong(format!("threshold {threshold}, expected a number above 0"));
        }
        if widths == 0 {
            return wrong("widths 0, expected at least 1".into());
        }
        let (attack_step_size, attack_steps) = (settings.attack_step_size, settings.attack_steps);
        let probe = ProbeImages { split, images, batch, epsilon, attack_step_size, attack_steps };
        probe.check()?;
        registry::find(Kind::Criterion, &criterion)?;
        Ok(Self { threshold, widths, criterion, probe })
    }
}

impl SensitivityMetric for ScoreBisection {
    fn check(&self, network: &Declaration) -> Result<Foresight> {
        registry::make::<dyn Criterion>(&self.criterion, Value::Object(Map::new()))?.check(network)
    }

    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        let set = self.probe.attacked(cx, network, &network.freeze()?, data)?;
        let pruned = OneGroup::new(cx, network, data, &self.criterion, set, self.probe.batch)?;
        pruned.for_modules(|at| {
            let (channels, fewest) = (pruned.groups()[at].channels, pruned.fewest(at));
            let width = needed_width(channels, fewest, self.widths, self.threshold, |keep| pruned.rise(at, keep))?;
            Ok(width / channels as f64)
        })
    }
}

/// The width at which the loss, going down from `channels` to `fewest`, passes `threshold` for the first time as far as the even
/// `steps` show it; between whole channels by a straight line.
///
/// If it never does, `fewest` in the proportion of the rise there to the threshold, so that groups which can spare everything still
/// have an order: from 0 for those whose loss does not rise at all.
pub(crate) fn needed_width(
    channels: usize,
    fewest: usize,
    steps: usize,
    threshold: f64,
    rise: impl Fn(usize) -> Result<f64>,
) -> Result<f64> {
    let (mut wide, mut rise_wide) = (channels, 0.0);
    for step in 1..=steps {
        let keep = channels - (channels - fewest) * step / steps;
        if keep == wide {
            continue;
        }
        let found = rise(keep)?;
        if found > threshold {
            let (mut narrow, mut rise_narrow) = (keep, found);
            while wide - narrow > 1 {
                let middle = narrow + (wide - narrow) / 2;
                let found = rise(middle)?;
                if found > threshold {
                    (narrow, rise_narrow) = (middle, found);
                } else {
                    (wide, rise_wide) = (middle, found);
                }
            }
            return Ok(narrow as f64 + (rise_narrow - threshold) / (rise_narrow - rise_wide));
        }
        (wide, rise_wide) = (keep, found);
    }
    Ok(fewest as f64 * (rise_wide / threshold).clamp(0.0, 1.0))
}
