//! The engine against the operations with a gradient, and against finite differences in f64.

use candle_core::{DType, Device, Tensor, Var};
use proptest::prelude::*;

use crate::Result;
use crate::data::ImageShape;
use crate::network::{
    Attention, AttentionUnit, Builder, Classifier, Declaration, FrozenNetwork, LayerKind, Linear, Network,
};
use crate::numeric::{ConvGeometry, PoolGeometry, loss};
use crate::random::Streams;

/// Everything that the engine knows, in the given sizes.
fn declaration(input: ImageShape, widths: [usize; 3], stride: usize) -> Result<Declaration> {
    let mut net = Builder::new("test", input, 5);
    net.normalize("normalize", &vec![0.4; input.channels], &vec![0.3; input.channels]);
    net.conv("stem", widths[0], ConvGeometry::same3(), false).batch_norm("stem.bn").relu("stem.relu");
    let before = net.current();
    net.conv("a", widths[1], ConvGeometry::same3(), false).batch_norm("a.bn").relu("a.relu");
    net.conv("b", widths[0], ConvGeometry::same3(), true).batch_norm("b.bn").add("add", &before).relu("add.relu");
    let before = net.current();
    net.conv("c", widths[2], ConvGeometry::same3().stride(stride), false).batch_norm("c.bn");
    let inner = net.current();
    net.from(&before).conv("down", widths[2], ConvGeometry::square(1).stride(stride), false).batch_norm("down.bn");
    let short = net.current();
    net.from(&inner).add("join", &short).relu("join.relu");
    // A batch norm and a ReLU behind something else than a convolution, and a value that three layers read.
    net.max_pool("pool", PoolGeometry::square(2)).batch_norm("pool.bn").relu("pool.relu");
    let three = net.current();
    net.conv("d", widths[2], ConvGeometry::same3().padding(1), false).add("twice", &three).add("thrice", &three);
    net.global_avg_pool("mean").linear("hidden", 7).relu("hidden.relu").linear("out", 5).finish()
}

/// Weights and running statistics that are not those of a fresh network.
pub(super) fn network(declaration: Declaration, seed: u64) -> Result<Network> {
    let network = Network::initialise(declaration, &Streams::new(seed), DType::F32, &Device::Cpu)?;
    let [channels, height, width] = network.declaration().input.dims();
    let mut stream = Streams::new(seed).child("statistics").stream();
    let images = stream.uniform(&[8, channels, height, width], 0.0, 1.0, DType::F32, &Device::Cpu)?;
    for _ in 0..3 {
        network.forward(&images, crate::network::Mode::Train)?;
    }
    Ok(network)
}

pub(super) fn images(network: &Network, batch: usize) -> Result<Tensor> {
    images_of(network, batch, 9)
}

pub(super) fn images_of(network: &Network, batch: usize, seed: u64) -> Result<Tensor> {
    let [channels, height, width] = network.declaration().input.dims();
    let shape = [batch, channels, height, width];
    Streams::new(seed).stream().uniform(&shape, 0.0, 1.0, DType::F32, &Device::Cpu)
}

/// Largest absolute value.
pub(super) fn largest(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.abs()?.flatten_all()?.max(0)?.to_dtype(DType::F64)?.to_scalar()?)
}

/// Largest difference over the largest value.
pub(super) fn off(found: &Tensor, expected: &Tensor) -> Result<f64> {
    let difference = (found.to_dtype(DType::F64)? - expected.to_dtype(DType::F64)?)?;
    Ok(largest(&difference)? / largest(&expected.to_dtype(DType::F64)?)?.max(1e-12))
}

