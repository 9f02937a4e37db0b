use super::*;
use crate::momentum::Momentum;
use crate::objective::Objective;
use mrpf_api::attack::check_inside;
use mrpf_api::attack::search::{Ball, Form, Ground, cases};
use mrpf_api::prelude::*;
use mrpf_test_support::{Fixture, resnet8};
use proptest::prelude::*;

fn threat(norm: Norm, epsilon: f64) -> ThreatModel {
    ThreatModel { norm, epsilon: Fraction::from(epsilon) }
}

fn cx() -> CallContext<'static> {
    CallContext::unwatched(Streams::new(5))
}

#[test]
fn the_attacks_agree_with_torchattacks() -> Result<()> {
    let (network, batch) = resnet8()?;
    let (frozen, recorded) = (network.freeze()?, Fixture::load("attacks")?);
    let near = |images: &Tensor, name: &str| -> Result<()> {
        let distance = Norm::Linf.distances(images, recorded.tensor(name)?)?.into_iter().fold(0.0, f64::max);
        assert!(distance < 1e-9, "{name}: {distance}");
        Ok(())
    };
    let linf = ThreatModel::default();
    let pgd = |steps, size: Option<Fraction>| {
        Pgd::new(PgdSettings { steps, step_size: size, keep: Keep::Last, ..PgdSettings::default() })
    };
    let found = pgd(10, None)?.attack_from(&cx(), &frozen, &linf, &batch, recorded.tensor("linf_start")?)?;
    near(&found.images, "linf_images")?;
    let mean = found.loss.iter().sum::<f64>() / found.loss.len() as f64;
    assert!((mean - recorded.number("linf_loss")?).abs() < 1e-8, "{mean}");
    let found = pgd(10, Some(Fraction::from(0.1)))?;
    let found = found.attack_from(&cx(), &frozen, &threat(Norm::L2, 0.5), &batch, recorded.tensor("l2_start")?)?;
    near(&found.images, "l2_images")?;
    near(&Fgsm.attack(&cx(), &frozen, &linf, &batch)?.images, "fgsm_images")
}

/// The recorded network and images with the labels that it gives them.
fn further() -> Result<(FrozenNetwork, Batch, Fixture)> {
    let (network, mut batch) = resnet8()?;
    let fixture = Fixture::load("further_attacks")?;
    batch.labels = fixture.tensor("labels")?.to_dtype(DType::U32)?;
    Ok((network.freeze()?, batch, fixture))
}

#[test]
fn momentum_agrees_with_torchattacks() -> Result<()> {
    let (frozen, batch, fixture) = further()?;
    let settings = MomentumSettings { steps: 10, step_size: Fraction::from(0.004), decay: 0.9 };
    let ground = Ground { classifier: &frozen, form: Form::of(&batch.images)?, cases: cases(&frozen, &batch)?.0 };
    let ball = Ball { norm: Norm::Linf, epsilon: 0.02 };
    let found = Momentum::new(settings)?.ends(&cx(), ball, &ground, false)?;
    let found = ground.form.tensor(found.iter().map(Vec::as_slice))?;
    let furthest = Norm::Linf.distances(&found, fixture.tensor("mim.images")?)?.into_iter().fold(0.0, f64::max);
    assert!(furthest < 1e-9, "{furthest}");
    Ok(())
}

#[test]
fn the_margin_is_climbed_as_its_definition_says() -> Result<()> {
    let (frozen, batch, fixture) = further()?;
    let settings = PgdSettings { steps: 12, keep: Keep::Last, ..PgdSettings::default() };
    let pgd = Pgd::climbing(Objective::Margin { confidence: 50.0 }, settings)?;
    let found = pgd.attack_from(&cx(), &frozen, &threat(Norm::Linf, 0.03), &batch, fixture.tensor("cw_linf.start")?)?;
    let expected = fixture.tensor("cw_linf.images")?;
    let furthest = Norm::Linf.distances(&found.images, expected)?.into_iter().fold(0.0, f64::max);
    assert!(furthest < 1e-9, "{furthest}");
    Ok(())
}

#[test]
fn each_keeps_the_laws_of_attacks() -> Result<()> {
    ["fgsm", "pgd", "mim", "cw-linf"]
        .into_iter()
        .try_for_each(|name| mrpf_api::conformance::require(Kind::Attack, name))
}

