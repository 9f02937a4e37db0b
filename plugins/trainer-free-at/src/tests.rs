//! Free-AT beside the code of Wong et al. 2020, and its laws.

use super::*;
use mrpf_test_support::{Fixture, TwoSteps, largest_difference, resnet8, step};

#[test]
fn two_batches_of_three_replays_agree_with_the_program() -> Result<()> {
    let ((network, batch), recorded) = (resnet8()?, Fixture::load("free_at")?);
    let mut trainer = FreeAt::new(FreeAtSettings { replays: 3, ..FreeAtSettings::default() })?;
    let mut steps = TwoSteps::new(&network, &recorded);
    for (number, rows) in [&[0, 1, 2, 3, 4, 5][..], &[5, 3, 1, 0]].into_iter().enumerate() {
        let batch = batch.select(rows)?;
        for replay in 0..trainer.replays() {
            let found = trainer.loss(&step(0, number), &network, &batch)?;
            let points = trainer.waiting.as_ref().map(|(points, _)| points.as_detached_tensor()).expect("a batch");
            let expected = recorded.tensor(&format!("images.{}", number * 3 + replay))?;
            assert!(largest_difference(&points, expected)? < 1e-12, "batch {number} replay {replay}");
            let gradients = steps.descend(&found.loss)?;
            trainer.after_backward(&step(0, number), &gradients)?;
        }
    }
    steps.finish(1e-9)
}

#[test]
fn the_perturbation_stays_in_ball_and_range_and_grows_with_the_batch() -> Result<()> {
    let (network, batch) = resnet8()?;
    let mut trainer = FreeAt::new(FreeAtSettings::default())?;
    for rows in [&[2, 4][..], &[0, 1, 2, 3, 5], &[5]] {
        let images = batch.select(rows)?;
        let before = trainer.perturbation.clone();
        let loss = trainer.loss(&step(0, 0), &network, &images)?.loss;
        trainer.after_backward(&step(0, 0), &loss.backward()?)?;
        let kept = trainer.perturbation.clone().expect("a perturbation");
        assert_eq!(kept.dim(0)?, rows.len().max(before.as_ref().map_or(0, |before| before.dims()[0])));
        assert!(kept.abs()?.max_all()?.to_scalar::<f64>()? <= 8.0 / 255.0);
        let points = (&images.images + kept.narrow(0, 0, rows.len())?)?;
        let (low, high) = (points.min_all()?.to_scalar::<f64>()?, points.max_all()?.to_scalar::<f64>()?);
        assert!(low >= -1e-15 && high <= 1.0 + 1e-15, "{low} {high}");
        if let Some(before) = before.filter(|before| before.dims()[0] > rows.len()) {
            let rest = |kept: &Tensor| kept.narrow(0, rows.len(), before.dims()[0] - rows.len());
            assert_eq!(largest_difference(&rest(&before)?, &rest(&kept)?)?, 0.0, "rows without an image stay");
        }
    }
    Ok(())
}

#[test]
fn without_epsilon_it_is_plain_training_and_stays_so() -> Result<()> {
    let (network, batch) = resnet8()?;
    let mut trainer = FreeAt::new(FreeAtSettings { epsilon: Fraction::from(0.0), ..FreeAtSettings::default() })?;
    for _ in 0..2 {
        let loss = trainer.loss(&step(0, 0), &network, &batch)?.loss;
        trainer.after_backward(&step(0, 0), &loss.backward()?)?;
        let plain = loss::cross_entropy(&network.forward(&batch.images, Mode::Train)?, &batch.labels, 0.0)?;
        assert_eq!(loss.to_scalar::<f64>()?, plain.to_scalar::<f64>()?);
    }
    Ok(())
}

#[test]
fn the_kept_perturbation_goes_through_a_checkpoint() -> Result<()> {
    let (network, batch) = resnet8()?;
    let mut first = FreeAt::new(FreeAtSettings::default())?;
    let loss = first.loss(&step(0, 0), &network, &batch)?.loss;
    first.after_backward(&step(0, 0), &loss.backward()?)?;
    let mut second = FreeAt::new(FreeAtSettings::default())?;
    second.restore(first.state())?;
    let next = |trainer: &mut FreeAt| -> Result<f64> {
        Ok(trainer.loss(&step(0, 1), &network, &batch)?.loss.to_scalar::<f64>()?)
    };
    let fresh = next(&mut FreeAt::new(FreeAtSettings::default())?)?;
    let (a, b) = (next(&mut first)?, next(&mut second)?);
    assert_eq!(a, b);
    assert_ne!(a, fresh);
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = FreeAt::new(FreeAtSettings { replays: 0, ..FreeAtSettings::default() }).err();
    assert!(refused.is_some_and(|error| error.to_string().starts_with("0 replays")));
}

#[test]
fn it_keeps_the_laws_of_its_kind() -> Result<()> {
    mrpf_api::conformance::require(Kind::Trainer, "free-at")
}
