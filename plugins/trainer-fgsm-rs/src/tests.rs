//! Fast-AT beside the authors' code, and its laws.

use super::*;
use mrpf_test_support::{Fixture, TwoSteps, largest_difference, resnet8, step};

fn trainer() -> Result<FgsmRs> {
    FgsmRs::new(FgsmRsSettings::default())
}

#[test]
fn two_steps_agree_with_the_authors_program() -> Result<()> {
    let ((network, batch), recorded) = (resnet8()?, Fixture::load("fgsm_rs")?);
    let mut steps = TwoSteps::new(&network, &recorded);
    for at in 0..2 {
        let start = recorded.tensor(&format!("start.{at}"))?;
        let (found, images) = trainer()?.loss_from(&step(at, 0), &network, &batch, start)?;
        assert!(largest_difference(&images, recorded.tensor(&format!("adversarial.{at}"))?)? < 1e-9);
        steps.descend(&found.loss)?;
    }
    steps.finish(1e-9)
}

#[test]
fn the_guards_attack_agrees_with_the_authors_code() -> Result<()> {
    let ((network, batch), recorded) = (resnet8()?, Fixture::load("fgsm_rs")?);
    let batch = Batch { labels: recorded.tensor("guard_labels")?.to_dtype(DType::U32)?, ..batch };
    let guard = trainer()?.guard.expect("on by default");
    let (images, share) = guard.attack_from(&step(0, 0), &network, &batch, recorded.tensor("guard_start")?)?;
    assert!(largest_difference(&images, recorded.tensor("guard_images")?)? < 1e-9);
    let right = recorded.tensor("guard_right")?.mean_all()?.to_scalar::<f64>()?;
    assert!((share - right).abs() < 1e-12 && share < 1.0, "{share}, recorded {right}");
    Ok(())
}

#[test]
fn a_fall_by_more_than_the_drop_ends_the_training_and_is_remembered_across_checkpoints() -> Result<()> {
    let (network, batch) = resnet8()?;
    let ends_after = |previous: f64| -> Result<(EpochEnd, f64)> {
        let mut before = trainer()?;
        before.previous = previous;
        let mut trainer = trainer()?;
        trainer.restore(before.state())?;
        trainer.loss(&step(1, 0), &network, &batch)?;
        let end = trainer.end_epoch(&step(1, 1), &network)?;
        Ok((end, trainer.previous))
    };
    let (end, accuracy) = ends_after(0.0)?;
    assert_eq!(end, EpochEnd::GoOn);
    assert_eq!(ends_after(accuracy + 0.19)?, (EpochEnd::GoOn, accuracy));
    let (end, previous) = ends_after(accuracy + 0.21)?;
    assert!(matches!(&end, EpochEnd::UndoAndStop(why) if why.contains("survive PGD-5")), "{end:?}");
    assert_eq!(previous, accuracy + 0.21, "the epoch that is undone is not the one to compare with");
    Ok(())
}

#[test]
fn the_guard_looks_at_the_first_batch_of_each_epoch() -> Result<()> {
    let (network, batch) = resnet8()?;
    let mut trainer = trainer()?;
    for epoch in 0..2 {
        for rows in [[3, 4], [0, 1]] {
            trainer.loss(&step(epoch, rows[0]), &network, &batch.select(&rows)?)?;
        }
        let first = trainer.first.as_ref().map(|(epoch, batch)| (*epoch, batch.indices.clone()));
        assert_eq!(first, Some((epoch, vec![3, 4])));
        trainer.end_epoch(&step(epoch, 9), &network)?;
    }
    let mut without = FgsmRs::new(FgsmRsSettings { guard: false, ..FgsmRsSettings::default() })?;
    without.previous = 1.0;
    without.loss(&step(0, 0), &network, &batch)?;
    assert_eq!(without.end_epoch(&step(0, 1), &network)?, EpochEnd::GoOn);
    Ok(())
}

#[test]
fn without_epsilon_it_is_plain_training() -> Result<()> {
    let (network, batch) = resnet8()?;
    let mut trainer = FgsmRs::new(FgsmRsSettings { epsilon: Fraction::from(0.0), ..FgsmRsSettings::default() })?;
    let found = trainer.loss(&step(0, 0), &network, &batch)?.loss.to_scalar::<f64>()?;
    let plain = loss::cross_entropy(&resnet8()?.0.forward(&batch.images, Mode::Train)?, &batch.labels, 0.0)?;
    assert!((found - plain.to_scalar::<f64>()?).abs() < 1e-12);
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = FgsmRs::new(FgsmRsSettings { guard_steps: 0, ..FgsmRsSettings::default() }).err();
    assert!(refused.is_some_and(|error| error.to_string().starts_with("epsilon 8/255, step_size 0.039")));
}

#[test]
fn it_keeps_the_laws_of_its_kind() -> Result<()> {
    mrpf_api::conformance::require(Kind::Trainer, "fgsm-rs")
}
