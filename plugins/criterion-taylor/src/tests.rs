use mrpf_api::conformance;
use mrpf_api::coupling::channel_groups;
use mrpf_api::serde_json::json;
use mrpf_test_support::{resnet8, vgg_tiny};

use super::gradients::of_batch;
use super::*;

/// Half the distance of the two points of a difference; its error is about `STEP^2` times the third derivative.
const STEP: f64 = 1e-4;

fn cx() -> CallContext<'static> {
    CallContext::unwatched(Streams::new(5))
}

/// Images of noise in as many classes as the network has.
fn data(network: &Network, images: usize) -> Result<LoadedData> {
    let (shape, classes) = (network.declaration().input, network.declaration().classes);
    let mut stream = Streams::new(1).child("pixels").stream();
    let pixels = (0..images * shape.len()).map(|_| (255.0 * stream.unit()) as u8).collect();
    let labels = (0..images).map(|image| (image % classes) as u32).collect();
    let train = ImageSet::new(shape, pixels, 255, labels, classes)?;
    let mean = vec![0.0; shape.channels];
    let std = vec![1.0; shape.channels];
    let class_names = (0..classes).map(|class| class.to_string()).collect();
    Ok(LoadedData { test: train.clone(), train, class_names, mean, std, mirror_keeps_class: true })
}

/// Scores of all groups that may be pruned.
fn scores(
    name: &str,
    settings: mrpf_api::serde_json::Value,
    network: &Network,
    images: usize,
) -> Result<Vec<Vec<f64>>> {
    scores_in(&cx(), name, settings, network, images)
}

fn scores_in(
    cx: &CallContext<'_>,
    name: &str,
    settings: mrpf_api::serde_json::Value,
    network: &Network,
    images: usize,
) -> Result<Vec<Vec<f64>>> {
    let mut criterion = mrpf_api::registry::make::<dyn Criterion>(name, settings)?;
    criterion.prepare(cx, network, &data(network, images)?)?;
    let groups = channel_groups(network.declaration())?;
    let free = groups.iter().filter(|group| group.frozen.is_none());
    free.map(|group| criterion.scores(cx, network, group)).collect()
}

fn assert_near(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-6 * largest, "{what}: {found}, expected {expected}");
    }
}

/// The parameters with one filter's of a layer multiplied.
fn scaled(network: &Network, layer: &str, filter: usize, factor: f64) -> Result<Weights> {
    let mut weights = network.frozen_weights();
    for role in ["weight", "bias"] {
        if let Some(tensor) = weights.get_mut(&format!("{layer}.{role}")) {
            let mut factors = vec![1.0; tensor.dim(0)?];
            factors[filter] = factor;
            let mut shape = vec![1; tensor.rank()];
            shape[0] = factors.len();
            *tensor = tensor.broadcast_mul(&Tensor::from_vec(factors, shape, &Device::Cpu)?)?;
        }
    }
    Ok(weights)
}

/// Gates behind batch norms, behind convolutions with a bias, and behind linear layers, in a network with residual branches and one without.
#[test]
fn a_gates_gradient_is_the_slope_of_the_loss() -> Result<()> {
    let in_resnet =
        [("conv1", "bn1"), ("layer1.0.conv2", "layer1.0.bn2"), ("layer2.0.shortcut.0", "layer2.0.shortcut.1")];
    let cases =
        [(resnet8()?, Vec::from(in_resnet)), (resnet8()?, vec![("linear", "linear")]), (vgg_tiny()?, Vec::new())];
    let mut compared = 0;
    for ((network, batch), mut layers) in cases {
        if layers.is_empty() {
            let first = network.declaration().modules().next().expect("a convolution");
            let norm = network.declaration().layers.iter().find(|layer| layer.inputs == [first.name.clone()]);
            layers.push((&first.name, &norm.expect("its batch norm").name));
        }
        let gates = gate::gates(&network, &of_batch(&cx(), &network, &batch)?)?;
        let loss = |weights: &Weights| -> Result<f64> {
            let logits = network.forward_with(weights, &batch.images, Mode::Evaluate)?;
            Ok(loss::cross_entropy(&logits, &batch.labels, 0.0)?.to_scalar::<f64>()?)
        };
        for (layer, affine) in layers {
            for (filter, gate) in gates[layer].iter().enumerate() {
                let at = |factor: f64| loss(&scaled(&network, affine, filter, factor)?);
                let slope = (at(1.0 + STEP)? - at(1.0 - STEP)?) / (2.0 * STEP);
                assert!((gate - slope).abs() < 1e-6 * slope.abs().max(1.0), "{layer} {filter}: {gate}, slope {slope}");
                compared += 1;
            }
        }
    }
    assert!(compared > 15, "{compared}");
    Ok(())
}

