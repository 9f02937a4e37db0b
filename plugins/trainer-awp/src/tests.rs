//! AWP beside the authors' code, and its laws.

use super::*;
use mrpf_api::conformance::{Surroundings, Verdict, examine};
use mrpf_test_support::{Fixture, TwoSteps, assert_family, largest_difference, resnet8, step};

/// Adds an offset to the parameters.
fn shift(network: &Network, offset: &Weights) -> Result<()> {
    for (name, offset) in offset {
        let variable = network.parameter(name)?;
        variable.set(&(variable.as_detached_tensor() + offset)?)?;
    }
    Ok(())
}

fn agrees_over(base: Base, fixture: &str) -> Result<()> {
    let ((network, batch), recorded) = (resnet8()?, Fixture::load(fixture)?);
    let trainer = Awp::new(AwpSettings { base, ..AwpSettings::default() })?;
    let mut steps = TwoSteps::new(&network, &recorded);
    for at in 0..2 {
        let start = recorded.tensor(&format!("start.{at}"))?;
        let step = step(0, at);
        let attacked = trainer.attack_from(&step, &network, &batch, start)?;
        assert!(largest_difference(&attacked, recorded.tensor(&format!("adversarial.{at}"))?)? < 1e-9);
        let before = network.snapshot()?;
        shift(&network, &trainer.perturbation(&step, &network, &batch, &attacked)?)?;
        if at == 0 {
            assert_family("perturbed", &network.snapshot()?, &recorded.family("perturbed"), 1e-9)?;
        }
        let loss = trainer.loss_of(&step, &network, &batch, &attacked)?.loss;
        let gradients = loss.backward()?;
        network.set_parameters(&before)?;
        steps.descend_by(&loss, &gradients)?;
    }
    steps.finish(1e-9)
}

#[test]
fn two_steps_over_pgd_at_agree_with_the_authors_code() -> Result<()> {
    agrees_over(Base::PgdAt, "awp_pgd_at")
}

#[test]
fn two_steps_over_trades_agree_with_the_authors_code() -> Result<()> {
    agrees_over(Base::Trades, "awp_trades")
}

#[test]
fn every_weight_moves_by_gamma_of_its_norm_and_nothing_else_moves() -> Result<()> {
    for base in [Base::PgdAt, Base::Trades] {
        for gamma in [0.003, 0.2] {
            let (network, batch) = resnet8()?;
            let statistics = network.statistics();
            let mut trainer = Awp::new(AwpSettings { base, gamma: Some(gamma), ..AwpSettings::default() })?;
            let offset = trainer.perturb_weights(&step(0, 0), &network, &batch)?.expect("no warm-up");
            for (name, variable) in network.parameters() {
                match offset.get(name) {
                    None => assert_eq!(variable.rank(), 1, "{name}"),
                    Some(offset) => {
                        let size = norm(offset)? / norm(&variable.as_detached_tensor())?;
                        assert!((size - gamma).abs() < 1e-12, "{name}: {size}");
                    }
                }
            }
            assert_family("statistics", &network.statistics(), &statistics, 1e-300)?;
        }
    }
    Ok(())
}

#[test]
fn the_perturbation_raises_the_loss() -> Result<()> {
    let (network, batch) = resnet8()?;
    let trainer = Awp::new(AwpSettings::default())?;
    let value = || -> Result<f64> {
        Ok(trainer.loss_of(&step(0, 0), &network, &batch, &batch.images)?.loss.to_scalar::<f64>()?)
    };
    let before = value()?;
    shift(&network, &trainer.perturbation(&step(0, 0), &network, &batch, &batch.images)?)?;
    assert!(value()? > before + 1e-3);
    Ok(())
}

#[test]
fn without_gamma_and_epsilon_it_is_plain_training() -> Result<()> {
    let nothing = AwpSettings { gamma: Some(0.0), epsilon: Fraction::from(0.0), ..AwpSettings::default() };
    for base in [Base::PgdAt, Base::Trades] {
        let (network, batch) = resnet8()?;
        let mut trainer = Awp::new(AwpSettings { base, ..nothing.clone() })?;
        let offset = trainer.perturb_weights(&step(0, 0), &network, &batch)?.expect("no warm-up");
        for offset in offset.values() {
            assert_eq!(norm(offset)?, 0.0);
        }
        let found = trainer.loss(&step(0, 0), &network, &batch)?.loss.to_scalar::<f64>()?;
        let plain = loss::cross_entropy(&resnet8()?.0.forward(&batch.images, Mode::Train)?, &batch.labels, 0.0)?;
        assert!((found - plain.to_scalar::<f64>()?).abs() < 1e-12);
    }
    Ok(())
}

#[test]
fn warm_up_epochs_are_the_base_and_a_warm_up_without_end_is_refused() -> Result<()> {
    let (network, batch) = resnet8()?;
    let mut trainer = Awp::new(AwpSettings { warm_up: 2, ..AwpSettings::default() })?;
    let of_epoch = |epoch| TrainingStep { epochs: 3, ..step(epoch, 0) };
    assert!(trainer.perturb_weights(&of_epoch(1), &network, &batch)?.is_none());
    assert!(trainer.perturb_weights(&of_epoch(2), &network, &batch)?.is_some());
    let two = TrainingStep { epochs: 2, ..step(0, 0) };
    let error = trainer.perturb_weights(&two, &network, &batch).expect_err("never perturbed").to_string();
    assert_eq!(error, "a warm_up of 2 in 2 epochs, so that no weight is ever perturbed");
    Ok(())
}

#[test]
fn it_keeps_the_laws_of_its_kind_over_both_bases() -> Result<()> {
    for base in ["pgd-at", "trades"] {
        let settings = [("base".to_owned(), base.into())].into_iter().collect();
        let plugin = mrpf_api::registry::find(Kind::Trainer, "awp")?;
        for finding in examine(plugin, &Surroundings { settings, data_dir: None }) {
            assert!(!matches!(finding.verdict, Verdict::Broken(_)), "{base}: {finding:?}");
        }
    }
    Ok(())
}
