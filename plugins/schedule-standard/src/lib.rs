//! Pruning schedules: `one-shot`, `linear`, `cubic` and `exponential`.

use mrpf_api::prelude::*;

/// The schedules have no settings; their number of rounds is the experiment's.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct NoSettings {}

enum Schedule {
    OneShot,
    Linear,
    Cubic,
    Exponential,
}

impl PruningSchedule for Schedule {
    fn ratio(&self, progress: f64, final_ratio: f64) -> f64 {
        let progress = progress.clamp(0.0, 1.0);
        if progress == 1.0 {
            // Exactly, whatever rounding makes of the formulas.
            return final_ratio;
        }
        match self {
            Self::OneShot => {
                if progress > 0.0 {
                    final_ratio
                } else {
                    0.0
                }
            }
            Self::Linear => final_ratio * progress,
            Self::Cubic => final_ratio * (1.0 - (1.0 - progress).powi(3)),
            // Rounding may lift the power form above the target just before its end.
            Self::Exponential => (1.0 - (1.0 - final_ratio).powf(progress)).min(final_ratio),
        }
    }
}

register_plugin! {
    kind: Schedule,
    name: "one-shot",
    summary: "the whole ratio in the first round",
    source: "the usual baseline",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(Schedule::OneShot)),
}

register_plugin! {
    kind: Schedule,
    name: "linear",
    summary: "the same share in every round: S t",
    source: "Torch-Pruning's and NNI's linear schedule",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(Schedule::Linear)),
}

register_plugin! {
    kind: Schedule,
    name: "cubic",
    summary: "much at first and little at last: S (1 - (1 - t)^3), known as AGP",
    source: "Zhu and Gupta 2018, To Prune, or Not to Prune, arXiv 1710.01878, equation 1",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(Schedule::Cubic)),
}

register_plugin! {
    kind: Schedule,
    name: "exponential",
    summary: "the same share of what is left in every round: 1 - (1 - S)^t",
    source: "Frankle and Carbin 2019, The Lottery Ticket Hypothesis, arXiv 1803.03635 (iterative pruning)",
    settings: NoSettings,
    make: |_settings| Ok(Box::new(Schedule::Exponential)),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(name: &str) -> Box<dyn PruningSchedule> {
        mrpf_api::registry::make::<dyn PruningSchedule>(name, mrpf_api::serde_json::json!({}))
            .expect("it is registered")
    }

    #[test]
    fn halfway_values_are_those_of_the_formulas() {
        for (name, expected) in
            [("one-shot", 0.8), ("linear", 0.4), ("cubic", 0.7), ("exponential", 1.0 - 0.2f64.sqrt())]
        {
            assert!((schedule(name).ratio(0.5, 0.8) - expected).abs() < 1e-12, "{name}");
        }
    }

    proptest! {
        #[test]
        fn ratios_never_fall_and_end_at_the_target(
            name in prop::sample::select(vec!["one-shot", "linear", "cubic", "exponential"]),
            (a, b) in (0.0..=1.0, 0.0..=1.0),
            target in 0.0..1.0,
        ) {
            let schedule = schedule(name);
            let (early, late) = (f64::min(a, b), f64::max(a, b));
            prop_assert!(schedule.ratio(early, target) <= schedule.ratio(late, target) + 1e-12);
            prop_assert!(schedule.ratio(late, target) <= target);
            prop_assert!(schedule.ratio(1.0 - f64::EPSILON / 2.0, target) <= target);
            prop_assert_eq!(schedule.ratio(1.0, target), target);
            prop_assert_eq!(schedule.ratio(0.0, target), 0.0);
        }
    }
}
