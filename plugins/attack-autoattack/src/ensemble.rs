//! AutoAttack: the attacks one after another, each on the images that those before it left whole.

use mrpf_api::attack::search::{Ball, Ground, Search, Searches};
use mrpf_api::prelude::*;
use std::sync::Arc;

use crate::apgd::{Apgd, ApgdSettings, ApgdTargetedSettings};
use crate::fab::{Fab, FabSettings, FabTargetedSettings};
use crate::square::{SquareAttack, SquareSettings};

/// Which attacks AutoAttack consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Version {
    /// `apgd-ce`, `apgd-t` and `fab-t` with nine targets, `square` with 5000 queries. In L1 APGD begins in larger balls, `apgd-ce`
    /// five times, and `apgd-t` has five targets. This is what robustness figures are compared by.
    #[default]
    Standard,
    /// `apgd-ce`, `apgd-dlr` and `fab` five times each, `square`, `apgd-t`, `fab-t`.
    Plus,
    /// `apgd-ce` and `apgd-dlr` with 20 gradients a step, for networks that are random; with two classes `apgd-ce` alone.
    Rand,
    /// `apgd-ce` and `fab` five times each and `square`, for two classes; with three or more `apgd-dlr` five times as well. Taken in
    /// place of `standard` and `plus` where there are fewer than the four classes that `apgd-t` needs, as the authors' code tells its
    /// users to do by hand. Figures of it are not comparable with those of `standard`.
    FewClasses,
}

/// Settings of `autoattack`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct AutoAttackSettings {
    /// Which attacks.
    pub version: Version,
    /// Steps of APGD and FAB. With any other number than 100 it is not AutoAttack, and weaker with less.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// Queries of Square. With any other number than 5000 it is not AutoAttack, and weaker with less.
    #[schemars(range(max = 1_000_000))]
    pub queries: usize,
}

impl Default for AutoAttackSettings {
    fn default() -> Self {
        Self { version: Version::Standard, steps: 100, queries: 5000 }
    }
}

register_plugin! {
    kind: Attack,
    name: "autoattack",
    summary: "AutoAttack: apgd-ce, apgd-t, fab-t and square on what is left of the images; versions standard, plus, rand, few-classes",
    source: "Croce & Hein 2020, arXiv 2003.01690; order and budgets of fra31/auto-attack at a392200",
    settings: AutoAttackSettings,
    make: |settings| Ok(Box::new(AutoAttack::new(settings)?)),
}

/// A checked AutoAttack. Which attacks it consists of depends on the number of classes.
struct AutoAttack(AutoAttackSettings);

impl AutoAttack {
    fn new(settings: AutoAttackSettings) -> Result<Self> {
        members(&settings, ENOUGH)?;
        Ok(Self(settings))
    }

    fn with_classes(&self, classes: usize) -> Result<Searches> {
        Ok(Searches(members(&self.0, classes)?))
    }
}

impl Attack for AutoAttack {
    fn check(&self, threat: &ThreatModel, classes: usize, shape: ImageShape) -> Result<Foresight> {
        let remark = match (self.0.version, fitting(self.0.version, classes)) {
            (Version::Rand, _) if classes == 2 => Some(
                "the difference of logits ratio needs 3 classes and there are 2: version rand is `apgd-ce` alone"
                    .into(),
            ),
            (asked, fitting) if asked != fitting => Some(format!(
                "the targeted difference of logits ratio needs {ENOUGH} classes and there are {classes}: version few-classes runs in place of \
                 {}, and its figures are not comparable with AutoAttack's",
                if asked == Version::Plus { "plus" } else { "standard" }
            )),
            _ => None,
        };
        Foresight::with(remark).and(self.with_classes(classes)?.check(threat, classes, shape))
    }

    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        self.with_classes(classifier.classes())?.attack(cx, classifier, threat, batch)
    }

    fn parts(&self, classes: usize) -> Result<Vec<AttackPart>> {
        self.with_classes(classes)?.parts(classes)
    }
}

