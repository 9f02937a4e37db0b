//! What became of each image, and the counts that follow from it.

use mrpf_api::attack::AttackMeans;
use serde::{Deserialize, Serialize};

use super::curves::Curves;
use super::left_out::LeftOut;
use super::signs::Sign;

/// What an attack did to an image that was classified rightly before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackedImage {
    /// Whether it is still classified rightly.
    pub survives: bool,
    /// Cross-entropy at the worst image that was found; none if it is not a number.
    pub loss: Option<f64>,
    /// How far that image is from the clean one, in the threat model's norm.
    pub distance: f64,
    /// Which part of an attack of several parts broke it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_by: Option<String>,
}

/// What became of one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageOutcome {
    /// Where the image stands in the test set.
    pub index: usize,
    /// Its label.
    pub label: u32,
    /// The class that the network gives the clean image.
    pub predicted: u32,
    /// What each attack did to it; none where it was not attacked, because it is wrong without any attack.
    pub attacks: Vec<Option<AttackedImage>>,
}

impl ImageOutcome {
    /// Whether the clean image is classified rightly.
    pub fn is_right(&self) -> bool {
        self.predicted == self.label
    }

    /// Whether it is classified rightly after the attack at that place.
    pub fn survives(&self, attack: usize) -> bool {
        self.attacks.get(attack).and_then(Option::as_ref).is_some_and(|attacked| attacked.survives)
    }

    /// Whether it is classified rightly after every attack.
    pub fn survives_all(&self) -> bool {
        self.is_right() && (0..self.attacks.len()).all(|attack| self.survives(attack))
    }
}

/// What an attack left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackRecord {
    /// The attack's name; numbered if an attack is used twice.
    pub name: String,
    /// How it comes by its images.
    #[serde(default)]
    pub means: AttackMeans,
    /// Images that survive this attack by itself.
    pub survivors: usize,
    /// Whether the distances of broken images are the smallest that it found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nearest: bool,
    /// For an attack of several parts, what was left after each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartRecord>,
    /// What the attack said of itself that people should know, such as that another version than the one asked for ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// What was left after a part of an attack and those before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// The part's name.
    pub name: String,
    /// How it comes by its images.
    pub means: AttackMeans,
    /// Images that survive it and all parts before it.
    pub survivors: usize,
}

/// Counts of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassRecord {
    /// The class, as in the labels.
    pub class: u32,
    /// Its images.
    pub images: usize,
    /// Those classified rightly without attack.
    pub clean: usize,
    /// Those that survive every attack.
    pub robust: usize,
}

/// Everything known about a network under attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of images.
    pub images: usize,
    /// Images classified rightly without attack.
    pub clean: usize,
    /// Images that survive every attack.
    pub robust: usize,
    /// The attacks in their order, each by itself.
    pub attacks: Vec<AttackRecord>,
    /// Each image.
    pub outcomes: Vec<ImageOutcome>,
    /// Signs of false robustness that showed.
    pub signs: Vec<Sign>,
    /// Accuracy against radius and against steps, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curves: Option<Curves>,
    /// Side measurements that could not be made, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

impl Evaluation {
    /// Share classified rightly without attack.
    pub fn clean_accuracy(&self) -> f64 {
        self.clean as f64 / self.images.max(1) as f64
    }

    /// Share that survives every attack.
    pub fn robust_accuracy(&self) -> f64 {
        self.robust as f64 / self.images.max(1) as f64
    }

    /// For an attack that seeks the nearest image: how many survive it within each of `points` radii from 0 to `epsilon`.
    pub fn security_curve(&self, attack: usize, epsilon: f64, points: usize) -> Vec<(f64, usize)> {
        let radius = |at: usize| epsilon * at as f64 / points.saturating_sub(1).max(1) as f64;
        let survives = |outcome: &&ImageOutcome, radius: f64| {
            let attacked = outcome.attacks.get(attack).and_then(Option::as_ref);
            // Rounding puts a distance a little beyond the radius that it was found within.
            attacked.is_some_and(|attacked| attacked.survives || attacked.distance > radius + 1e-6)
        };
        let count = |radius: f64| self.outcomes.iter().filter(|outcome| survives(outcome, radius)).count();
        (0..points).map(|at| (radius(at), count(radius(at)))).collect()
    }

    /// The classes that have images, in their order.
    pub fn by_class(&self) -> Vec<ClassRecord> {
        let mut classes: Vec<ClassRecord> = Vec::new();
        let last = self.outcomes.iter().map(|outcome| outcome.label).max();
        for class in 0..=last.unwrap_or_default() {
            let of_class = || self.outcomes.iter().filter(|outcome| outcome.label == class);
            let images = of_class().count();
            if images > 0 {
                let clean = of_class().filter(|outcome| outcome.is_right()).count();
                let robust = of_class().filter(|outcome| outcome.survives_all()).count();
                classes.push(ClassRecord { class, images, clean, robust });
            }
        }
        classes
    }
}
