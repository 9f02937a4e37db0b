//! The way of one image under FAB.

use mrpf_api::attack::search::{Case, TINY, distance, length};
use mrpf_api::prelude::*;

use super::projection::project;

/// Constants of the steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pull {
    pub norm: Norm,
    pub alpha_max: f64,
    pub eta: f64,
    pub beta: f64,
}

/// A linear picture of a wrong class seen from a point: by how much its logit lies above the label's, and the gradient of that.
pub(super) struct Rival<'g> {
    pub lead: f64,
    pub slope: &'g [f64],
}

/// One image on its way to the nearest boundary.
#[derive(Debug)]
pub(super) struct Course<'a> {
    /// Where the image stands among those that set out together.
    pub row: usize,
    pub case: &'a Case,
    pub point: Vec<f64>,
    /// The nearest misclassified point so far, and its distance.
    pub nearest: Option<(Vec<f64>, f64)>,
}

impl<'a> Course<'a> {
    pub fn new(row: usize, case: &'a Case, start: Vec<f64>) -> Self {
        Self { row, case, point: start, nearest: None }
    }

    /// A step towards the nearest rival's boundary, drawn back to the clean image by up to `alpha_max`.
    pub fn step(&mut self, pull: &Pull, rivals: &[Rival<'_>]) {
        let nearness = |rival: &Rival<'_>| {
            let slope = rival.slope.iter().copied();
            // The length of the gradient in the dual norm.
            let steepness = match pull.norm {
                Norm::Linf => length(Norm::L1, slope),
                Norm::L2 => length(Norm::L2, slope),
                Norm::L1 => length(Norm::Linf, slope),
            };
            rival.lead.abs() / (TINY + steepness)
        };
        let Some(rival) = rivals.iter().min_by(|a, b| nearness(a).total_cmp(&nearness(b))) else { return };
        let along: f64 = rival.slope.iter().zip(&self.point).map(|(slope, value)| slope * value).sum();
        let b = along - rival.lead;
        let (norm, clean) = (pull.norm, &self.case.clean);
        let here = project(norm, &self.point, rival.slope, b);
        let home = project(norm, clean, rival.slope, b);
        let size = |change: &[f64]| length(norm, change.iter().copied()).max(1e-8);
        let (from_here, from_home) = (size(&here), size(&home));
        let alpha = (from_here / (from_here + from_home)).clamp(0.0, pull.alpha_max);
        for (at, value) in self.point.iter_mut().enumerate() {
            let (along, back) = (*value + pull.eta * here[at], clean[at] + pull.eta * home[at]);
            *value = (along * (1.0 - alpha) + back * alpha).clamp(0.0, 1.0);
        }
    }

    /// Takes in whether the point is misclassified: it counts if it is the nearest so far, and the way goes on nearer to the clean image.
    pub fn judge(&mut self, pull: &Pull, is_broken: bool) {
        if !is_broken {
            return;
        }
        let away = distance(pull.norm, &self.case.clean, &self.point);
        if self.nearest.as_ref().is_none_or(|(_, nearest)| away < *nearest) {
            self.nearest = Some((self.point.clone(), away));
        }
        for (value, &clean) in self.point.iter_mut().zip(&self.case.clean) {
            *value = clean + (*value - clean) * pull.beta;
        }
    }

    /// The misclassified point, if one within the ball is known.
    pub fn broken(&self, epsilon: f64) -> Option<&[f64]> {
        self.nearest.as_ref().filter(|(_, distance)| *distance <= epsilon).map(|(point, _)| point.as_slice())
    }
}
