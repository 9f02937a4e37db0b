//! Whatever stands in a declaration, checking it and reading it ends soon, with a network or a refusal.

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::*;
use crate::coupling::{channel_groups, cost};
use crate::network::{
    Attention, AttentionUnit, Builder, Declaration, INPUT, Layer, Mode, Network, Weights, parameter_specs,
    statistic_specs,
};
use crate::numeric::{ConvGeometry, PoolGeometry};
use crate::random::Streams;

const IMAGE: ImageShape = ImageShape { channels: 3, height: 8, width: 8 };
/// Far above what any of them takes, and far below what an unbounded one would.
const SOON: Duration = Duration::from_secs(20);

/// A network with a layer of every kind.
fn every_kind() -> Declaration {
    let mut net = Builder::new("every-kind", IMAGE, 5);
    net.normalize("normalize", &[0.5; 3], &[0.25; 3]);
    net.conv("conv", 4, ConvGeometry::same3(), true).batch_norm("norm").relu("relu");
    net.conv("depthwise", 4, ConvGeometry::same3().groups(4), false).relu6("relu6").silu("silu");
    net.max_pool("max", PoolGeometry { kernel: [3; 2], stride: [2; 2], padding: [1; 2] });
    net.layer("pad", LayerKind::PadShortcut { stride: 2, channels: 6 }, &["silu"]);
    net.from("max").conv("widen", 6, ConvGeometry::square(1), false).add("sum", "pad");
    net.layer("gelu", LayerKind::Gelu, &["sum"]).concat("both", &["sum"]);
    net.avg_pool("avg", PoolGeometry { kernel: [2; 2], stride: [1; 2], padding: [1; 2] }).resize("tall", [6, 4]);
    net.layer("unfold", LayerKind::Unfold { patch: [3, 2] }, &["tall"]).layer_norm("tokens");
    for name in ["query", "key", "value"] {
        net.from("tokens").linear(name, 4);
    }
    let attention = Attention::new(4, 2, AttentionUnit::Width);
    net.layer("attention", LayerKind::Attention(attention), &["query", "key", "value"]).linear("proj", 12);
    net.layer("fold", LayerKind::Fold { patch: [3, 2], size: [6, 4] }, &["proj"]);
    net.flatten("flat").linear("hidden", 6);
    net.from("sum").global_avg_pool("mean").add("heads", "hidden").linear("class", 5);
    net.finish().expect("a declaration")
}

/// All numbers of a declaration, in their order.
fn numbers(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Number(_) => vec![value],
        Value::Array(values) => values.iter_mut().flat_map(numbers).collect(),
        Value::Object(entries) => entries.values_mut().flat_map(numbers).collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => Vec::new(),
    }
}

fn extreme() -> impl Strategy<Value = Value> {
    let near = |power: u32, by: u64| (1_u64 << power).wrapping_add(by).wrapping_sub(1);
    prop_oneof![
        (0_u64..70).prop_map(Value::from),
        (0_u32..64, 0_u64..3).prop_map(move |(power, by)| Value::from(near(power, by))),
        Just(Value::from(u64::MAX)),
        Just(Value::from(u64::MAX - 1)),
        Just(Value::from(-1)),
        prop_oneof![Just(1e300), Just(-1.0), Just(0.0), Just(1e-300), Just(0.5)].prop_map(Value::from),
    ]
}

fn changed(changes: &[(Index, Value)]) -> Value {
    let mut value = serde_json::to_value(every_kind()).expect("JSON");
    for (at, number) in changes {
        let mut found = numbers(&mut value);
        let at = at.index(found.len());
        *found[at] = number.clone();
    }
    value
}

/// Tensors of zeros that fit the declaration if they are few, else those of the network that it was made of.
fn tensors(declaration: &Declaration) -> Weights {
    let of = |declaration: &Declaration| -> Option<Weights> {
        let specs = parameter_specs(declaration).into_iter().chain(statistic_specs(declaration));
        let zeros = |spec: crate::network::TensorSpec| {
            let size = spec.shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
            size.filter(|&size| size < 1 << 20)?;
            Some((spec.name, Tensor::zeros(spec.shape, DType::F32, &Device::Cpu).ok()?))
        };
        specs.map(zeros).collect()
    };
    let few = declaration.wiring().is_ok() && cost(declaration).is_ok_and(|cost| cost.params < 1 << 20);
    few.then(|| of(declaration)).flatten().or_else(|| of(&every_kind())).expect("small tensors")
}

/// A file as it was before files carried digests, so that what is changed in it reaches whoever reads it.
fn file(declaration: &Value, tensors: &Weights) -> Vec<u8> {
    let header = [("mrpf.format", "1".to_owned()), ("mrpf.declaration", declaration.to_string())];
    let joined = serde_json::to_string(&header).expect("JSON");
    let header = HashMap::from([("mrpf".to_owned(), joined)]);
    safetensors::serialize(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), Some(header)).expect("bytes")
}

