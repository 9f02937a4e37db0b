//! Laws of all attacks of this crate; and what the tests of each share.

use mrpf_api::attack::check_inside;
use mrpf_api::attack::search::{Form, Ground, cases};
use mrpf_api::conformance::{Surroundings, Verdict, examine};
use mrpf_api::prelude::*;
use mrpf_api::registry::{find, make};
use mrpf_api::serde_json::{Value, json};
use mrpf_test_support::{Fixture, resnet8};
use proptest::prelude::*;

/// The radii that the fixtures were recorded with.
pub(crate) fn recorded_radius(norm: Norm) -> (f64, &'static str) {
    match norm {
        Norm::Linf => (0.06, "Linf"),
        Norm::L2 => (0.6, "L2"),
        Norm::L1 => (6.0, "L1"),
    }
}

/// The recorded network, its images with the labels that it gives them, and what was recorded of the attacks.
pub(crate) fn recorded() -> Result<(FrozenNetwork, Batch, Fixture)> {
    let (network, mut batch) = resnet8()?;
    let fixture = Fixture::load("autoattack")?;
    batch.labels = fixture.tensor("labels")?.to_dtype(DType::U32)?;
    Ok((network.freeze()?, batch, fixture))
}

pub(crate) fn ground<'a>(classifier: &'a FrozenNetwork, batch: &Batch) -> Result<Ground<'a>> {
    let (cases, _) = cases(classifier, batch)?;
    Ok(Ground { classifier, form: Form::of(&batch.images)?, cases })
}

pub(crate) fn cx() -> CallContext<'static> {
    CallContext::unwatched(Streams::new(5))
}

/// Every attack of this crate, with budgets that a test can wait for.
fn attacks() -> Vec<(&'static str, Value)> {
    vec![
        ("apgd-ce", json!({ "steps": 8, "restarts": 2 })),
        ("apgd-dlr", json!({ "steps": 8 })),
        ("apgd-t", json!({ "steps": 5, "targets": 3 })),
        ("fab", json!({ "steps": 5, "restarts": 2 })),
        ("fab-t", json!({ "steps": 5, "targets": 3 })),
        ("square", json!({ "queries": 30 })),
        ("autoattack", json!({ "steps": 5, "queries": 15 })),
        ("autoattack", json!({ "steps": 5, "queries": 15, "version": "plus" })),
        ("autoattack", json!({ "steps": 5, "version": "rand" })),
    ]
}

fn threat(norm: Norm, epsilon: f64) -> ThreatModel {
    ThreatModel { norm, epsilon: Fraction::from(epsilon) }
}

fn run(name: &str, settings: &Value, threat: &ThreatModel, batch: &Batch) -> Result<AttackOutcome> {
    let (network, _) = resnet8()?;
    make::<dyn Attack>(name, settings.clone())?.attack(&cx(), &network.freeze()?, threat, batch)
}

