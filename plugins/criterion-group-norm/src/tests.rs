use mrpf_api::conformance;
use mrpf_api::coupling::channel_groups;
use mrpf_api::serde_json::{Value, json};
use proptest::prelude::*;

use super::lamp::shares;
use super::*;

/// Three channels: a convolution, its batch norm, and a linear layer that consumes them.
fn network() -> Result<Network> {
    let mut net = Builder::new("test", ImageShape { channels: 1, height: 2, width: 2 }, 2);
    net.conv("a", 3, ConvGeometry::square(1), false).batch_norm("bn").global_avg_pool("pool").linear("out", 2);
    let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F32, &Device::Cpu)?;
    for (name, values, shape) in [
        ("a.weight", vec![1.0_f32, -2.0, 3.0], vec![3, 1, 1, 1]),
        ("bn.weight", vec![2.0, 1.0, -1.0], vec![3]),
        ("out.weight", vec![1.0, 0.0, 2.0, -1.0, 3.0, 0.0], vec![2, 3]),
    ] {
        network.parameter(name)?.set(&Tensor::from_vec(values, shape, &Device::Cpu)?)?;
    }
    Ok(network)
}

fn scores(name: &str, settings: Value) -> Result<Vec<f64>> {
    let (network, cx) = (network()?, CallContext::unwatched(Streams::new(0)));
    let group = &channel_groups(network.declaration())?[0];
    mrpf_api::registry::make::<dyn Criterion>(name, settings)?.scores(&cx, &network, group)
}

fn assert_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12);
    assert!(near, "{found:?}, expected {expected:?}");
}

#[test]
fn group_norms_by_hand() -> Result<()> {
    // Squares of the filter, the scale and the column: 1 + 4 + 2, 4 + 1 + 9, 9 + 1 + 4.
    let of = |settings| scores("group-norm", settings);
    assert_near(&of(json!({ "normalise": "none", "reduction": "sum" }))?, &[7.0, 14.0, 14.0]);
    assert_near(&of(json!({ "normalise": "none" }))?, &[7.0 / 3.0, 14.0 / 3.0, 14.0 / 3.0]);
    assert_near(&of(json!({}))?, &[0.6, 1.2, 1.2]);
    assert_near(&of(json!({ "normalise": "max" }))?, &[0.5, 1.0, 1.0]);
    assert_near(&of(json!({ "normalise": "sum" }))?, &[0.2, 0.4, 0.4]);
    assert_near(&of(json!({ "normalise": "none", "norms": false, "reduction": "sum" }))?, &[3.0, 13.0, 13.0]);
    assert_near(&of(json!({ "normalise": "none", "power": 1.0, "reduction": "sum" }))?, &[5.0, 6.0, 6.0]);
    assert_near(&of(json!({ "normalise": "none", "power": 3.0, "reduction": "first" }))?, &[1.0, 8.0, 27.0]);
    Ok(())
}

#[test]
fn lamp_by_hand() -> Result<()> {
    assert_near(&scores("lamp", json!({ "reduction": "first" }))?, &[1.0 / 14.0, 4.0 / 13.0, 1.0]);
    // Among the squares 1, 0, 4, 1, 9, 0 of the last layer 9 is 1, 4 of 13, and the two ones 1 of 15.
    let columns = [2.0 / 15.0, 1.0, 4.0 / 13.0];
    let filters = [1.0 / 14.0, 4.0 / 13.0, 1.0];
    let expected: Vec<f64> =
        columns.iter().zip(filters).map(|(column, filter)| f64::midpoint(*column, filter)).collect();
    assert_near(&scores("lamp", json!({ "level": "weight" }))?, &expected);
    Ok(())
}

#[test]
fn a_power_that_is_none_is_refused() {
    let error = scores("group-norm", json!({ "power": 0.0 })).expect_err("no power");
    assert!(error.to_string().contains("power 0, expected a number above 0"), "{error}");
}

proptest! {
    #[test]
    fn shares_keep_the_order_and_are_those_of_the_definition(values in prop::collection::vec((0..50_u32).prop_map(f64::from), 1..30)) {
        let mut found = values.clone();
        shares(&mut found);
        for (at, &value) in values.iter().enumerate() {
            let not_smaller: f64 = values.iter().filter(|other| **other >= value).sum();
            let expected = if not_smaller > 0.0 { value / not_smaller } else { 0.0 };
            prop_assert!((found[at] - expected).abs() < 1e-12);
            for (other, &score) in found.iter().enumerate() {
                prop_assert_eq!(value.total_cmp(&values[other]), found[at].total_cmp(&score), "{:?}", &found);
            }
        }
    }

    /// Scaling a layer changes neither.
    #[test]
    fn shares_do_not_depend_on_the_scale(values in prop::collection::vec(0.0..10.0_f64, 1..30), exponent in -10..10_i32) {
        let factor = 2.0_f64.powi(exponent);
        let (mut found, mut scaled) = (values.clone(), values.iter().map(|value| value * factor).collect::<Vec<_>>());
        shares(&mut found);
        shares(&mut scaled);
        prop_assert_eq!(found, scaled);
    }
}

#[test]
fn they_keep_the_laws_of_criteria() -> Result<()> {
    conformance::require(Kind::Criterion, "group-norm")?;
    conformance::require(Kind::Criterion, "lamp")
}
