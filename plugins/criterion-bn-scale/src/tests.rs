use mrpf_api::conformance;
use mrpf_api::coupling::channel_groups;
use mrpf_api::serde_json::{Value, json};

use super::*;

/// Two convolutions with their batch norms added, and a hidden linear layer without one.
fn network() -> Result<Network> {
    let mut net = Builder::new("test", ImageShape { channels: 1, height: 2, width: 2 }, 2);
    net.conv("a", 3, ConvGeometry::square(1), false).batch_norm("a.bn");
    net.from("input").conv("b", 3, ConvGeometry::square(1), false).batch_norm("b.bn").add("sum", "a.bn");
    net.global_avg_pool("pool").linear("hidden", 2).relu("relu").linear("out", 2);
    let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F32, &Device::Cpu)?;
    for (name, values, shape) in [
        ("a.bn.weight", vec![1.0_f32, -2.0, 3.0], vec![3]),
        ("b.bn.weight", vec![-3.0, 0.0, 1.0], vec![3]),
        ("hidden.weight", vec![2.0, -3.0, 6.0, 0.0, 3.0, 4.0], vec![2, 3]),
    ] {
        network.parameter(name)?.set(&Tensor::from_vec(values, shape, &Device::Cpu)?)?;
    }
    Ok(network)
}

fn scores(group: usize, settings: Value) -> Result<Vec<f64>> {
    let (network, cx) = (network()?, CallContext::unwatched(Streams::new(0)));
    let criterion = mrpf_api::registry::make::<dyn Criterion>("bn-scale", settings)?;
    criterion.scores(&cx, &network, &channel_groups(network.declaration())?[group])
}

#[test]
fn scores_are_the_scales_by_hand() -> Result<()> {
    assert_eq!(scores(0, json!({}))?, [2.0, 1.0, 2.0]);
    assert_eq!(scores(0, json!({ "reduction": "sum" }))?, [4.0, 2.0, 4.0]);
    assert_eq!(scores(0, json!({ "reduction": "max", "without_norm": "refuse" }))?, [3.0, 2.0, 3.0]);
    assert_eq!(scores(0, json!({ "reduction": "first" }))?, [1.0, 2.0, 3.0]);
    Ok(())
}

#[test]
fn channels_without_a_norm_are_scored_by_their_filters_or_refused() -> Result<()> {
    assert_eq!(scores(1, json!({}))?, [7.0, 5.0]);
    let error = scores(1, json!({ "without_norm": "refuse" })).expect_err("no batch norm");
    assert!(error.to_string().contains("no batch norm passes on every channel of `hidden`"), "{error}");
    Ok(())
}

/// One half of a sum has a norm, the other none.
#[test]
fn each_channel_of_a_group_has_its_own_norms() -> Result<()> {
    let mut net = Builder::new("test", ImageShape { channels: 1, height: 2, width: 2 }, 2);
    net.conv("a", 1, ConvGeometry::square(1), false);
    net.from("input").conv("b", 1, ConvGeometry::square(1), false).batch_norm("b.bn").concat("both", &["a"]);
    net.from("input").conv("c", 2, ConvGeometry::square(1), false).add("sum", "both");
    net.global_avg_pool("pool").linear("out", 2);
    let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F64, &Device::Cpu)?;
    for (name, values, shape) in [
        ("a.weight", vec![3.0], vec![1, 1, 1, 1]),
        ("b.bn.weight", vec![-2.0], vec![1]),
        ("c.weight", vec![5.0, 7.0], vec![2, 1, 1, 1]),
    ] {
        network.parameter(name)?.set(&Tensor::from_vec(values, shape, &Device::Cpu)?)?;
    }
    let cx = CallContext::unwatched(Streams::new(0));
    let criterion = mrpf_api::registry::make::<dyn Criterion>("bn-scale", json!({}))?;
    let group = &channel_groups(network.declaration())?[0];
    assert_eq!(criterion.scores(&cx, &network, group)?, [4.0, 2.0]);
    Ok(())
}

#[test]
fn it_keeps_the_laws_of_criteria() -> Result<()> {
    conformance::require(Kind::Criterion, "bn-scale")
}