#[test]
fn each_keeps_the_laws_of_attacks() -> Result<()> {
    for (name, settings) in attacks() {
        let Value::Object(settings) = settings else { unreachable!("settings are tables") };
        let surroundings = Surroundings { settings, ..Surroundings::default() };
        for finding in examine(find(Kind::Attack, name)?, &surroundings) {
            assert_eq!(finding.verdict, Verdict::Holds, "{name}: {}", finding.law);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_stays_inside_does_nothing_at_epsilon_0_and_mends_nothing(
        (name, settings) in prop::sample::select(attacks()),
        norm in prop::sample::select(Norm::ALL.to_vec()),
        size in prop::sample::select(vec![0.0, 0.01, 0.3, 1.0, 30.0]),
        labels in prop::collection::vec(0..10u32, 6),
    ) {
        let (frozen, mut batch, _) = recorded()?;
        // Some of the labels are wrong from the start.
        let right = batch.labels.to_vec1::<u32>()?;
        let mixed: Vec<u32> = (0..6).map(|row| if row % 3 == 0 { labels[row] } else { right[row] }).collect();
        batch.labels = Tensor::new(mixed, &Device::Cpu)?;
        let threat = threat(norm, size * recorded_radius(norm).0);
        let outcome = run(name, &settings, &threat, &batch)?;
        check_inside(&threat, &batch.images, &outcome.images)?;
        let distances = Norm::Linf.distances(&batch.images, &outcome.images)?;
        prop_assert!(size > 0.0 || distances.iter().all(|&distance| distance == 0.0), "{distances:?}");
        let clean = AttackOutcome::judge(&frozen, batch.images.clone(), &batch.labels)?;
        prop_assert!((0..6).all(|row| outcome.broken[row] || !clean.broken[row]));
        // Without the label of an image there is nothing to preserve: a wrong image stays as it is.
        prop_assert!((0..6).all(|row| !clean.broken[row] || distances[row] == 0.0));
    }

    #[test]
    fn neither_batch_size_nor_order_matters(
        (name, settings) in prop::sample::select(attacks()),
        norm in prop::sample::select(Norm::ALL.to_vec()),
        rows in prop::collection::vec(0..6usize, 1..6),
    ) {
        let (_, batch, _) = recorded()?;
        let threat = threat(norm, recorded_radius(norm).0);
        let whole = run(name, &settings, &threat, &batch)?;
        let part = run(name, &settings, &threat, &batch.select(&rows)?)?;
        for (at, &row) in rows.iter().enumerate() {
            prop_assert_eq!(part.broken[at], whole.broken[row]);
            prop_assert!((part.loss[at] - whole.loss[row]).abs() < 1e-9);
        }
    }

    #[test]
    fn the_ensemble_breaks_what_its_first_attack_breaks_and_a_larger_ball_is_no_safer(
        norm in prop::sample::select(Norm::ALL.to_vec()),
        size in 0.5..2.0f64,
    ) {
        let (_, batch, _) = recorded()?;
        let broken = |name: &str, settings: Value, size: f64| -> Result<usize> {
            let threat = threat(norm, size * recorded_radius(norm).0);
            Ok(run(name, &settings, &threat, &batch)?.broken.iter().filter(|broken| **broken).count())
        };
        let all = json!({ "steps": 10, "queries": 30 });
        let together = broken("autoattack", all.clone(), size)?;
        let large = json!({ "steps": 10, "restarts": if norm == Norm::L1 { 5 } else { 1 }, "large_radii": norm == Norm::L1 });
        prop_assert!(together >= broken("apgd-ce", large, size)?);
        // Twice the radius: chance may spare an image that it did not spare before, not more of six.
        prop_assert!(broken("autoattack", all, 2.0 * size)? + 1 >= together);
    }
}

/// A classifier that says nothing but one row of logits.
struct Says(Vec<f64>);

impl Classifier for Says {
    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let row = Tensor::new(self.0.clone(), &Device::Cpu)?.to_dtype(images.dtype())?;
        Ok((row.unsqueeze(0)?.repeat((images.dim(0)?, 1))?
            + images.flatten_from(1)?.sum_keepdim(1)?.affine(0.0, 0.0)?.repeat((1, self.0.len()))?)?)
    }

    fn input_gradient(&self, images: &Tensor, loss: &mrpf_api::network::LossOnLogits<'_>) -> Result<InputGradient> {
        let logits = self.logits(images)?;
        Ok(InputGradient { gradient: images.zeros_like()?, loss: loss(&logits)?, logits })
    }

    fn classes(&self) -> usize {
        self.0.len()
    }
}

#[test]
fn few_classes_have_a_version_of_their_own() -> Result<()> {
    let shape = ImageShape { channels: 1, height: 6, width: 6 };
    let parts = |version: &str, classes: usize| -> Result<(Vec<String>, Foresight)> {
        let attack = make::<dyn Attack>("autoattack", json!({ "version": version }))?;
        let names = attack.parts(classes)?.into_iter().map(|(name, _)| name).collect();
        Ok((names, attack.check(&threat(Norm::Linf, 0.1), classes, shape)?))
    };
    let standard = ["apgd-ce", "apgd-t", "fab-t", "square"].map(str::to_owned).to_vec();
    assert_eq!(parts("standard", 4)?, (standard, Foresight::Fits));
    for version in ["standard", "plus"] {
        for (classes, expected) in
            [(2, vec!["apgd-ce", "fab", "square"]), (3, vec!["apgd-ce", "apgd-dlr", "fab", "square"])]
        {
            let (names, said) = parts(version, classes)?;
            assert_eq!(names, expected, "{version} {classes}");
            let told = format!("there are {classes}: version few-classes runs in place of {version}");
            assert!(said.clone().remarks().iter().any(|remark| remark.contains(&told)), "{said:?}");
        }
    }
    assert_eq!(parts("few-classes", 3)?.1, Foresight::Fits);
    let (names, said) = parts("rand", 2)?;
    assert!(names.is_empty(), "one attack has no parts: {names:?}");
    assert!(said.remarks()[0].contains("`apgd-ce` alone"));
    Ok(())
}

#[test]
fn bad_input_is_answered() -> Result<()> {
    let images = Tensor::full(0.5f32, (2, 1, 6, 6), &Device::Cpu)?;
    let batch = |labels: [u32; 2]| -> Result<Batch> {
        Ok(Batch { images: images.clone(), labels: Tensor::new(&labels, &Device::Cpu)?, indices: vec![3, 7] })
    };
    let told = |name: &str, settings: Value, logits: &[f64], batch: &Batch, threat: &ThreatModel| -> String {
        let outcome = make::<dyn Attack>(name, settings)
            .and_then(|attack| attack.attack(&cx(), &Says(logits.to_vec()), threat, batch));
        outcome.map_or_else(|error| error.to_string(), |outcome| format!("{:?}", outcome.broken))
    };
    let (few, linf, none) = (json!({ "steps": 2 }), threat(Norm::Linf, 0.1), json!({}));
    let right = batch([1, 1])?;
    assert_eq!(
        told("apgd-t", few.clone(), &[0.0, 1.0, 0.5], &right, &linf),
        "`apgd-t` needs 4 classes at least, found 3"
    );
    assert_eq!(told("autoattack", none.clone(), &[0.0, 1.0], &right, &linf), "[false, false]");
    assert_eq!(
        told("apgd-dlr", few.clone(), &[0.0, 1.0], &right, &linf),
        "`apgd-dlr` needs 3 classes at least, found 2"
    );
    assert_eq!(
        told("apgd-ce", few.clone(), &[0.0, 1.0], &batch([1, 2])?, &linf),
        "image 7 has label 2, expected 0 to 1"
    );
    let diverged = told("apgd-ce", few.clone(), &[0.0, f64::NAN], &right, &linf);
    assert_eq!(diverged, "the logit of class 1 at a point under attack is NaN, expected a finite number");
    let backwards = threat(Norm::L2, -0.5);
    assert_eq!(
        told("apgd-ce", few.clone(), &[0.0, 1.0], &right, &backwards),
        "epsilon -0.5, expected a number of at least 0"
    );
    let large = json!({ "large_radii": true });
    assert_eq!(told("apgd-ce", large, &[0.0, 1.0], &right, &linf), "large_radii with norm linf, expected norm l1");
    assert_eq!(
        told("apgd-ce", json!({ "rho": 1.5 }), &[], &right, &linf),
        "attack `apgd-ce`: rho 1.5, expected a share between 0 and 1"
    );
    assert_eq!(
        told("fab", json!({ "eta": 0.9 }), &[], &right, &linf),
        "attack `fab`: eta 0.9, expected at least 1: a shorter step never crosses a boundary"
    );
    assert_eq!(
        told("square", json!({ "p_init": 0 }), &[], &right, &linf),
        "attack `square`: p_init 0, expected a share above 0, at most 1"
    );
    for (name, settings) in attacks() {
        // No gradient at all, and no image at all.
        for norm in Norm::ALL {
            assert_eq!(
                told(name, settings.clone(), &[0.0, 1.0, 0.5, 0.2], &batch([1, 0])?, &threat(norm, 0.1)),
                "[false, true]",
                "{name}"
            );
        }
        let empty = Batch { images: images.narrow(0, 0, 0)?, labels: right.labels.narrow(0, 0, 0)?, indices: vec![] };
        assert_eq!(told(name, settings, &[0.0, 1.0, 0.5, 0.2], &empty, &linf), "[]");
    }
    Ok(())
}
