//! Whole networks against PyTorch: logits, running statistics, gradients.

use super::*;
use mrpf_api::network::Classifier;

fn agrees_with_pytorch(name: &str, (network, batch): (Network, Batch)) -> Result<()> {
    let recorded = Fixture::load(name)?;
    let near = |what: &str, found: &Tensor| -> Result<()> {
        let difference = largest_difference(found, recorded.tensor(what)?)?;
        assert!(difference < 1e-9, "{name} {what}: off by {difference:e}");
        Ok(())
    };
    near("eval_logits", &network.forward(&batch.images, Mode::Evaluate)?)?;
    let frozen = network.freeze()?;
    near("eval_logits", &frozen.logits(&batch.images)?)?;
    let at = frozen.input_gradient(&batch.images, &|logits| loss::cross_entropy_per_image(logits, &batch.labels))?;
    near("eval_input_gradient", &(at.gradient / batch.len() as f64)?)?;

    let logits = network.forward(&batch.images, Mode::Train)?;
    near("train_logits", &logits)?;
    assert_family(name, &network.statistics(), &recorded.family("train_statistics"), 1e-9)?;
    let gradients = loss::cross_entropy(&logits, &batch.labels, 0.0)?.backward()?;
    let found = gradients_by_name(&network, &gradients);
    assert_family(name, &found, &recorded.family("train_gradient"), 1e-9)
}

#[test]
fn a_resnet_agrees_with_pytorch() -> Result<()> {
    agrees_with_pytorch("resnet8", resnet8()?)
}

#[test]
fn a_vgg_with_max_pooling_agrees_with_pytorch() -> Result<()> {
    agrees_with_pytorch("vgg_tiny", vgg_tiny()?)
}

/// How far `found` is from `expected`, as a share of the largest number of it.
fn relative_difference(found: &Tensor, expected: &Tensor) -> Result<f64> {
    let largest = expected.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    Ok(largest_difference(found, expected)? / largest.max(1e-3))
}

/// The engine: frozen with batch norm folded, and the training pass.
#[test]
fn f32_agrees_with_pytorch_to_single_precision() -> Result<()> {
    for (name, (network, batch)) in [("resnet8", resnet8()?), ("vgg_tiny", vgg_tiny()?)] {
        let recorded = Fixture::load(name)?;
        let near = |what: &str, found: &Tensor, expected: &Tensor| -> Result<()> {
            let difference = relative_difference(found, expected)?;
            assert!(difference < 1e-4, "{name} {what}: off by {difference:e} of its size");
            Ok(())
        };
        let (single, images) = (network.to_dtype(DType::F32)?, batch.images.to_dtype(DType::F32)?);
        let frozen = single.freeze()?;
        let at = frozen.input_gradient(&images, &|logits| loss::cross_entropy_per_image(logits, &batch.labels))?;
        near("eval_logits", &single.forward(&images, Mode::Evaluate)?, recorded.tensor("eval_logits")?)?;
        near("eval_logits", &at.logits, recorded.tensor("eval_logits")?)?;
        let gradient = (at.gradient / batch.len() as f64)?;
        near("eval_input_gradient", &gradient, recorded.tensor("eval_input_gradient")?)?;

        let logits = single.forward(&images, Mode::Train)?;
        near("train_logits", &logits, recorded.tensor("train_logits")?)?;
        let gradients = loss::cross_entropy(&logits, &batch.labels, 0.0)?.backward()?;
        let expected = recorded.family("train_gradient");
        for (parameter, gradient) in gradients_by_name(&single, &gradients) {
            near(&parameter, &gradient, &expected[&parameter])?;
        }
    }
    Ok(())
}

#[test]
fn a_saved_network_gives_the_same_logits_and_the_same_bytes() -> Result<()> {
    for (network, batch) in [resnet8()?, vgg_tiny()?] {
        let bytes = network.to_bytes()?;
        let loaded = Network::from_bytes(&bytes, &Device::Cpu)?;
        assert_eq!(loaded.to_bytes()?, bytes);
        let [a, b] = [&network, &loaded].map(|network| network.forward(&batch.images, Mode::Evaluate));
        assert_eq!(largest_difference(&a?, &b?)?, 0.0);
    }
    Ok(())
}
