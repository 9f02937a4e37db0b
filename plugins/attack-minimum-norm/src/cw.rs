//! The L2 attack of Carlini and Wagner: descent on length and margin together, with a search for the weight between them.

use mrpf_api::attack::search::{Ball, Case, Ground, Search, Searches, distance};
use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;

use crate::fmn::lead;
use crate::found::{Nearest, images, is_broken};

/// Settings of `cw-l2`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct CwSettings {
    /// How many weights between length and margin are tried; at least 1.
    #[schemars(range(max = 1_000))]
    pub searches: usize,
    /// Steps of Adam for each weight, at most; at least 1. The authors take 10,000.
    #[schemars(range(max = 100_000))]
    pub steps: usize,
    /// Learning rate of Adam; above 0.
    pub learning_rate: f64,
    /// By how much the wrong logit must lie above the label's; at least 0.
    pub confidence: f64,
    /// The first weight of the margin; above 0. It grows tenfold until an image is broken, and is halved in between after that.
    pub initial_weight: f64,
}

impl Default for CwSettings {
    fn default() -> Self {
        Self { searches: 9, steps: 1000, learning_rate: 0.01, confidence: 0.0, initial_weight: 0.001 }
    }
}

register_plugin! {
    kind: Attack,
    name: "cw-l2",
    summary: "descends on the length of the change and the margin together, after a change of variables: L2",
    source: "Carlini & Wagner 2017, arXiv 1608.04644, section 6A; as foolbox' L2CarliniWagnerAttack, but each image stops on its own",
    settings: CwSettings,
    make: |settings| Ok(Searches::one(Cw::new(settings)?)),
}

pub(crate) struct Cw(CwSettings);

/// One image: its weight, and its descent with that weight.
pub(crate) struct Course<'a> {
    case: &'a Case,
    pub nearest: Nearest,
    /// The weight of the margin, and what is known to be too little and enough.
    pub weight: f64,
    too_little: f64,
    enough: f64,
    /// The clean image as it comes back from the change of variables.
    origin: Vec<f64>,
    /// The image in the variables of the descent, `artanh(2 x - 1)`, and the point that it stands for.
    variables: Vec<f64>,
    point: Vec<f64>,
    mean: Vec<f64>,
    square: Vec<f64>,
    loss_at_check: f64,
    found: bool,
    stopped: bool,
}

impl<'a> Course<'a> {
    fn new(case: &'a Case, weight: f64) -> Self {
        Self {
            case,
            nearest: None,
            weight,
            too_little: 0.0,
            enough: f64::INFINITY,
            origin: variables(&case.clean).into_iter().map(value).collect(),
            variables: Vec::new(),
            point: Vec::new(),
            mean: Vec::new(),
            square: Vec::new(),
            loss_at_check: f64::INFINITY,
            found: false,
            stopped: false,
        }
    }

    fn begin(&mut self) {
        self.variables = variables(&self.case.clean);
        self.point.clone_from(&self.origin);
        self.mean = vec![0.0; self.point.len()];
        self.square = vec![0.0; self.point.len()];
        (self.loss_at_check, self.found, self.stopped) = (f64::INFINITY, false, false);
    }

    /// One step of Adam; `lead` and `slope` are those of the highest wrong logit above the label's.
    fn step(&mut self, settings: &CwSettings, step: usize, lead: f64, slope: &[f64]) {
        let excess = settings.confidence - lead;
        let weight = if excess > 0.0 { self.weight } else { 0.0 };
        let length: f64 = self.point.iter().zip(&self.origin).map(|(at, origin)| (at - origin).powi(2)).sum();
        let loss = weight * excess + length;
        let before = self.point.clone();
        let (first, second) = (1.0 - 0.9_f64.powi(step as i32 + 1), 1.0 - 0.999_f64.powi(step as i32 + 1));
        for at in 0..self.point.len() {
            let by_value = 2.0 * (before[at] - self.origin[at]) - weight * slope[at];
            let tanh = 2.0 * before[at] - 1.0;
            let gradient = by_value * 0.5 * (1.0 - tanh * tanh);
            self.mean[at] = 0.9 * self.mean[at] + 0.1 * gradient;
            self.square[at] = 0.999 * self.square[at] + 0.001 * gradient * gradient;
            let (mean, square) = (self.mean[at] / first, self.square[at] / second);
            self.variables[at] -= settings.learning_rate * mean / (square.sqrt() + 1e-8);
            self.point[at] = value(self.variables[at]);
        }
        // At every tenth of the steps an image stops that has hardly come on since the last.
        if step.is_multiple_of(settings.steps.div_ceil(10)) {
            self.stopped = loss.is_nan() || loss > 0.9999 * self.loss_at_check;
            self.loss_at_check = loss;
        }
        if lead > settings.confidence && !self.stopped {
            self.found = true;
            let away = distance(Norm::L2, &self.case.clean, &before);
            if self.nearest.as_ref().is_none_or(|(_, nearest)| away < *nearest) {
                self.nearest = Some((before, away));
            }
        }
    }

