use mrpf_api::conformance;
use mrpf_api::coupling::channel_groups;
use mrpf_api::serde_json::{Value, json};
use mrpf_test_support::resnet8;
use proptest::prelude::*;

use super::maps::shown_at;
use super::*;

fn cx() -> CallContext<'static> {
    CallContext::unwatched(Streams::new(5))
}

fn data(shape: ImageShape, pixels: Vec<u8>, labels: Vec<u32>) -> Result<LoadedData> {
    let train = ImageSet::new(shape, pixels, 255, labels, 10)?;
    let class_names = (0..10).map(|class| class.to_string()).collect();
    let (mean, std) = (vec![0.0; shape.channels], vec![1.0; shape.channels]);
    Ok(LoadedData { test: train.clone(), train, class_names, mean, std, mirror_keeps_class: true })
}

/// Three filters that pass a grey image of 2x2 pixels on as it is, negative, and shifted below zero by a half.
fn network() -> Result<Network> {
    let mut net = Builder::new("test", ImageShape { channels: 1, height: 2, width: 2 }, 10);
    net.conv("a", 3, ConvGeometry::square(1), true).relu("relu").flatten("flat").linear("out", 10);
    let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F64, &Device::Cpu)?;
    network.parameter("a.weight")?.set(&Tensor::from_vec(vec![1.0, -1.0, 1.0], (3, 1, 1, 1), &Device::Cpu)?)?;
    network.parameter("a.bias")?.set(&Tensor::from_vec(vec![0.0, 0.0, -0.5], 3, &Device::Cpu)?)?;
    Ok(network)
}

fn scores(name: &str, settings: Value) -> Result<Vec<f64>> {
    let network = network()?;
    let mut criterion = mrpf_api::registry::make::<dyn Criterion>(name, settings)?;
    // 0.6, 0, 0, 0.8 and 1, 1, 1, 1.
    let pixels = vec![153, 0, 0, 204, 255, 255, 255, 255];
    criterion.prepare(&cx(), &network, &data(network.declaration().input, pixels, vec![0, 1])?)?;
    criterion.scores(&cx(), &network, &channel_groups(network.declaration())?[0])
}

fn assert_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    // Images are f32 before they are f64.
    let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6);
    assert!(near, "{found:?}, expected {expected:?}");
}

#[test]
fn activations_by_hand() -> Result<()> {
    for batch in [1, 2] {
        let of = |measure: &str| scores("activation", json!({ "measure": measure, "batch": batch }));
        assert_near(&of("mean-absolute")?, &[(0.35 + 1.0) / 2.0, 0.0, (0.1 + 0.5) / 2.0]);
        assert_near(&of("l2")?, &[(1.0 + 2.0) / 2.0, 0.0, (0.1_f64.hypot(0.3) + 1.0) / 2.0]);
        assert_near(&of("apoz")?, &[0.75, 0.0, 0.75]);
    }
    Ok(())
}

#[test]
fn ranks_by_hand() -> Result<()> {
    // A diagonal has rank 2, a constant map 1, and a map of zeros 0.
    assert_near(&scores("hrank", json!({}))?, &[1.5, 0.0, 1.5]);
    Ok(())
}

proptest! {
    /// A sum of r outer products of independent random vectors has rank r.
    #[test]
    fn a_sum_of_outer_products_has_their_number_as_rank(height in 1..9_usize, width in 1..9_usize, share in 0.0..1.0_f64, seed in 0..1000_u64) {
        let expected = (share * (height.min(width) + 1) as f64) as usize;
        let mut stream = Streams::new(seed).stream();
        let mut values = vec![0.0; height * width];
        for _ in 0..expected {
            let (column, row): (Vec<f64>, Vec<f64>) =
                ((0..height).map(|_| stream.unit() - 0.5).collect(), (0..width).map(|_| stream.unit() - 0.5).collect());
            values.iter_mut().enumerate().for_each(|(at, value)| *value += column[at / width] * row[at % width]);
        }
        prop_assert_eq!(rank(&values, [height, width]), expected);
    }
}