#[test]
fn the_gate_form_averages_squares_of_batches_and_producers() -> Result<()> {
    let network = resnet8()?.0;
    let settings = json!({ "form": "gate", "images": 12, "batch": 5 });
    let found = scores("taylor", settings.clone(), &network, 12)?;
    // The stem, and what is added to it: two layers make the channels of the first stage.
    let data = data(&network, 12)?.train;
    let mut expected = vec![0.0; 4];
    for part in [vec![0, 1, 2, 3, 4], vec![5, 6, 7, 8, 9], vec![10, 11]] {
        let gates = gate::gates(&network, &of_batch(&cx(), &network, &data.batch(&part, DType::F64, &Device::Cpu)?)?)?;
        for (channel, expected) in expected.iter_mut().enumerate() {
            let squares = ["conv1", "layer1.0.conv2"].map(|layer| gates[layer][channel].powi(2));
            *expected += squares.iter().sum::<f64>() / 2.0 / 3.0;
        }
    }
    assert_near("stem", &found[0], &expected);
    let sum = scores("taylor", json!({ "form": "gate", "images": 12, "batch": 5, "reduction": "sum" }), &network, 12)?;
    assert_near("sum", &sum[0], &expected.iter().map(|score| 2.0 * score).collect::<Vec<_>>());
    Ok(())
}

/// A layer by itself without norms: the signed form is the slope of the loss along the filter.
#[test]
fn the_signed_form_is_the_slope_of_the_loss_without_the_filter() -> Result<()> {
    let mut net = Builder::new("test", ImageShape { channels: 1, height: 4, width: 4 }, 3);
    net.conv("a", 5, ConvGeometry::same3(), false).relu("relu").global_avg_pool("pool").linear("out", 3);
    let network = Network::initialise(net.finish()?, &Streams::new(3), DType::F64, &Device::Cpu)?;
    let found = scores("taylor", json!({ "form": "signed", "reduction": "first", "images": 6 }), &network, 6)?;
    let batch = data(&network, 6)?.train.batch(&[0, 1, 2, 3, 4, 5], DType::F64, &Device::Cpu)?;
    for (filter, found) in found[0].iter().enumerate() {
        let at = |factor: f64| -> Result<f64> {
            let logits =
                network.forward_with(&scaled(&network, "a", filter, factor)?, &batch.images, Mode::Evaluate)?;
            Ok(loss::cross_entropy(&logits, &batch.labels, 0.0)?.to_scalar::<f64>()?)
        };
        let slope = ((at(1.0 + STEP)? - at(1.0 - STEP)?) / (2.0 * STEP)).abs();
        assert!((found - slope).abs() < 1e-6, "{filter}: {found}, slope {slope}");
    }
    let absolute = scores("taylor", json!({ "reduction": "first", "images": 6 }), &network, 6)?;
    assert!(absolute[0].iter().zip(&found[0]).all(|(absolute, signed)| absolute >= signed));
    Ok(())
}

#[test]
fn the_size_of_a_batch_changes_the_gate_form_alone() -> Result<()> {
    let network = resnet8()?.0;
    let of = |name: &str, settings| scores(name, settings, &network, 10);
    for (name, form) in [("taylor", json!("absolute")), ("taylor", json!("signed")), ("hessian-diagonal", json!(null))]
    {
        let settings = |batch: usize| match form.is_null() {
            true => json!({ "images": 10, "batch": batch }),
            false => json!({ "images": 10, "batch": batch, "form": form }),
        };
        let (one, several) = (of(name, settings(10))?, of(name, settings(3))?);
        one.iter().zip(&several).for_each(|(one, several)| assert_near(name, several, one));
    }
    let gate = |batch: usize| of("taylor", json!({ "images": 10, "batch": batch, "form": "gate" }));
    assert!(gate(10)?[0].iter().zip(&gate(3)?[0]).all(|(one, several)| (one - several).abs() > 1e-9));
    Ok(())
}

