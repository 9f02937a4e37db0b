//! RSLAD beside the authors' code, and its laws.

use super::*;
use mrpf_test_support::{Fixture, TwoSteps, largest_difference, resnet8, step};

/// The recorded teacher.
fn taught(settings: DistillSettings) -> Result<Distill> {
    let (network, recorded) = (resnet8()?.0, Fixture::load("rslad")?);
    network.set_parameters(&recorded.family("teacher_parameters"))?;
    network.set_statistics(recorded.family("teacher_statistics"))?;
    let mut trainer = Distill::new(settings)?;
    trainer.teacher(&network)?;
    Ok(trainer)
}

#[test]
fn two_steps_agree_with_the_authors_code() -> Result<()> {
    let ((network, batch), recorded) = (resnet8()?, Fixture::load("rslad")?);
    let trainer = taught(DistillSettings::default())?;
    let mut steps = TwoSteps::new(&network, &recorded);
    for at in 0..2 {
        let start = (&batch.images + (recorded.tensor(&format!("noise.{at}"))? * 0.001)?)?;
        let (found, images) = trainer.loss_from(&step(0, at), &network, &batch, &start)?;
        assert!(largest_difference(&images, recorded.tensor(&format!("adversarial.{at}"))?)? < 1e-9);
        steps.descend(&found.loss)?;
    }
    steps.finish(1e-9)
}

#[test]
fn a_mean_over_images_is_larger_by_the_number_of_classes() -> Result<()> {
    let (network, batch) = resnet8()?;
    let value = |mean_over| -> Result<f64> {
        let mut trainer = taught(DistillSettings { mean_over, ..DistillSettings::default() })?;
        Ok(trainer.loss(&step(0, 0), &network.duplicate()?, &batch)?.loss.to_scalar::<f64>()?)
    };
    let (all, images) = (value(MeanOver::ImagesAndClasses)?, value(MeanOver::Images)?);
    assert!((images - 10.0 * all).abs() < 1e-12, "{images} {all}");
    Ok(())
}

#[test]
fn without_epsilon_both_parts_are_the_same() -> Result<()> {
    let value = |alpha: f64| -> Result<f64> {
        let (network, batch) = resnet8()?;
        let (alpha, epsilon) = (Fraction::from(alpha), Fraction::from(0.0));
        let mut trainer = taught(DistillSettings { alpha, epsilon, ..DistillSettings::default() })?;
        Ok(trainer.loss(&step(0, 0), &network, &batch)?.loss.to_scalar::<f64>()?)
    };
    assert!((value(0.0)? - value(1.0)?).abs() < 1e-12);
    Ok(())
}

#[test]
fn without_a_teacher_or_with_one_of_other_classes_it_says_so() -> Result<()> {
    let (network, batch) = resnet8()?;
    let mut trainer = Distill::new(DistillSettings::default())?;
    assert!(trainer.needs_teacher());
    let error = trainer.loss(&step(0, 0), &network, &batch).expect_err("no teacher");
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Settings, "there is no teacher to learn from"));
    let mut net = Builder::new("other", ImageShape { channels: 3, height: 8, width: 8 }, 4);
    net.flatten("flatten").linear("out", 4);
    trainer.teacher(&Network::initialise(net.finish()?, &Streams::new(0), DType::F64, &Device::Cpu)?)?;
    let error = trainer.loss(&step(0, 0), &network, &batch).expect_err("four classes").to_string();
    assert_eq!(error, "the teacher knows 4 classes and its student 10");
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = Distill::new(DistillSettings { alpha: Fraction::from(1.5), ..DistillSettings::default() }).err();
    assert!(refused.is_some_and(|error| error.to_string().starts_with("alpha 1.5")));
}

#[test]
fn it_keeps_the_laws_of_its_kind() -> Result<()> {
    mrpf_api::conformance::require(Kind::Trainer, "distill")
}