#[test]
fn keeping_the_worst_point_is_never_weaker_than_keeping_the_last() -> Result<()> {
    let (network, batch) = resnet8()?;
    let frozen = network.freeze()?;
    let run = |keep, restarts| -> Result<AttackOutcome> {
        let settings = PgdSettings { steps: 7, keep, restarts, ..PgdSettings::default() };
        Pgd::new(settings)?.attack(&cx(), &frozen, &threat(Norm::Linf, 0.02), &batch)
    };
    let (last, worst, restarted) = (run(Keep::Last, 1)?, run(Keep::Worst, 1)?, run(Keep::Worst, 3)?);
    let (first, first_restarted) = (run(Keep::FirstBroken, 1)?, run(Keep::FirstBroken, 3)?);
    assert_eq!((&first.broken, &first_restarted.broken), (&worst.broken, &restarted.broken));
    assert!(worst.broken.contains(&true) && worst.broken.contains(&false));
    let judged = AttackOutcome::judge(&frozen, first_restarted.images.clone(), &batch.labels)?;
    assert_eq!(judged.broken, first_restarted.broken);
    for i in 0..batch.len() {
        assert!((worst.broken[i], worst.loss[i]) >= (last.broken[i], last.loss[i]));
        assert!((restarted.broken[i], restarted.loss[i]) >= (worst.broken[i], worst.loss[i]));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn attacks_stay_inside_and_do_nothing_at_epsilon_0(
        norm in prop::sample::select(vec![Norm::Linf, Norm::L2]),
        epsilon in prop::sample::select(vec![0.0, 0.003, 0.03, 0.5, 3.0]),
        name in prop::sample::select(vec!["fgsm", "pgd"]),
    ) {
        let (network, batch) = resnet8()?;
        let frozen = network.freeze()?;
        let settings = if name == "pgd" { mrpf_api::serde_json::json!({ "steps": 3 }) } else { mrpf_api::serde_json::json!({}) };
        let attack = mrpf_api::registry::make::<dyn Attack>(name, settings)?;
        let threat = threat(norm, epsilon);
        let outcome = attack.attack(&cx(), &frozen, &threat, &batch)?;
        check_inside(&threat, &batch.images, &outcome.images)?;
        let distances = Norm::Linf.distances(&batch.images, &outcome.images)?;
        prop_assert!(epsilon > 0.0 || distances.iter().all(|&d| d == 0.0), "{distances:?}");
        prop_assert!(epsilon == 0.0 || distances.iter().any(|&d| d > 0.0));
    }

    #[test]
    fn neither_batch_size_nor_order_matters(rows in prop::collection::vec(0..6usize, 1..6)) {
        let (network, batch) = resnet8()?;
        let frozen = network.freeze()?;
        let pgd = Pgd::new(PgdSettings { steps: 4, restarts: 2, ..PgdSettings::default() })?;
        let whole = pgd.attack(&cx(), &frozen, &ThreatModel::default(), &batch)?;
        let part = pgd.attack(&cx(), &frozen, &ThreatModel::default(), &batch.select(&rows)?)?;
        for (at, &row) in rows.iter().enumerate() {
            prop_assert_eq!(part.broken[at], whole.broken[row]);
            prop_assert!((part.loss[at] - whole.loss[row]).abs() < 1e-9);
        }
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |settings| Pgd::new(settings).err().map(|error| error.to_string());
    let none = refused(PgdSettings { steps: 0, ..PgdSettings::default() });
    assert_eq!(none.as_deref(), Some("0 steps and 1 restarts, expected at least 1 of each"));
    let back = refused(PgdSettings { step_size: Some(Fraction::from(-1.0)), ..PgdSettings::default() });
    assert_eq!(back.as_deref(), Some("step_size -1, expected a length above 0"));
    let made =
        |name: &str, settings| mrpf_api::registry::make::<dyn Attack>(name, settings).err().map(|e| e.to_string());
    let away = made("cw-linf", mrpf_api::serde_json::json!({ "confidence": -1.0 }));
    assert_eq!(away.as_deref(), Some("attack `cw-linf`: confidence -1, expected a number of at least 0"));
    let still = made("mim", mrpf_api::serde_json::json!({ "step_size": 0 }));
    assert_eq!(still.as_deref(), Some("attack `mim`: step_size 0, expected a length above 0"));
}