/// Two blocks with a shortcut, and little else, so that rounding does not grow from batch norm to batch norm.
pub(super) fn short_declaration(input: ImageShape, widths: [usize; 3], stride: usize) -> Result<Declaration> {
    let mut net = Builder::new("test", input, 5);
    net.normalize("normalize", &vec![0.4; input.channels], &vec![0.3; input.channels]);
    net.conv("stem", widths[0], ConvGeometry::same3(), false).batch_norm("stem.bn").relu("stem.relu");
    let before = net.current();
    net.conv("a", widths[1], ConvGeometry::same3(), true).batch_norm("a.bn").relu("a.relu");
    net.conv("b", widths[0], ConvGeometry::same3(), false).batch_norm("b.bn").add("add", &before).relu("add.relu");
    let before = net.current();
    net.conv("c", widths[2], ConvGeometry::same3().stride(stride), true).relu("c.relu");
    let inner = net.current();
    net.from(&before).conv("down", widths[2], ConvGeometry::square(1).stride(stride), false).batch_norm("down.bn");
    let short = net.current();
    net.from(&inner).add("join", &short).max_pool("pool", PoolGeometry::square(2));
    net.global_avg_pool("mean").linear("hidden", 7).relu("hidden.relu").linear("out", 5).finish()
}

/// What mobile, densely connected and patch-wise networks are made of besides, in the given sizes.
pub(super) fn further_declaration(input: ImageShape, [narrow, wide]: [usize; 2], stride: usize) -> Result<Declaration> {
    let mut net = Builder::new("test", input, 5);
    net.normalize("normalize", &vec![0.4; input.channels], &vec![0.3; input.channels]);
    net.conv("stem", narrow, ConvGeometry::same3(), false).batch_norm("stem.bn").relu6("stem.relu");
    net.conv("a", narrow, ConvGeometry::square(5).padding(2).groups(narrow), false).batch_norm("a.bn").relu6("a.relu");
    net.conv("b", narrow, ConvGeometry::square(1), true).add("sum", "stem.relu");
    // A value that two join, one of them twice, and whose ReLU is undone by the last of them.
    net.concat("join", &["a.relu", "stem.relu", "a.relu"]).batch_norm("join.bn").relu("join.relu");
    net.conv("c", 4 * narrow, ConvGeometry::same3().stride(stride).groups(4 * narrow), true).relu6("c.relu");
    net.avg_pool("pool", PoolGeometry::square(2));
    let channels = 4 * narrow + 3;
    net.layer("short", LayerKind::PadShortcut { stride: 2, channels }, &["pool"]).resize("resize", [4, 6]);
    net.conv("in", 3 * wide, ConvGeometry::square(1), false).silu("in.silu").unfold("unfold", 2).layer_norm("norm");
    // Without a bias: that of the keys has no gradient but rounding.
    let projection = LayerKind::Linear(Linear { in_features: 3 * wide, out_features: 3 * wide, bias: false });
    for name in ["query", "key", "value"] {
        net.layer(name, projection.clone(), &["norm"]);
    }
    let attention = LayerKind::Attention(Attention::new(3 * wide, 3, AttentionUnit::Width));
    net.layer("attention", attention, &["query", "key", "value"]).linear("project", 3 * wide).add("more", "unfold");
    net.linear("broad", 7).layer("gelu", LayerKind::Gelu, &["broad"]).linear("slim", 3 * wide).add("most", "more");
    net.fold("fold", 2, [4, 6]).flatten("flat").linear("hidden", 9).relu6("hidden.relu").linear("out", 5).finish()
}

pub(super) fn labels(batch: usize) -> Result<Tensor> {
    Ok(Tensor::from_vec((0..batch).map(|image| (image % 5) as u32).collect::<Vec<_>>(), batch, &Device::Cpu)?)
}

/// Runs `work` on so many threads.
pub(super) fn at_threads<T: Send>(threads: usize, work: impl Fn() -> Result<T> + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| crate::Error::new(crate::ErrorKind::Settings, error.to_string()))?;
    pool.install(work)
}

fn gradient(classifier: &FrozenNetwork, images: &Tensor) -> Result<crate::network::InputGradient> {
    let labels = labels(images.dim(0)?)?;
    classifier.input_gradient(images, &|logits| loss::cross_entropy_per_image(logits, &labels))
}