    /// The next weight to be tried.
    fn next_weight(&mut self) {
        if self.found {
            self.enough = self.weight;
        } else {
            self.too_little = self.weight;
        }
        self.weight =
            if self.enough.is_infinite() { 10.0 * self.weight } else { (self.too_little + self.enough) / 2.0 };
    }
}

/// The range is left out by a millionth, for its ends are infinitely far.
fn variables(image: &[f64]) -> Vec<f64> {
    image.iter().map(|value| ((2.0 * value - 1.0) * 0.999_999).atanh()).collect()
}

fn value(variable: f64) -> f64 {
    variable.tanh() / 2.0 + 0.5
}

impl Cw {
    pub fn new(settings: CwSettings) -> Result<Self> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Settings, message));
        let CwSettings { searches, steps, learning_rate, confidence, initial_weight } = settings;
        if searches == 0 || steps == 0 {
            return wrong(format!("{searches} searches of {steps} steps, expected at least 1 of each"));
        }
        let above = |value: f64| value > 0.0 && value.is_finite();
        if !(above(learning_rate) && above(initial_weight) && confidence >= 0.0 && confidence.is_finite()) {
            return wrong(format!(
                "learning_rate {learning_rate}, initial_weight {initial_weight}, confidence {confidence}, expected numbers above 0, \
                 the last at least 0"
            ));
        }
        Ok(Self(settings))
    }

    /// The nearest misclassified points; `watch` sees the courses after each search.
    pub fn nearest(
        &self,
        cx: &CallContext<'_>,
        ball: Ball,
        ground: &Ground<'_>,
        watch: &mut dyn FnMut(usize, &[Course<'_>]),
    ) -> Result<Vec<Nearest>> {
        let mut courses: Vec<Course<'_>> =
            ground.cases.iter().map(|case| Course::new(case, self.0.initial_weight)).collect();
        for search in 0..self.0.searches {
            courses.par_iter_mut().for_each(Course::begin);
            for step in 0..self.0.steps {
                cx.check_interrupt()?;
                let mut live: Vec<&mut Course<'_>> =
                    courses.iter_mut().filter(|course| !course.stopped && !is_broken(&course.nearest, ball)).collect();
                if live.is_empty() {
                    break;
                }
                let labels: Vec<usize> = live.iter().map(|course| course.case.label).collect();
                let lead = |logits: &Tensor| lead(logits, &labels);
                let seen = ground.slopes(live.iter().map(|course| course.point.as_slice()), &lead)?;
                live.par_iter_mut().enumerate().for_each(|(at, course)| {
                    let each = course.point.len();
                    course.step(&self.0, step, seen.losses[at], &seen.gradients[at * each..(at + 1) * each]);
                });
            }
            courses.iter_mut().for_each(Course::next_weight);
            watch(search, &courses);
        }
        Ok(courses.into_iter().map(|course| course.nearest).collect())
    }
}

impl Search for Cw {
    fn name(&self) -> &'static str {
        "cw-l2"
    }

    fn check(&self, norm: Norm) -> Result<()> {
        match norm {
            Norm::L2 => Ok(()),
            other => {
                let message = format!("`cw-l2` knows the norm l2, found {}", other.name());
                Err(Error::new(ErrorKind::Settings, message).hint("`cw-linf` climbs the same margin in linf"))
            }
        }
    }

    fn search(&self, cx: &CallContext<'_>, ball: Ball, ground: &Ground<'_>) -> Result<Vec<Vec<f64>>> {
        Ok(images(ground, self.nearest(cx, ball, ground, &mut |_, _| ())?.into_iter(), ball))
    }
}
