//! Two methods at the same setting, image by image.

use mrpf_api::random::Streams;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::super::findings::Finding;
use super::LEVEL;
use super::bootstrap::paired_bootstrap;
use super::holm::holm;
use super::mcnemar::McNemar;
use crate::evaluation::ImageOutcome;

/// What is asked of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Whether it is classified rightly after every attack.
    Robust,
    /// Whether it is classified rightly without attack.
    Clean,
}

impl Outcome {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Robust, Self::Clean];

    /// `robust` or `clean`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Robust => "robust",
            Self::Clean => "clean",
        }
    }

    fn of(self, image: &ImageOutcome) -> bool {
        match self {
            Self::Robust => image.survives_all(),
            Self::Clean => image.is_right(),
        }
    }
}

/// Two methods, compared on the seeds and images that both have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// What is compared.
    pub outcome: Outcome,
    /// A method.
    pub first: String,
    /// Another, behind it in the order of the methods.
    pub second: String,
    /// The seeds that both have.
    pub seeds: Vec<u64>,
    /// The images that both have.
    pub images: usize,
    /// Accuracy of the first less that of the second, mean over the seeds.
    pub difference: f64,
    /// Its 95 % interval by bootstrap over seeds and images.
    pub interval: [f64; 2],
    /// The test. Its unit is the image: with several seeds an image speaks for the method that is right with it more often.
    #[serde(flatten)]
    pub test: McNemar,
    /// The mid-p value after Holm's correction for all pairs of this outcome in the comparison.
    pub corrected_p: f64,
    /// Whether a difference is shown: by the corrected test and by an interval without zero.
    pub shown: bool,
}

impl Pair {
    /// Compares the networks of two methods at one setting; none if they have no seed or no image in common.
    pub(super) fn new(outcome: Outcome, first: &[&Finding], second: &[&Finding]) -> Option<Self> {
        let both = in_common(first, second);
        let mut differences: Vec<BTreeMap<usize, i8>> = both
            .iter()
            .map(|(first, second)| {
                let other: BTreeMap<usize, bool> =
                    second.evaluation.outcomes.iter().map(|image| (image.index, outcome.of(image))).collect();
                let each = first.evaluation.outcomes.iter();
                each.filter_map(|image| {
                    Some((image.index, i8::from(outcome.of(image)) - i8::from(*other.get(&image.index)?)))
                })
                .collect()
            })
            .collect();
        // Images that some seed lacks are left out of all.
        let everywhere: Vec<usize> = differences
            .first()?
            .keys()
            .copied()
            .filter(|image| differences.iter().all(|seed| seed.contains_key(image)))
            .collect();
        differences.iter_mut().for_each(|seed| seed.retain(|image, _| everywhere.binary_search(image).is_ok()));
        let differences: Vec<Vec<i8>> = differences.into_iter().map(|seed| seed.into_values().collect()).collect();
        let images = everywhere.len();
        if images == 0 {
            return None;
        }
        let speaks = |image: usize| differences.iter().map(|seed| i64::from(seed[image])).sum::<i64>();
        let count = |wanted: fn(i64) -> bool| (0..images).filter(|&image| wanted(speaks(image))).count();
        let total: i64 = (0..images).map(speaks).sum();
        let test = McNemar::of(count(|sum| sum > 0), count(|sum| sum < 0));
        Some(Self {
            outcome,
            first: first.first()?.place.method.clone(),
            second: second.first()?.place.method.clone(),
            seeds: both.iter().map(|(first, _)| first.place.seed).collect(),
            images,
            difference: total as f64 / (images * differences.len()) as f64,
            interval: paired_bootstrap(&differences, &Streams::new(0)),
            corrected_p: test.mid_p,
            shown: false,
            test,
        })
    }

    /// Whether these are the two methods, in either order.
    pub fn is_of(&self, a: &str, b: &str) -> bool {
        (self.first == a && self.second == b) || (self.first == b && self.second == a)
    }
}

/// The networks of both methods seed by seed, in the order of the seeds.
pub(super) fn in_common<'a>(first: &[&'a Finding], second: &[&'a Finding]) -> Vec<(&'a Finding, &'a Finding)> {
    let by_seed = |findings: &[&'a Finding]| -> BTreeMap<u64, &'a Finding> {
        findings.iter().map(|finding| (finding.place.seed, *finding)).collect()
    };
    let others = by_seed(second);
    by_seed(first).into_iter().filter_map(|(seed, finding)| Some((finding, *others.get(&seed)?))).collect()
}

/// Corrects the p values of all pairs, outcome by outcome, and says which differences are shown.
pub(super) fn correct<'a>(pairs: impl Iterator<Item = &'a mut Pair>) {
    let mut pairs: Vec<&mut Pair> = pairs.collect();
    for outcome in Outcome::ALL {
        let raw: Vec<f64> = pairs.iter().filter(|pair| pair.outcome == outcome).map(|pair| pair.test.mid_p).collect();
        let family = pairs.iter_mut().filter(|pair| pair.outcome == outcome);
        for (pair, corrected_p) in family.zip(holm(&raw)) {
            let [low, high] = pair.interval;
            pair.corrected_p = corrected_p;
            pair.shown = corrected_p < LEVEL && (low > 0.0 || high < 0.0);
        }
    }
}
