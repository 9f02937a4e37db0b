use mrpf_api::conformance;
use mrpf_api::serde_json::json;
use mrpf_test_support::{Fixture, assert_family, gradients_by_name, largest_difference, resnet8, step};
use mrpf_trainer_awp as _;
use mrpf_trainer_distill as _;
use mrpf_trainer_pgd_at as _;
use mrpf_trainer_standard as _;

use super::*;

const STRENGTH: f64 = 0.05;

fn made(name: &str, settings: Value) -> Result<Box<dyn AdversarialTrainer>> {
    make::<dyn AdversarialTrainer>(name, settings)
}

/// Loss and gradients of the first step on the recorded network, in which one scale is 0.
fn first_step(name: &str, settings: Value) -> Result<(f64, Weights)> {
    let (network, batch) = resnet8()?;
    let scale = network.parameter("bn1.weight")?;
    let with_zero: Vec<f64> = scale
        .as_tensor()
        .to_vec1::<f64>()?
        .iter()
        .enumerate()
        .map(|(at, value)| if at == 1 { 0.0 } else { *value })
        .collect();
    scale.set(&Tensor::from_vec(with_zero, scale.dims(), &Device::Cpu)?)?;
    let mut trainer = made(name, settings)?;
    if trainer.needs_teacher() {
        trainer.teacher(&network)?;
    }
    let loss = trainer.loss(&step(0, 0), &network, &batch)?.loss;
    Ok((loss.to_scalar::<f64>()?, gradients_by_name(&network, &loss.backward()?)))
}

fn assert_adds_the_sign_of_scales(over: Value, name: &str, settings: Value) -> Result<()> {
    let (loss, gradients) = first_step(name, settings)?;
    let (slim_loss, slim) = first_step("slimming", json!({ "over": over, "strength": STRENGTH }))?;
    let network = resnet8()?.0;
    let (mut sum, mut scales) = (0.0, 0);
    for (parameter, found) in &slim {
        let difference = ((found - &gradients[parameter])? / STRENGTH)?;
        let is_norm = ["bn1", "bn2", "shortcut.1"].iter().any(|norm| parameter.ends_with(&format!("{norm}.weight")));
        if !is_norm {
            assert!(largest_difference(found, &gradients[parameter])? < 1e-12, "{name} {parameter}");
            continue;
        }
        scales += 1;
        let values = network.parameter(parameter)?.as_tensor().to_vec1::<f64>()?;
        for (at, (value, difference)) in values.iter().zip(difference.to_vec1::<f64>()?).enumerate() {
            let value = if parameter == "bn1.weight" && at == 1 { 0.0 } else { *value };
            let sign = if value == 0.0 { 0.0 } else { value.signum() };
            assert!((difference - sign).abs() < 1e-9, "{name} {parameter} {at}: {difference}, scale {value}");
            sum += value.abs();
        }
    }
    assert_eq!(scales, 9, "{name}");
    assert!((slim_loss - loss - STRENGTH * sum).abs() < 1e-9, "{name}: {slim_loss} over {loss}");
    Ok(())
}

#[test]
fn the_sign_of_every_scale_is_added_to_its_gradient() -> Result<()> {
    assert_adds_the_sign_of_scales(json!("standard"), "standard", json!({}))?;
    let settings = json!({ "epsilon": "4/255", "steps": 3 });
    assert_adds_the_sign_of_scales(json!({ "name": "pgd-at", "epsilon": "4/255", "steps": 3 }), "pgd-at", settings)?;
    assert_adds_the_sign_of_scales(json!("distill"), "distill", json!({}))
}

#[test]
fn without_strength_it_is_the_other_training() -> Result<()> {
    let recorded = Fixture::load("resnet8")?;
    let (network, batch) = resnet8()?;
    let mut trainer = made("slimming", json!({ "strength": 0.0 }))?;
    let gradients = trainer.loss(&step(0, 0), &network, &batch)?.loss.backward()?;
    assert_family("gradient", &gradients_by_name(&network, &gradients), &recorded.family("train_gradient"), 1e-9)
}

#[test]
fn what_the_other_training_does_beside_the_loss_is_done() -> Result<()> {
    let (network, batch) = resnet8()?;
    let [mut plain, mut slim] = [made("awp", json!({}))?, made("slimming", json!({ "over": "awp" }))?];
    let [a, b] = [&mut plain, &mut slim].map(|trainer| trainer.perturb_weights(&step(0, 0), &network, &batch));
    assert_family("perturbation", &a?.expect("one"), &b?.expect("one"), 1e-12)
}

#[test]
fn settings_that_name_no_trainer_are_refused() {
    for (settings, said) in [
        (json!({ "strength": -1.0 }), "strength -1"),
        (json!({ "over": "slimming" }), "`slimming` itself"),
        (json!({ "over": 3 }), "`over` is 3"),
        (json!({ "over": { "epsilon": "8/255" } }), "`over` has no `name`"),
        (json!({ "over": "standart" }), "unknown trainer `standart`"),
        (json!({ "over": { "name": "pgd-at", "epsilom": 1 } }), "epsilom"),
    ] {
        let Err(error) = made("slimming", settings.clone()) else { panic!("{settings} is taken") };
        let told = error.to_string();
        assert!(told.contains(said), "{told}");
    }
}

#[test]
fn a_network_without_batch_norms_is_refused() -> Result<()> {
    let mut net = Builder::new("test", ImageShape { channels: 3, height: 8, width: 8 }, 10);
    net.conv("a", 4, ConvGeometry::same3(), false).global_avg_pool("pool").linear("out", 10);
    let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F64, &Device::Cpu)?;
    let error = sum_of_scales(&network).expect_err("no batch norm");
    assert!(error.to_string().contains("no batch norm"), "{error}");
    Ok(())
}

#[test]
fn it_keeps_the_laws_of_trainers() -> Result<()> {
    conformance::require(Kind::Trainer, "slimming")
}