/// Everything that reads a declaration without an image.
fn examine(declaration: Declaration) -> Result<()> {
    declaration.wiring()?;
    let found = cost(&declaration)?;
    channel_groups(&declaration)?;
    if found.params < 1 << 20 {
        let network = Network::initialise(declaration, &Streams::new(1), DType::F32, &Device::Cpu)?;
        let values: usize = network.wiring.shapes.iter().map(|shape| shape.dims().iter().product::<usize>()).sum();
        if values < 1 << 20 && found.macs < 1 << 30 {
            let dims = network.declaration().input.dims();
            let images = Tensor::zeros((1, dims[0], dims[1], dims[2]), DType::F32, &Device::Cpu)?;
            network.forward(&images, Mode::Evaluate)?;
            network.freeze()?;
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_numbers_are_refused_or_make_a_network_soon(changes in prop::collection::vec((any::<Index>(), extreme()), 1..4)) {
        let start = Instant::now();
        if let Ok(declaration) = serde_json::from_value::<Declaration>(changed(&changes))
            && let Err(error) = examine(declaration)
        {
            prop_assert_eq!(error.kind(), ErrorKind::Declaration, "{}", error);
        }
        prop_assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }

    #[test]
    fn no_changed_file_makes_reading_panic(
        changes in prop::collection::vec((any::<Index>(), extreme()), 0..3),
        bytes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        end in prop::option::of(any::<Index>()),
    ) {
        let start = Instant::now();
        let value = changed(&changes);
        let held = match serde_json::from_value::<Declaration>(value.clone()) {
            Ok(declaration) => tensors(&declaration),
            Err(_) => tensors(&every_kind()),
        };
        let mut file = file(&value, &held);
        for (at, byte) in bytes {
            // Most of the changes fall on the header, which is what is read.
            let at = at.index(file.len().min(6000));
            file[at] = byte;
        }
        if let Some(end) = end {
            file.truncate(end.index(file.len()));
        }
        if let Err(error) = Network::from_bytes(&file, &Device::Cpu) {
            prop_assert_eq!(error.kind(), ErrorKind::Checkpoint, "{}", error);
        }
        prop_assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

fn with_layers(layers: Vec<Layer>) -> Declaration {
    Declaration { architecture: "made".into(), input: IMAGE, classes: 3, layers }
}

fn layer(name: &str, kind: LayerKind, inputs: &[&str]) -> Layer {
    Layer { name: name.into(), kind, inputs: inputs.iter().map(|&input| input.into()).collect() }
}

#[test]
fn too_much_of_everything_is_refused_with_a_reason() {
    let conv = |kernel: usize, stride: usize, padding: usize| {
        let geometry = ConvGeometry::square(kernel).stride(stride).padding(padding);
        let conv = crate::network::Conv2d { in_channels: 3, out_channels: 4, geometry, bias: false };
        vec![layer("x", LayerKind::Conv2d(conv), &[INPUT])]
    };
    let one = |kind: LayerKind| vec![layer("x", kind, &[INPUT])];
    let long = "n".repeat(NAME + 1);
    let huge = usize::MAX;
    let pad = |stride, channels| one(LayerKind::PadShortcut { stride, channels });
    // Two halves that wrap to 10.
    let wrap = vec![
        layer("a", LayerKind::PadShortcut { stride: 1, channels: 1 << 63 }, &[INPUT]),
        layer("b", LayerKind::Concat, &["a", "a"]),
    ];
    for (layers, told) in [
        (conv(3, 1, 1_000_000), "padding 1000000 for a kernel of 3, expected less"),
        (conv(3, 1, huge), "expected less"),
        (conv(3, 1_000_000, 1), "stride 1000000 on a side of 10, expected 1 to 64"),
        (conv(huge, 1, huge - 1), "a kernel of 18446744073709551615 on a side of 8, expected at most 64"),
        (conv(3, 0, 1), "stride 0"),
        (pad(1_000_000, 3), "stride 1000000 on a side of 8"),
        (pad(1, 100_000_000), "100000000 channels, expected at most 262144"),
        (wrap, "channels, expected at most 262144"),
        (one(LayerKind::Resize { size: [1 << 14, 1 << 14] }), "resizes to 16384x16384, expected sides of 1 to 4096"),
        (
            (0..10).map(|at| layer(&format!("x{at}"), LayerKind::Add, &[INPUT; 1_000])).collect(),
            "layers and additions up to this one, expected at most 5000",
        ),
        (vec![layer("x", LayerKind::Add, &vec![INPUT; 200_000])], "200000 inputs, expected at most 1024"),
        (vec![layer(&long, LayerKind::Relu, &[INPUT])], "a layer has a name of 257 bytes, expected 1 to 256"),
        (vec![layer("", LayerKind::Relu, &[INPUT])], "a name of 0 bytes"),
        (vec![layer("x", LayerKind::Relu, &[&"y".repeat(1 << 20)])], "reads `yyyyyyyy"),
        (vec![layer("x", LayerKind::Relu, &[INPUT]); 100_000], "more than 5000 layers"),
    ] {
        let error = with_layers(layers).wiring().expect_err(told);
        assert!(error.to_string().contains(told) && error.to_string().len() < 400, "{told}: {error}");
    }
    let flat = |input, classes| Declaration { input, classes, ..with_layers(one(LayerKind::Flatten)) };
    for (input, classes, told) in [
        (ImageShape { height: 0, ..IMAGE }, 3, "the images: a shape of [3, 0, 8], expected sizes above 0"),
        (ImageShape { height: huge, width: huge, channels: huge }, 3, "the images: 18446744073709551615 pixels"),
        (ImageShape { height: 1 << 14, width: 1 << 14, channels: 9 }, 3, "values for each image"),
        (IMAGE, 100_000_000, "100000000 classes, expected at most 4194304"),
        (IMAGE, 0, "0 classes"),
    ] {
        let error = flat(input, classes).wiring().expect_err(told).to_string();
        assert!(error.contains(told), "{told}: {error}");
    }
}

#[test]
fn the_builder_refuses_before_it_holds_much() {
    let mut net = Builder::new("made", IMAGE, 3);
    for number in 0..1_000_000 {
        net.relu(if number % 2 == 0 { "even" } else { "odd" });
    }
    let error = net.finish().expect_err("a million layers");
    assert_eq!(error.to_string(), "more than 5000 layers");
    let mut net = Builder::new("made", IMAGE, 1_000_000_000);
    net.global_avg_pool("pool").linear("fc", 1_000_000_000);
    assert_eq!(net.finish().expect_err("many classes").to_string(), "1000000000 classes, expected at most 4194304");
}

/// Layers upon layers: what is done for each must not nest deeper than a thread's stack, nor take time by their square.
#[test]
fn the_deepest_network_runs_and_learns() -> Result<()> {
    let work = || -> Result<()> {
        let mut net = Builder::new("deep", IMAGE, 3);
        net.conv("conv", 4, ConvGeometry::same3(), false).resize("small", [4; 2]);
        for number in 0..(LAYERS - 4) / KINDS {
            net.some_of_each(&format!("block{number}"));
        }
        net.global_avg_pool("pool").linear("fc", 3);
        let declaration = net.finish()?;
        channel_groups(&declaration)?;
        for dtype in [DType::F32, DType::F64] {
            let network = Network::initialise(declaration.clone(), &Streams::new(1), dtype, &Device::Cpu)?;
            let images = Tensor::ones((2, 3, 8, 8), dtype, &Device::Cpu)?;
            network.forward(&images, Mode::Train)?.sum_all()?.backward()?;
            network.freeze()?;
        }
        Ok(())
    };
    // As threads that Rust starts have it; the main thread has four times as much.
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread");
    thread.join().expect("no panic")
}

/// Layers of a block.
const KINDS: usize = 16;

impl Builder {
    /// Layers of all kinds that keep the shape.
    fn some_of_each(&mut self, name: &str) {
        let of = |part: &str| format!("{name}.{part}");
        let input = self.current();
        self.layer(&of("gelu"), LayerKind::Gelu, &[&input]).silu(&of("silu")).relu6(&of("relu6"));
        self.conv(&of("conv"), 4, ConvGeometry::square(1), true).batch_norm(&of("norm"));
        self.max_pool(&of("max"), PoolGeometry::square(1)).avg_pool(&of("avg"), PoolGeometry::square(1));
        self.resize(&of("resize"), [4; 2]).add(&of("add"), &input);
        self.unfold(&of("unfold"), 2).layer_norm(&of("tokens")).linear(&of("linear"), 4);
        let tokens = self.current();
        let attention = Attention::new(4, 2, AttentionUnit::Width);
        self.layer(&of("attention"), LayerKind::Attention(attention), &[&tokens, &tokens, &tokens]);
        let attended = self.current();
        self.layer(&of("stream"), LayerKind::Add, &[&attended, &tokens, &tokens]).fold(&of("fold"), 2, [4; 2]);
    }
}

#[test]
fn weights_of_other_types_are_refused() {
    let declaration = serde_json::to_value(every_kind()).expect("JSON");
    for dtype in [DType::U8, DType::I64, DType::F64] {
        let mut held = tensors(&every_kind());
        let changed = held["conv.weight"].to_dtype(dtype).expect("a tensor");
        held.insert("conv.weight".into(), changed);
        let error = Network::from_bytes(&file(&declaration, &held), &Device::Cpu).expect_err("mixed types");
        assert_eq!(error.kind(), ErrorKind::Checkpoint);
        assert!(error.to_string().contains("`conv.weight` holds"), "{error}");
    }
}

#[test]
fn a_network_that_fits_into_no_memory_gets_no_weights() {
    let mut net = Builder::new("wide", IMAGE, 10);
    net.conv("a", 1 << 17, ConvGeometry::square(1), false).conv("b", 1 << 17, ConvGeometry::square(1), false);
    net.global_avg_pool("pool").linear("fc", 10);
    let declaration = net.finish().expect("a description");
    let error = Network::initialise(declaration, &Streams::new(1), DType::F32, &Device::Cpu).expect_err("64 GiB");
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(error.to_string().contains("parameters, expected at most 4294967296"), "{error}");
}
