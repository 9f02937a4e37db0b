use mrpf_api::prelude::*;
use mrpf_api::registry::make;
use mrpf_api::serde_json::{Value, json};
use mrpf_test_support::{Fixture, resnet8, small_data};

use super::*;

fn measure(settings: Value) -> Result<Vec<f64>> {
    let cx = CallContext::unwatched(Streams::new(0));
    let metric = make::<dyn SensitivityMetric>("adversarial-feature-shift", settings)?;
    let found = metric.measure(&cx, &resnet8()?.0, &small_data()?)?;
    Ok(found.into_iter().map(|module| module.value).collect())
}

#[test]
fn shifts_are_those_that_hooks_see_in_pytorch() -> Result<()> {
    let ((network, batch), recorded) = (resnet8()?, Fixture::load("feature_shift")?);
    let found = feature_shifts(&network, &batch.images, recorded.tensor("attacked")?)?;
    let expected = recorded.tensor("shifts")?.to_vec2::<f64>()?;
    assert_eq!(found.len(), expected.len());
    for (module, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-10, "module {module}: {found}, expected {expected}");
        }
    }
    Ok(())
}

#[test]
fn without_biases_a_brighter_image_shifts_every_module_alike() -> Result<()> {
    let mut net = Builder::new("test", ImageShape { channels: 3, height: 4, width: 4 }, 5);
    net.conv("a", 4, ConvGeometry::same3(), false).relu("a.relu").conv("b", 6, ConvGeometry::same3(), false);
    net.global_avg_pool("pool").linear("out", 5);
    let network = Network::initialise(net.finish()?, &Streams::new(3), DType::F64, &Device::Cpu)?;
    let bias = network.parameter("out.bias")?;
    bias.set(&bias.zeros_like()?)?;
    let images = Streams::new(4).uniform_per_image(&[0, 1], &[3, 4, 4], 0.1, 0.9, bias)?;
    for shifts in feature_shifts(&network, &images, &(&images * 1.25)?)? {
        assert!(shifts.iter().all(|shift| (shift - 0.25).abs() < 1e-12), "{shifts:?}");
    }
    Ok(())
}

#[test]
fn an_attack_that_may_do_nothing_shifts_nothing() -> Result<()> {
    assert!(measure(json!({ "images": 20, "epsilon": 0 }))?.iter().all(|value| *value == 0.0));
    let (small, large) = (measure(json!({ "images": 20, "epsilon": 0.01 }))?, measure(json!({ "images": 20 }))?);
    assert!(small.iter().zip(&large).all(|(small, large)| 0.0 < *small && small < large), "{small:?} {large:?}");
    Ok(())
}

#[test]
fn it_does_not_hang_on_the_batch() -> Result<()> {
    let (whole, parts) = (measure(json!({ "images": 20 }))?, measure(json!({ "images": 20, "batch": 7 }))?);
    for (whole, part) in whole.iter().zip(&parts) {
        assert!((whole - part).abs() < 1e-9, "{whole} {part}");
    }
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |settings: Value| measure(settings).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused(json!({ "images": 0 })).contains("images 0, batch 128, expected at least 1 of each"));
    assert!(refused(json!({ "epsilon": -1 })).contains("expected a length of at least 0"));
}

#[test]
fn the_laws_of_metrics_are_kept() -> Result<()> {
    mrpf_api::conformance::require(Kind::Sensitivity, "adversarial-feature-shift")
}
