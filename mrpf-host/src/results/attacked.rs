//! What `mrpf evaluate` finds about one network: by attack, radius and class, with curves and signs.

use mrpf_api::fraction::Fraction;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

use super::interval::wilson;
use super::row::AttackResult;
use crate::evaluation::{Evaluation, Sign};
use crate::output::percent;
use crate::safe_text::markdown;

/// Everything about a network under attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackedNetwork {
    /// Test images.
    pub images: usize,
    /// Share classified rightly without attack, from 0 to 1.
    pub clean_accuracy: f64,
    /// Its 95 % interval.
    pub clean_interval: [f64; 2],
    /// By the attack's name, then by the radius as it was written.
    pub attacks: BTreeMap<String, BTreeMap<String, AttackResult>>,
    /// Signs of false robustness that showed, with the radius at which they did.
    pub signs: Vec<SignAt>,
    /// By the radius as it was written: each class.
    pub classes: BTreeMap<String, Vec<ClassResult>>,
    /// By the radius as it was written: accuracy against radius and steps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub curves: BTreeMap<String, CurveResults>,
}

/// A sign and where it showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignAt {
    /// The radius, as it was written.
    pub epsilon: String,
    /// The sign.
    #[serde(flatten)]
    pub sign: Sign,
}

/// Accuracy within a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassResult {
    /// The class's name.
    pub name: String,
    /// Its images.
    pub images: usize,
    /// Share classified rightly without attack.
    pub clean_accuracy: f64,
    /// Its 95 % interval.
    pub clean_interval: [f64; 2],
    /// Share that survives every attack.
    pub robust_accuracy: f64,
    /// Its 95 % interval.
    pub robust_interval: [f64; 2],
}

/// Accuracy under PGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurveResults {
    /// How many images.
    pub images: usize,
    /// Against the radius, with 20 steps.
    pub epsilons: Vec<CurvePoint>,
    /// Against the number of steps.
    pub steps: Vec<CurvePoint>,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Radius or number of steps.
    pub at: f64,
    /// Share that survives.
    pub robust_accuracy: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
}

impl CurvePoint {
    fn new(at: f64, survivors: usize, images: usize) -> Self {
        let robust_accuracy = survivors as f64 / images.max(1) as f64;
        Self { at, robust_accuracy, interval: wilson(survivors, images) }
    }
}

/// Radii of a security curve, from 0 to the one that was attacked with.
const SECURITY_POINTS: usize = 11;

impl AttackedNetwork {
    /// From the evaluations of one network with different radii; none if there is no evaluation.
    pub fn new(evaluations: &[(Fraction, Evaluation)], class_names: &[String]) -> Option<Self> {
        let (_, first) = evaluations.first()?;
        let mut found = Self {
            images: first.images,
            clean_accuracy: first.clean_accuracy(),
            clean_interval: wilson(first.clean, first.images),
            attacks: BTreeMap::new(),
            signs: Vec::new(),
            classes: BTreeMap::new(),
            curves: BTreeMap::new(),
        };
        for (radius, evaluation) in evaluations {
            let epsilon = radius.to_string();
            for (at, record) in evaluation.attacks.iter().enumerate() {
                let mut result = AttackResult::new(record, evaluation.images);
                if record.nearest {
                    let curve = evaluation.security_curve(at, radius.value(), SECURITY_POINTS);
                    result
                        .security
                        .extend(curve.into_iter().map(|(at, left)| CurvePoint::new(at, left, evaluation.images)));
                }
                found.attacks.entry(record.name.clone()).or_default().insert(epsilon.clone(), result);
            }
            let sign = |sign: &Sign| SignAt { epsilon: epsilon.clone(), sign: sign.clone() };
            found.signs.extend(evaluation.signs.iter().map(sign));
            found.classes.insert(epsilon.clone(), class_results(evaluation, class_names));
            if let Some(curves) = &evaluation.curves {
                let point = |at: f64, survivors: usize| CurvePoint::new(at, survivors, curves.images);
                let curves = CurveResults {
                    images: curves.images,
                    epsilons: curves.epsilons.iter().map(|found| point(found.epsilon, found.survivors)).collect(),
                    steps: curves.steps.iter().map(|found| point(found.steps as f64, found.survivors)).collect(),
                };
                found.curves.insert(epsilon, curves);
            }
        }
        Some(found)
    }