#[test]
fn where_a_gpu_has_room_for_few_images_the_scores_are_the_same_and_so_are_the_batches_of_the_gate_form() -> Result<()> {
    let network = resnet8()?.0;
    for form in ["absolute", "signed", "gate"] {
        for input in ["clean", "adversarial"] {
            let settings = json!({ "images": 10, "batch": 6, "form": form, "input": input });
            let of = |cx: &CallContext<'_>| scores_in(cx, "taylor", settings.clone(), &network, 10);
            let (all, few) = (of(&cx())?, of(&cx().short_of_memory(2))?);
            all.iter().zip(&few).for_each(|(all, few)| assert_near(form, few, all));
        }
    }
    Ok(())
}

#[test]
fn the_hessian_of_one_image_is_its_squared_gradient() -> Result<()> {
    let network = resnet8()?.0;
    let data = data(&network, 3)?;
    let one = |image: usize| -> Result<Weights> {
        of_batch(&cx(), &network, &data.train.batch(&[image], DType::F64, &Device::Cpu)?)
    };
    let gradients = [one(0)?, one(1)?, one(2)?];
    let weight = network.parameter("layer1.0.conv1.weight")?.as_detached_tensor();
    let mut expected = vec![0.0; weight.dim(0)?];
    for gradient in &gradients {
        let filters =
            (&weight * &gradient["layer1.0.conv1.weight"])?.sqr()?.flatten_from(1)?.sum(1)?.to_vec1::<f64>()?;
        expected.iter_mut().zip(filters).for_each(|(sum, filter)| *sum += filter / 3.0);
    }
    let found = scores("hessian-diagonal", json!({ "images": 3, "reduction": "first" }), &network, 3)?;
    assert_near("the first block", &found[1], &expected);
    Ok(())
}

#[test]
fn attacked_images_give_other_scores_unless_the_ball_is_a_point() -> Result<()> {
    let network = resnet8()?.0;
    for name in ["taylor", "hessian-diagonal"] {
        let clean = scores(name, json!({ "images": 8 }), &network, 8)?;
        let at = |epsilon: &str| {
            let settings = json!({ "images": 8, "input": "adversarial", "epsilon": epsilon, "step_size": "8/255" });
            scores(name, settings, &network, 8)
        };
        for (clean, same) in clean.iter().zip(&at("0")?) {
            assert_near(name, same, clean);
        }
        let attacked = at("32/255")?;
        assert!(attacked.iter().zip(&clean).all(|(attacked, clean)| attacked != clean), "{name}");
    }
    Ok(())
}

#[test]
fn settings_and_calls_out_of_order_are_refused() -> Result<()> {
    for (settings, said) in [
        (json!({ "images": 0 }), "images 0, batch 64"),
        (json!({ "batch": 0 }), "batch 0"),
        (json!({ "step_size": "0" }), "step_size 0"),
        (json!({ "steps": 0 }), "0 steps"),
    ] {
        for name in ["taylor", "hessian-diagonal"] {
            let Err(error) = mrpf_api::registry::make::<dyn Criterion>(name, settings.clone()) else {
                panic!("{name} takes {settings}")
            };
            assert!(error.to_string().contains(said), "{error}");
        }
    }
    let network = resnet8()?.0;
    let group = &channel_groups(network.declaration())?[0];
    for name in ["taylor", "hessian-diagonal"] {
        let criterion = mrpf_api::registry::make::<dyn Criterion>(name, json!({}))?;
        let error = criterion.scores(&cx(), &network, group).expect_err("no image was shown");
        assert!(error.to_string().contains("before any image was shown"), "{error}");
    }
    Ok(())
}

#[test]
fn they_keep_the_laws_of_criteria() -> Result<()> {
    conformance::require(Kind::Criterion, "taylor")?;
    conformance::require(Kind::Criterion, "hessian-diagonal")
}