/// The number of classes that every attack works with.
const ENOUGH: usize = 4;

/// The version that is run with so many classes.
fn fitting(asked: Version, classes: usize) -> Version {
    match asked {
        Version::Standard | Version::Plus if classes < ENOUGH => Version::FewClasses,
        Version::Standard | Version::Plus | Version::Rand | Version::FewClasses => asked,
    }
}

/// The attacks of a version in their order.
fn members(settings: &AutoAttackSettings, classes: usize) -> Result<Vec<Arc<dyn Search>>> {
    let (steps, queries) = (settings.steps, settings.queries);
    let apgd = |restarts, gradients| ApgdSettings { steps, restarts, gradients, ..ApgdSettings::default() };
    let apgd_t = || ApgdTargetedSettings { steps, ..ApgdTargetedSettings::default() };
    let fab_t = Fab::targeted(FabTargetedSettings { steps, ..FabTargetedSettings::default() })?;
    let square = SquareAttack::new(SquareSettings { queries, ..SquareSettings::default() })?;
    let sparse = ApgdSettings { large_radii: true, ..apgd(5, 1) };
    let dlr = |restarts, gradients| -> Result<Option<Arc<dyn Search>>> {
        let dlr = Apgd::dlr(apgd(restarts, gradients))?;
        Ok((classes >= dlr.least_classes()).then(|| Arc::new(dlr) as Arc<dyn Search>))
    };
    Ok(match fitting(settings.version, classes) {
        Version::Standard => {
            let sparse_t = ApgdTargetedSettings { large_radii: true, targets: 5, ..apgd_t() };
            vec![
                ByNorm::shared(Apgd::cross_entropy(apgd(1, 1))?, Apgd::cross_entropy(sparse)?),
                ByNorm::shared(Apgd::targeted(apgd_t())?, Apgd::targeted(sparse_t)?),
                Arc::new(fab_t),
                Arc::new(square),
            ]
        }
        Version::Plus => vec![
            Arc::new(Apgd::cross_entropy(apgd(5, 1))?),
            Arc::new(Apgd::dlr(apgd(5, 1))?),
            Arc::new(Fab::untargeted(FabSettings { steps, restarts: 5, ..FabSettings::default() })?),
            Arc::new(square),
            Arc::new(Apgd::targeted(apgd_t())?),
            Arc::new(fab_t),
        ],
        Version::Rand => {
            let first: Arc<dyn Search> = Arc::new(Apgd::cross_entropy(apgd(1, 20))?);
            std::iter::once(first).chain(dlr(1, 20)?).collect()
        }
        Version::FewClasses => {
            let first = ByNorm::shared(Apgd::cross_entropy(apgd(5, 1))?, Apgd::cross_entropy(sparse)?);
            let fab = Fab::untargeted(FabSettings { steps, restarts: 5, ..FabSettings::default() })?;
            let last: [Arc<dyn Search>; 2] = [Arc::new(fab), Arc::new(square)];
            std::iter::once(first).chain(dlr(5, 1)?).chain(last).collect()
        }
    })
}

/// APGD with other settings in L1.
struct ByNorm {
    usual: Apgd,
    sparse: Apgd,
}

impl ByNorm {
    fn shared(usual: Apgd, sparse: Apgd) -> Arc<dyn Search> {
        Arc::new(Self { usual, sparse })
    }

    fn of(&self, norm: Norm) -> &Apgd {
        if norm == Norm::L1 { &self.sparse } else { &self.usual }
    }
}

impl Search for ByNorm {
    fn name(&self) -> &'static str {
        self.usual.name()
    }

    fn least_classes(&self) -> usize {
        self.usual.least_classes()
    }

    fn search(&self, cx: &CallContext<'_>, ball: Ball, ground: &Ground<'_>) -> Result<Vec<Vec<f64>>> {
        self.of(ball.norm).search(cx, ball, ground)
    }
}
