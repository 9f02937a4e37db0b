use super::*;
use mrpf_test_support::{Fixture, resnet8};

fn settings(mode: AscentMode) -> ModuleAscent {
    ModuleAscent { mode, radius: 0.1, steps: 10, learning_rate: 1.0, projection: None, batch: 8 }
}

fn cx() -> CallContext<'static> {
    CallContext::unwatched(Streams::new(0))
}

fn measured(settings: &ModuleAscent) -> Result<Vec<f64>> {
    let ((network, _), recorded) = (resnet8()?, Fixture::load("mrs")?);
    let (set, order) = (recorded.batch()?, recorded.integers("order")?);
    let orders: Vec<Vec<usize>> = order.chunks(set.len()).map(<[usize]>::to_vec).collect();
    let modules: Vec<_> = network.declaration().modules().map(|layer| layer.name.clone()).collect();
    modules.iter().map(|module| rise_of_module(&cx(), &network, module, &set, &orders, settings)).collect()
}

#[test]
fn every_mode_agrees_with_its_reference_for_every_module() -> Result<()> {
    let recorded = Fixture::load("mrs")?;
    for (mode, name) in
        [(AscentMode::Strict, "strict"), (AscentMode::RiftCode, "rift_code"), (AscentMode::RiftAlg1, "rift_alg1")]
    {
        let expected = recorded.tensor(name)?.to_vec1::<f64>()?;
        let found = measured(&settings(mode))?;
        assert_eq!(found.len(), expected.len());
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() < 1e-7, "{name}, module {at}: {found} against {expected}");
        }
    }
    Ok(())
}

#[test]
fn a_ball_of_no_size_has_no_sensitivity_and_a_larger_one_never_less() -> Result<()> {
    let at = |radius| measured(&ModuleAscent { radius, ..settings(AscentMode::Strict) });
    let (none, small, large) = (at(0.0)?, at(0.02)?, at(0.1)?);
    for i in 0..none.len() {
        assert_eq!(none[i], 0.0);
        assert!(small[i] >= 0.0 && large[i] >= small[i], "{small:?} {large:?}");
    }
    Ok(())
}

#[test]
fn strict_does_not_see_the_scale_of_a_weight_that_batch_norm_undoes() -> Result<()> {
    let ((network, _), recorded) = (resnet8()?, Fixture::load("mrs")?);
    let set = recorded.batch()?;
    let value =
        |network: &Network| rise_of_module(&cx(), network, "layer2.0.conv1", &set, &[], &settings(AscentMode::Strict));
    let before = value(&network)?;
    // Ten times the weight, ten times its running mean and deviation; epsilon is made small beside the variance.
    let weight = network.parameter("layer2.0.conv1.weight")?;
    weight.set(&(weight.as_tensor() * 10.0)?)?;
    let mut statistics = network.statistics();
    let mean = (&statistics["layer2.0.bn1.running_mean"] * 10.0)?;
    let variance = (&statistics["layer2.0.bn1.running_var"] * 100.0)?;
    statistics.insert("layer2.0.bn1.running_mean".into(), mean);
    statistics.insert("layer2.0.bn1.running_var".into(), variance);
    network.set_statistics(statistics)?;
    let after = value(&network)?;
    assert!((after - before).abs() < 1e-4 * before, "{before} {after}");
    Ok(())
}

#[test]
fn measuring_leaves_the_network_as_it_was() -> Result<()> {
    let ((network, _), recorded) = (resnet8()?, Fixture::load("mrs")?);
    let bytes = network.to_bytes()?;
    rise_of_module(&cx(), &network, "conv1", &recorded.batch()?, &[], &settings(AscentMode::Strict))?;
    assert_eq!(network.to_bytes()?, bytes);
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |settings| Mrs::new(settings).err().map(|error| error.to_string());
    let radius = refused(MrsSettings { radius: -0.1, ..MrsSettings::default() });
    assert_eq!(radius.as_deref(), Some("radius -0.1, expected a share of at least 0"));
    assert!(refused(MrsSettings { steps: 0, ..MrsSettings::default() }).is_some());
}