#[test]
fn channels_are_looked_at_after_their_activation() -> Result<()> {
    let network = resnet8()?.0;
    let declaration = network.declaration();
    for (producer, place) in [
        ("conv1", "relu1"),
        ("layer1.0.conv1", "layer1.0.relu1"),
        ("layer1.0.conv2", "layer1.0.relu2"),
        ("layer2.0.shortcut.0", "layer2.0.relu2"),
        ("linear", "linear"),
    ] {
        assert_eq!(shown_at(declaration, declaration.layer(producer)?).name, place, "{producer}");
    }
    Ok(())
}

/// Where a residual stream shows in two places the score is their mean, and what is added at one place counts once.
#[test]
fn a_residual_stream_is_looked_at_behind_every_sum() -> Result<()> {
    let network = resnet8()?.0;
    let mut stream = Streams::new(1).stream();
    let shape = network.declaration().input;
    let pixels: Vec<u8> = (0..5 * shape.len()).map(|_| (255.0 * stream.unit()) as u8).collect();
    let data = data(shape, pixels, vec![0, 1, 2, 3, 4])?;
    let mut criterion = mrpf_api::registry::make::<dyn Criterion>("activation", json!({ "batch": 2 }))?;
    criterion.prepare(&cx(), &network, &data)?;
    let groups = channel_groups(network.declaration())?;
    let images = data.train.batch(&[0, 1, 2, 3, 4], DType::F64, &Device::Cpu)?.images;
    let mut means = std::collections::BTreeMap::new();
    network.forward_tapped(&network.frozen_weights(), &images, Mode::Evaluate, &mut |layer, output| {
        if output.rank() == 4 {
            means.insert(layer.to_owned(), output.abs()?.mean((0, 2, 3))?.to_vec1::<f64>()?);
        }
        Ok(())
    })?;
    let stem: Vec<f64> =
        means["relu1"].iter().zip(&means["layer1.0.relu2"]).map(|(a, b)| f64::midpoint(*a, *b)).collect();
    assert_near(&criterion.scores(&cx(), &network, &groups[0])?, &stem);
    let name = |group: &&ChannelGroup| group.producers().any(|member| member.layer == "layer2.0.shortcut.0");
    let second = groups.iter().find(name).expect("the second stage");
    assert_near(&criterion.scores(&cx(), &network, second)?, &means["layer2.0.relu2"]);
    Ok(())
}

#[test]
fn mistakes_are_answered() -> Result<()> {
    for name in ["activation", "hrank"] {
        for settings in [json!({ "images": 0 }), json!({ "batch": 0 })] {
            let error = scores(name, settings).expect_err("no images");
            assert!(error.to_string().contains("expected at least 1 of each"), "{error}");
        }
        let (network, criterion) = (network()?, mrpf_api::registry::make::<dyn Criterion>(name, json!({}))?);
        let error = criterion.scores(&cx(), &network, &channel_groups(network.declaration())?[0]);
        assert!(error.expect_err("no image was shown").to_string().contains("before any image was shown"));
    }
    let network = network()?;
    network.parameter("a.bias")?.set(&Tensor::from_vec(vec![f64::NAN, 0.0, 0.0], 3, &Device::Cpu)?)?;
    let mut criterion = mrpf_api::registry::make::<dyn Criterion>("hrank", json!({}))?;
    let data = data(network.declaration().input, vec![0; 4], vec![0])?;
    let error = criterion.prepare(&cx(), &network, &data).expect_err("not a number");
    assert!(error.to_string().contains("layer `relu`: a map has a value that is not finite"), "{error}");
    Ok(())
}

#[test]
fn they_keep_the_laws_of_criteria() -> Result<()> {
    conformance::require(Kind::Criterion, "activation")?;
    conformance::require(Kind::Criterion, "hrank")
}