/// Compares with the same network in f64, which runs by the operations with a gradient.
///
/// A pre-activation within rounding of zero takes the other side now and then, and the gradient of its image is another one. Hence each
/// place in the batch must agree for one of several draws of images.
fn agrees(declaration: Declaration, batch: usize) -> Result<()> {
    let network = network(declaration, 3)?;
    let (fast, exact) = (network.freeze()?, network.to_dtype(DType::F64)?.freeze()?);
    assert!(fast.has_engine() && !exact.has_engine());
    let mut differ: Vec<(usize, f64)> = (0..batch).map(|image| (image, f64::NAN)).collect();
    for draw in 0..8 {
        let images = images_of(&network, batch, 9 + draw)?;
        let (found, expected) = (gradient(&fast, &images)?, gradient(&exact, &images.to_dtype(DType::F64)?)?);
        assert!(off(&found.logits, &expected.logits)? < 1e-4, "logits: {}", off(&found.logits, &expected.logits)?);
        assert!(off(&found.loss, &expected.loss)? < 1e-4);
        assert!(off(&fast.logits(&images)?, &found.logits)? == 0.0);
        for (image, by) in &mut differ {
            *by = off(&found.gradient.get(*image)?, &expected.gradient.get(*image)?)?;
        }
        differ.retain(|(_, by)| by.is_nan() || *by > 1e-4);
        if differ.is_empty() {
            return Ok(());
        }
    }
    panic!("gradients that never agree, with how far they are off: {differ:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn logits_and_gradients_are_those_of_the_operations(
        channels in 1..4usize,
        [height, width] in [5..19usize, 5..19usize],
        widths in [1..40usize, 1..40usize, 1..40usize],
        stride in 1..3usize,
        batch in 1..10usize,
    ) {
        let input = ImageShape { channels, height, width };
        agrees(declaration(input, widths, stride)?, batch)?;
    }

    #[test]
    fn so_are_those_of_further_kinds_of_layers(
        channels in 1..4usize,
        [height, width] in [8..19usize, 8..19usize],
        widths in [2..23usize, 1..7usize],
        stride in 1..3usize,
        batch in 1..10usize,
    ) {
        agrees(further_declaration(ImageShape { channels, height, width }, widths, stride)?, batch)?;
    }
}

#[test]
fn any_layer_may_stand_first() -> Result<()> {
    let input = ImageShape { channels: 2, height: 7, width: 6 };
    let first: [fn(&mut Builder) -> &mut Builder; 5] = [
        |net| net.conv("a", 4, ConvGeometry::same3(), true),
        |net| net.batch_norm("bn").conv("a", 4, ConvGeometry::same3(), false),
        |net| net.relu("relu").conv("a", 4, ConvGeometry::same3(), false),
        |net| net.max_pool("pool", PoolGeometry::square(2)),
        |net| net,
    ];
    for first in first {
        let mut net = Builder::new("test", input, 5);
        agrees(first(&mut net).global_avg_pool("mean").linear("out", 5).finish()?, 6)?;
    }
    Ok(())
}

#[test]
fn wide_layers_go_plane_by_plane() -> Result<()> {
    // Their transformed filters are larger than what is read for each block of tiles.
    agrees(declaration(ImageShape { channels: 3, height: 12, width: 9 }, [176, 160, 64], 1)?, 5)
}

#[test]
fn batches_of_any_size_are_cut_into_parts() -> Result<()> {
    let network = network(declaration(ImageShape { channels: 1, height: 8, width: 8 }, [9, 8, 12], 2)?, 1)?;
    let images = images(&network, 21)?;
    let frozen = network.freeze()?;
    let whole = gradient(&frozen, &images)?;
    for (start, count) in [(0, 1), (3, 8), (20, 1)] {
        let labels = labels(21)?.narrow(0, start, count)?;
        let part = images.narrow(0, start, count)?;
        let part = frozen.input_gradient(&part, &|logits| loss::cross_entropy_per_image(logits, &labels))?;
        assert!(off(&part.gradient, &whole.gradient.narrow(0, start, count)?)? < 1e-5);
    }
    Ok(())
}

#[test]
fn the_same_bytes_come_out_at_one_and_two_threads() -> Result<()> {
    let input = ImageShape { channels: 3, height: 16, width: 16 };
    for declaration in [declaration(input, [24, 16, 33], 2)?, further_declaration(input, [11, 5], 2)?] {
        let network = network(declaration, 1)?;
        let images = images(&network, 17)?;
        let run =
            || -> Result<Vec<f32>> { Ok(gradient(&network.freeze()?, &images)?.gradient.flatten_all()?.to_vec1()?) };
        assert_eq!(at_threads(1, run)?, at_threads(2, run)?);
    }
    Ok(())
}

