//! PGD on the margin of Carlini and Wagner, as robust training is evaluated by.

use mrpf_api::prelude::*;

use crate::objective::Objective;
use crate::pgd::{Keep, Pgd, PgdSettings};

/// Settings of `cw-linf`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct CwLinfSettings {
    /// Number of steps; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// Length of a step, in the unit of the pixels; epsilon / 4 when not given.
    #[schemars(extend("x-length" = "linf"))]
    pub step_size: Option<Fraction>,
    /// How often it starts anew; at least 1.
    #[schemars(range(max = 1_000))]
    pub restarts: usize,
    /// Where each restart begins.
    pub start: Start,
    /// Which point of the way counts.
    pub keep: Keep,
    /// How far the wrong logit is driven beyond the label's; at least 0.
    pub confidence: f64,
}

impl Default for CwLinfSettings {
    fn default() -> Self {
        Self {
            steps: 30,
            step_size: None,
            restarts: 1,
            start: Start::Uniform,
            keep: Keep::FirstBroken,
            confidence: 50.0,
        }
    }
}

register_plugin! {
    kind: Attack,
    name: "cw-linf",
    summary: "projected gradient ascent on the margin between the label's logit and the highest other: L-inf",
    source: "Carlini & Wagner 2017, arXiv 1608.04644, as used by Madry et al. 2018 and with 30 steps by FAT, arXiv 2002.11242",
    settings: CwLinfSettings,
    make: |settings| Ok(Box::new(CwLinf::new(settings)?)),
}

struct CwLinf(Pgd);

impl CwLinf {
    fn new(settings: CwLinfSettings) -> Result<Self> {
        let CwLinfSettings { steps, step_size, restarts, start, keep, confidence } = settings;
        if !(confidence >= 0.0 && confidence.is_finite()) {
            let message = format!("confidence {confidence}, expected a number of at least 0");
            return Err(Error::new(ErrorKind::Settings, message));
        }
        let settings = PgdSettings { steps, step_size, restarts, start, keep };
        Ok(Self(Pgd::climbing(Objective::Margin { confidence }, settings)?))
    }
}

/// Refuses all norms but one.
fn knows(norm: Norm) -> Result<()> {
    match norm {
        Norm::Linf => Ok(()),
        other => {
            let message = format!("`cw-linf` knows the norm linf, found {}", other.name());
            Err(Error::new(ErrorKind::Settings, message).hint("`cw-l2` is its relative in l2"))
        }
    }
}

impl Attack for CwLinf {
    fn check(&self, threat: &ThreatModel, classes: usize, shape: ImageShape) -> Result<Foresight> {
        knows(threat.norm)?;
        self.0.check(threat, classes, shape)
    }

    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        knows(threat.norm)?;
        self.0.attack(cx, classifier, threat, batch)
    }
}