    /// The report's sections about it.
    pub(super) fn markdown(&self) -> String {
        let share = |share: f64, [low, high]: [f64; 2]| {
            format!("{} ({:.1} to {:.1})", percent(share), 100.0 * low, 100.0 * high)
        };
        let mut text = String::from(
            "\n## By attack\n\nEach attack by itself; the rows above count what survives all of them.\n\n\
             | attack | radius | robust | parts |\n| --- | --- | ---: | --- |\n",
        );
        for (name, by_radius) in &self.attacks {
            for (epsilon, result) in by_radius {
                let parts = result
                    .parts
                    .iter()
                    .map(|part| format!("{} {}", markdown(&part.name), percent(part.robust_accuracy)));
                let parts = parts.collect::<Vec<_>>().join(", then ");
                let robust = share(result.robust_accuracy, result.interval);
                let epsilon = markdown(epsilon);
                let _ = writeln!(text, "| {} | {epsilon} | {robust} | {parts} |", markdown(name));
            }
        }
        for (name, by_radius) in &self.attacks {
            let name = markdown(name);
            for (epsilon, result) in by_radius.iter().filter(|(_, result)| !result.security.is_empty()) {
                let epsilon = markdown(epsilon);
                let _ = write!(
                    text,
                    "\n## Security curve of {name}, radius {epsilon}\n\nWhat survives within smaller radii, by the distance of the nearest image \
                     that was found.\n\n| radius | robust |\n| ---: | ---: |\n"
                );
                for point in &result.security {
                    let _ = writeln!(text, "| {:.4} | {} |", point.at, share(point.robust_accuracy, point.interval));
                }
            }
        }
        for (epsilon, classes) in &self.classes {
            let epsilon = markdown(epsilon);
            let _ = write!(
                text,
                "\n## By class, radius {epsilon}\n\n| class | images | clean | robust |\n| --- | ---: | ---: | ---: |\n"
            );
            for class in classes {
                let clean = share(class.clean_accuracy, class.clean_interval);
                let robust = share(class.robust_accuracy, class.robust_interval);
                let _ = writeln!(text, "| {} | {} | {clean} | {robust} |", markdown(&class.name), class.images);
            }
        }
        for (epsilon, curves) in &self.curves {
            let epsilon = markdown(epsilon);
            let _ = write!(
                text,
                "\n## Curves, radius {epsilon}\n\nAccuracy under PGD on the first {} images: with 20 steps against the radius, and at \
                 radius {epsilon} against the steps.\n\n| radius | robust |\n| ---: | ---: |\n",
                curves.images
            );
            for point in &curves.epsilons {
                let _ = writeln!(text, "| {:.4} | {} |", point.at, share(point.robust_accuracy, point.interval));
            }
            text.push_str("\n| steps | robust |\n| ---: | ---: |\n");
            for point in &curves.steps {
                let _ = writeln!(text, "| {} | {} |", point.at, share(point.robust_accuracy, point.interval));
            }
        }
        text
    }
}

fn class_results(evaluation: &Evaluation, class_names: &[String]) -> Vec<ClassResult> {
    let share = |count: usize, images: usize| count as f64 / images.max(1) as f64;
    let result = |class: crate::evaluation::ClassRecord| ClassResult {
        name: class_names.get(class.class as usize).cloned().unwrap_or_else(|| class.class.to_string()),
        images: class.images,
        clean_accuracy: share(class.clean, class.images),
        clean_interval: wilson(class.clean, class.images),
        robust_accuracy: share(class.robust, class.images),
        robust_interval: wilson(class.robust, class.images),
    };
    evaluation.by_class().into_iter().map(result).collect()
}
