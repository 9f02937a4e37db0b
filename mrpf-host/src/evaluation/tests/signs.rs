//! Each sign shows with the fault that it is for, and none with an honest classifier.

use mrpf_api::Result;

use super::evaluated;
use super::faulty::{Both, Cheat, Climb, Fault, Faulty, Swap, named};
use crate::evaluation::cascade::NamedAttack;
use crate::evaluation::robust_overfitting;

/// Larger than half of the gap between the classes, 10 grey values.
const ENOUGH: f64 = 12.0 / 255.0;

fn signs(fault: Fault, attacks: &[NamedAttack], epsilon: f64) -> Result<Vec<String>> {
    let found = evaluated(&Faulty::new(fault), attacks, epsilon)?.signs;
    assert!(found.iter().all(|sign| !sign.message.is_empty() && sign.message != sign.name));
    Ok(found.into_iter().map(|sign| sign.name).collect())
}

#[test]
fn an_honest_classifier_shows_none() -> Result<()> {
    let attacks = || [named("climb", Climb { steps: 8 }), named("swap", Swap), named("both", Both { steps: 8 })];
    // In a ball that is too small as well as in one that breaks everything.
    for epsilon in [4.0 / 255.0, ENOUGH] {
        assert_eq!(signs(Fault::None, &attacks(), epsilon)?, [""; 0]);
    }
    Ok(())
}

#[test]
fn a_masked_gradient_shows_in_three_ways() -> Result<()> {
    let attacks = [named("climb", Climb { steps: 8 }), named("swap", Swap)];
    let found = signs(Fault::MaskedGradient, &attacks, ENOUGH)?;
    assert_eq!(found, ["zero-gradients", "black-box-wins", "survives-everything"]);
    Ok(())
}

#[test]
fn attacks_that_noise_matches_are_weak() -> Result<()> {
    // One step of a quarter of the radius goes less far than noise does.
    let weak = 36.0 / 255.0;
    let found = signs(Fault::None, &[named("climb", Climb { steps: 1 })], weak)?;
    assert_eq!(found, ["noise-as-strong"]);
    assert_eq!(signs(Fault::None, &[named("climb", Climb { steps: 4 })], weak)?, [""; 0]);
    Ok(())
}

#[test]
fn probabilities_and_passes_that_differ_are_seen() -> Result<()> {
    let attacks = || [named("climb", Climb { steps: 8 })];
    assert!(signs(Fault::Probabilities, &attacks(), ENOUGH)?.contains(&"probabilities".into()));
    assert_eq!(signs(Fault::Noisy, &attacks(), ENOUGH)?, ["random-forward"]);
    Ok(())
}

#[test]
fn one_answer_to_every_image_is_seen() -> Result<()> {
    let found = signs(Fault::Stuck, &[named("climb", Climb { steps: 8 })], ENOUGH)?;
    assert!(found.contains(&"one-class".into()), "{found:?}");
    Ok(())
}

#[test]
fn a_black_box_that_wins_is_seen_beside_and_within_an_attack() -> Result<()> {
    let wins = "black-box-wins".to_owned();
    let beside = signs(Fault::ReversedGradient, &[named("climb", Climb { steps: 8 }), named("swap", Swap)], ENOUGH)?;
    let within = signs(Fault::ReversedGradient, &[named("both", Both { steps: 8 })], ENOUGH)?;
    assert!(beside.contains(&wins) && within.contains(&wins), "{beside:?} {within:?}");
    let alone = signs(Fault::ReversedGradient, &[named("swap", Swap)], ENOUGH)?;
    assert!(!alone.contains(&wins), "there is nothing to win against: {alone:?}");
    Ok(())
}

#[test]
fn more_that_does_less_and_survival_of_anything_are_seen() -> Result<()> {
    let attacks = || [named("climb", Climb { steps: 8 })];
    let found = signs(Fault::ReversedBeyond(0.15), &attacks(), ENOUGH)?;
    assert!(found.contains(&"more-is-weaker".into()) && found.contains(&"survives-everything".into()), "{found:?}");
    Ok(())
}

#[test]
fn an_attack_that_acts_at_epsilon_zero_is_named() -> Result<()> {
    let found = signs(Fault::None, &[named("cheat", Cheat)], ENOUGH)?;
    assert!(found.contains(&"epsilon-zero-differs".into()), "{found:?}");
    Ok(())
}

#[test]
fn a_last_epoch_that_is_much_weaker_is_told() {
    assert_eq!(robust_overfitting(0.5, 0.46), None);
    assert_eq!(robust_overfitting(0.4, 0.5), None);
    let message = robust_overfitting(0.5, 0.43).map(|sign| sign.message).unwrap_or_default();
    assert!(message.contains("from 50.0 %") && message.contains("to 43.0 %"), "{message}");
}

#[test]
fn every_sign_is_explained() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../SIGNS.md")).expect("SIGNS.md");
    for name in [
        "zero-gradients",
        "probabilities",
        "random-forward",
        "epsilon-zero-differs",
        "noise-as-strong",
        "black-box-wins",
        "more-is-weaker",
        "survives-everything",
        "robust-overfitting",
    ] {
        assert!(page.contains(&format!("\n## `{name}`\n")), "{name}");
    }
}