#[test]
fn what_is_not_a_number_stays_so() -> Result<()> {
    let network = network(declaration(ImageShape { channels: 1, height: 8, width: 8 }, [9, 8, 12], 1)?, 1)?;
    for value in [f32::NAN, f32::INFINITY] {
        let mut pixels = images(&network, 2)?.flatten_all()?.to_vec1::<f32>()?;
        pixels[20] = value;
        let images = Tensor::from_vec(pixels, (2, 1, 8, 8), &Device::Cpu)?;
        let logits = network.freeze()?.logits(&images)?.to_vec2::<f32>()?;
        assert!(logits[0].iter().any(|value| !value.is_finite()), "{value}: {logits:?}");
        assert!(logits[1].iter().all(|value| value.is_finite()), "{value}: {logits:?}");
    }
    Ok(())
}

#[test]
fn layers_that_are_not_known_leave_the_work_to_the_operations() -> Result<()> {
    let mut net = Builder::new("test", ImageShape { channels: 2, height: 8, width: 8 }, 5);
    net.conv("a", 4, ConvGeometry::same3(), false).conv("b", 4, ConvGeometry::same3().groups(2), false);
    net.global_avg_pool("pool").linear("out", 5);
    let network = network(net.finish()?, 1)?;
    let frozen = network.freeze()?;
    assert!(!frozen.has_engine());
    assert_eq!(gradient(&frozen, &images(&network, 2)?)?.gradient.dims(), [2, 2, 8, 8]);
    Ok(())
}

#[test]
fn a_suffix_is_the_network_as_a_function_of_one_weight() -> Result<()> {
    suffixes_agree(declaration(ImageShape { channels: 3, height: 12, width: 12 }, [16, 24, 20], 2)?)
}

#[test]
fn so_it_is_with_further_kinds_of_layers() -> Result<()> {
    suffixes_agree(further_declaration(ImageShape { channels: 3, height: 12, width: 12 }, [9, 4], 2)?)
}

fn suffixes_agree(declaration: Declaration) -> Result<()> {
    let network = network(declaration, 2)?;
    let images = images(&network, 12)?;
    let exact = network.to_dtype(DType::F64)?;
    let (frozen, rows) = (network.freeze()?, [7, 2, 9, 0, 11]);
    let chosen = images.index_select(&Tensor::new(&[7u32, 2, 9, 0, 11], &Device::Cpu)?, 0)?;
    for module in network.declaration().modules() {
        let name = format!("{}.weight", module.name);
        let moved = (network.parameter(&name)?.as_detached_tensor() * 1.1)?;
        let of = |logits: Tensor, variable: &Var| -> Result<(Tensor, Tensor)> {
            let labels = labels(rows.len())?;
            let mut gradients = loss::cross_entropy_per_image(&logits, &labels)?.sum_all()?.backward()?;
            Ok((logits.detach(), gradients.remove(variable).expect("a gradient")))
        };
        let variable = Var::from_tensor(&moved.to_dtype(DType::F64)?)?;
        let mut weights = exact.frozen_weights();
        weights.insert(name, variable.as_tensor().clone());
        let logits = exact.forward_with(&weights, &chosen.to_dtype(DType::F64)?, crate::network::Mode::Evaluate)?;
        let expected = of(logits, &variable)?;
        // Room for all images, for some, for none.
        for memory in [1 << 30, 200_000, 0] {
            let suffix = frozen.suffix(&module.name, &images, memory)?;
            let variable = Var::from_tensor(&moved)?;
            let found = of(suffix.logits(&variable, &rows)?, &variable)?;
            assert!(off(&found.0, &expected.0)? < 1e-4, "{}: {}", module.name, off(&found.0, &expected.0)?);
            assert!(off(&found.1, &expected.1)? < 1e-2, "{}: {}", module.name, off(&found.1, &expected.1)?);
        }
    }
    let suffix = frozen.suffix("stem", &images, 0)?;
    assert!(suffix.logits(&Tensor::zeros((2, 2), DType::F32, &Device::Cpu)?, &[0]).is_err());
    assert!(suffix.logits(network.parameter("stem.weight")?, &[12]).is_err());
    assert!(frozen.suffix("add", &images, 0).is_err());
    Ok(())
}
