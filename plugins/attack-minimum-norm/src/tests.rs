//! Beside torchattacks and foolbox on recorded fixtures; laws; settings.

use mrpf_api::attack::search::{Ball, Form, Ground, cases};
use mrpf_api::conformance::{Surroundings, Verdict, examine};
use mrpf_api::prelude::*;
use mrpf_api::registry::{find, make};
use mrpf_api::serde_json::{Value, json};
use mrpf_test_support::{Fixture, resnet8};
use proptest::prelude::*;

use crate::cw::{Cw, CwSettings};
use crate::deepfool::{DeepFool, DeepFoolSettings};
use crate::fmn::{Fmn, FmnSettings};
use crate::found::Nearest;

/// The recorded network, its images with the labels that it gives them, and what was recorded.
fn recorded() -> Result<(FrozenNetwork, Batch, Fixture)> {
    let (network, mut batch) = resnet8()?;
    let fixture = Fixture::load("further_attacks")?;
    batch.labels = fixture.tensor("labels")?.to_dtype(DType::U32)?;
    Ok((network.freeze()?, batch, fixture))
}

fn ground<'a>(classifier: &'a FrozenNetwork, batch: &Batch) -> Result<Ground<'a>> {
    let (cases, _) = cases(classifier, batch)?;
    Ok(Ground { classifier, form: Form::of(&batch.images)?, cases })
}

fn cx() -> CallContext<'static> {
    CallContext::unwatched(Streams::new(5))
}

/// A ball in which no image is ever broken, so that all go their whole way.
fn no_ball(norm: Norm) -> Ball {
    Ball { norm, epsilon: 0.0 }
}

fn assert_near(what: &str, found: &[Nearest], expected: &Tensor) -> Result<()> {
    for (row, expected) in expected.flatten_from(1)?.to_vec2::<f64>()?.into_iter().enumerate() {
        let (point, _) = found[row].as_ref().unwrap_or_else(|| panic!("{what}: image {row} is not broken"));
        let furthest = point.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(furthest < 1e-8, "{what}, image {row}: {furthest}");
    }
    Ok(())
}

#[test]
fn deepfool_is_that_of_torchattacks() -> Result<()> {
    let (frozen, batch, fixture) = recorded()?;
    let deepfool = DeepFool::new(DeepFoolSettings::default())?;
    let found = deepfool.nearest(&cx(), Norm::L2, &ground(&frozen, &batch)?)?;
    assert_near("deepfool", &found, fixture.tensor("deepfool.images")?)
}

#[test]
fn fmn_is_that_of_foolbox() -> Result<()> {
    let (frozen, batch, fixture) = recorded()?;
    for (norm, name) in [(Norm::Linf, "Linf"), (Norm::L2, "L2")] {
        let radii = fixture.tensor(&format!("fmn.{name}.radii"))?.to_vec2::<f64>()?;
        let fmn = Fmn::new(FmnSettings { steps: radii.len(), ..FmnSettings::default() })?;
        let found = fmn.nearest(&cx(), no_ball(norm), &ground(&frozen, &batch)?, &mut |step, live| {
            for (row, course) in live.iter().enumerate() {
                let (radius, expected) = (course.radius, radii[step][row]);
                assert!((radius - expected).abs() < 1e-8, "{name} step {step} image {row}: {radius}");
            }
        })?;
        assert_near(name, &found, fixture.tensor(&format!("fmn.{name}.images"))?)?;
    }
    Ok(())
}

#[test]
fn carlini_and_wagner_is_that_of_foolbox() -> Result<()> {
    let (frozen, batch, fixture) = recorded()?;
    let settings = CwSettings { searches: 4, steps: 60, learning_rate: 0.02, confidence: 0.0, initial_weight: 0.5 };
    let mut weights = Vec::new();
    let found =
        Cw::new(settings)?.nearest(&cx(), no_ball(Norm::L2), &ground(&frozen, &batch)?, &mut |_, courses| {
            weights.push(courses[0].weight);
        })?;
    assert!(weights.windows(2).any(|pair| pair[1] != 10.0 * pair[0]), "no weight was ever enough: {weights:?}");
    assert_near("cw-l2", &found, fixture.tensor("cw_l2.images")?)
}

/// Every attack of this crate, with budgets that a test can wait for.
fn attacks() -> Vec<(&'static str, Value)> {
    vec![
        ("deepfool", json!({})),
        ("fmn", json!({ "steps": 20 })),
        ("cw-l2", json!({ "steps": 15, "searches": 3, "initial_weight": 1.0, "learning_rate": 0.03 })),
    ]
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
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn neither_batch_size_nor_order_matters_and_all_stay_inside(
        (name, settings) in prop::sample::select(attacks()),
        rows in prop::collection::vec(0..6usize, 1..6),
        size in 0.1..2.0f64,
    ) {
        let (frozen, batch, _) = recorded()?;
        let threat = ThreatModel { norm: Norm::L2, epsilon: Fraction::from(size) };
        let run = |batch: &Batch| make::<dyn Attack>(name, settings.clone())?.attack(&cx(), &frozen, &threat, batch);
        let (whole, part) = (run(&batch)?, run(&batch.select(&rows)?)?);
        mrpf_api::attack::check_inside(&threat, &batch.images, &whole.images)?;
        for (at, &row) in rows.iter().enumerate() {
            prop_assert_eq!(part.broken[at], whole.broken[row]);
            prop_assert!((part.loss[at] - whole.loss[row]).abs() < 1e-9);
        }
    }
}

#[test]
fn what_cannot_be_is_refused() -> Result<()> {
    let (frozen, batch, _) = recorded()?;
    let told = |name: &str, settings: Value, norm: Norm| -> String {
        let threat = ThreatModel { norm, epsilon: Fraction::from(0.1) };
        let outcome =
            make::<dyn Attack>(name, settings).and_then(|attack| attack.attack(&cx(), &frozen, &threat, &batch));
        outcome.map_or_else(|error| error.to_string(), |_| "nothing".into())
    };
    assert_eq!(told("deepfool", json!({}), Norm::L1), "`deepfool` knows the norms l2 and linf, found l1");
    assert_eq!(told("cw-l2", json!({}), Norm::Linf), "`cw-l2` knows the norm l2, found linf");
    assert_eq!(
        told("deepfool", json!({ "steps": 0 }), Norm::L2),
        "attack `deepfool`: 0 steps and overshoot 0.02, expected at least 1 and at least 0"
    );
    assert_eq!(
        told("fmn", json!({ "gamma": 1.0 }), Norm::L2),
        "attack `fmn`: 100 steps, step_size 1, gamma 1, expected at least 1, above 0, and a share from 0 to below 1"
    );
    assert_eq!(
        told("cw-l2", json!({ "steps": 0 }), Norm::L2),
        "attack `cw-l2`: 9 searches of 0 steps, expected at least 1 of each"
    );
    Ok(())
}
