//! What the tests of several crates share: fixtures recorded from reference implementations, and a budget to meet.
//!
//! `tests/fixtures/README.md` lists the files and their tensors; `generate.py` beside it made them.

mod mutated;
mod originals;
pub mod seeded;

pub use mutated::mutated;
pub use originals::{Original, originals};

use candle_core::{DType, Device, Tensor};
use mrpf_api::candle_core;
use mrpf_api::coupling::{channel_groups, cost};
use mrpf_api::network::{Attention, AttentionUnit, BatchNorm, LayerKind, LayerNorm};
use mrpf_api::prelude::*;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The tensors of one fixture file.
pub struct Fixture(HashMap<String, Tensor>);

impl Fixture {
    /// Reads `tests/fixtures/<name>.safetensors`; where tests run on another machine than they were built on, the environment variable
    /// `MRPF_FIXTURES` names the folder.
    pub fn load(name: &str) -> Result<Self> {
        let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
        let folder = std::env::var_os("MRPF_FIXTURES").map_or_else(here, PathBuf::from);
        Ok(Self(candle_core::safetensors::load(folder.join(format!("{name}.safetensors")), &Device::Cpu)?))
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        let known = self.0.keys().map(String::as_str);
        self.0.get(name).ok_or_else(|| Error::unknown_name("recorded tensor", name, known))
    }

    /// A scalar.
    pub fn number(&self, name: &str) -> Result<f64> {
        Ok(self.tensor(name)?.to_dtype(DType::F64)?.to_scalar()?)
    }

    /// Whole numbers of any shape.
    pub fn integers(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.tensor(name)?.flatten_all()?.to_vec1::<i64>()?.into_iter().map(|value| value as usize).collect())
    }

    /// All tensors whose names begin with `<prefix>.`, without it.
    pub fn family(&self, prefix: &str) -> Weights {
        let of_family = |(name, tensor): (&String, &Tensor)| {
            Some((name.strip_prefix(prefix)?.strip_prefix('.')?.to_owned(), tensor.clone()))
        };
        self.0.iter().filter_map(of_family).collect()
    }

    /// `images` and `labels` as a batch.
    pub fn batch(&self) -> Result<Batch> {
        let images = self.tensor("images")?.clone();
        let indices = (0..images.dim(0)?).collect();
        Ok(Batch { images, labels: self.tensor("labels")?.to_dtype(DType::U32)?, indices })
    }

    /// The recorded parameters and statistics in a network of the given declaration, in f64.
    pub fn network(&self, declaration: Declaration) -> Result<Network> {
        Network::from_tensors(declaration, self.family("parameters"), self.family("statistics"))
    }
}

const MEAN: [f64; 3] = [0.4914, 0.4822, 0.4465];
const STD: [f64; 3] = [0.2470, 0.2435, 0.2616];
const IMAGE: ImageShape = ImageShape { channels: 3, height: 8, width: 8 };

/// The recorded ResNet-8 with the batch that it was recorded with.
pub fn resnet8() -> Result<(Network, Batch)> {
    let recorded = Fixture::load("resnet8")?;
    Ok((recorded.network(resnet8_declaration()?)?, recorded.batch()?))
}

/// The budget of a ResNet-20 for CIFAR-10, of which `ratio` of the multiply-accumulates shall go.
pub fn resnet20_problem(ratio: f64) -> Result<BudgetProblem> {
    let input = ImageShape { channels: 3, height: 32, width: 32 };
    let request = ArchitectureRequest { input, classes: 10, mean: vec![0.5; 3], std: vec![0.25; 3] };
    let declaration = mrpf_architecture_resnet::ResNet::new(Default::default())?.declare(&request)?;
    let groups = channel_groups(&declaration)?;
    BudgetProblem::new(&declaration, &groups, BudgetKind::Macs, &cost(&declaration)?, ratio)
}

/// The recorded small VGG with the batch that it was recorded with.
pub fn vgg_tiny() -> Result<(Network, Batch)> {
    let recorded = Fixture::load("vgg_tiny")?;
    let mut net = Builder::new("vgg-tiny", IMAGE, 10);
    net.normalize("normalize", &MEAN, &STD);
    net.conv("features.0", 6, ConvGeometry::same3(), true).batch_norm("features.1").relu("features.2");
    net.max_pool("features.3", PoolGeometry::square(2));
    net.conv("features.4", 8, ConvGeometry::same3(), true).batch_norm("features.5").relu("features.6");
    net.conv("features.7", 8, ConvGeometry::same3(), true).batch_norm("features.8").relu("features.9");
    net.max_pool("features.10", PoolGeometry::square(2)).flatten("flatten").linear("classifier", 10);
    Ok((recorded.network(net.finish()?)?, recorded.batch()?))
}

/// A network with a layer of every kind, in the forms that differ from what PyTorch takes for granted.
pub fn every_kind() -> Result<Declaration> {
    let mut net = Builder::new("every-kind", IMAGE, 5);
    net.normalize("normalize", &[0.5; 3], &[0.25, 1.0, 0.125]);
    net.conv("stem.conv", 8, ConvGeometry { kernel: [3, 1], padding: [1, 0], ..ConvGeometry::square(1) }, true);
    let norm = BatchNorm { channels: 8, epsilon: 1e-3, momentum: 0.01 };
    net.layer("stem.norm", LayerKind::BatchNorm(norm), &["stem.conv"]).relu("stem.relu");
    net.conv("grouped", 8, ConvGeometry::same3().groups(2), false).relu6("relu6");
    net.conv("depthwise", 8, ConvGeometry::same3().groups(8), false).layer("silu", LayerKind::Silu, &["depthwise"]);
    net.max_pool("max", PoolGeometry { kernel: [3; 2], stride: [2; 2], padding: [1; 2] });
    net.layer("pad", LayerKind::PadShortcut { stride: 2, channels: 12 }, &["silu"]);
    net.from("max").conv("widen", 12, ConvGeometry::square(1), false).add("sum", "pad");
    net.layer("gelu", LayerKind::Gelu, &["sum"]).concat("both", &["sum"]);
    net.avg_pool("avg", PoolGeometry { kernel: [2; 2], stride: [1; 2], padding: [1; 2] });
    net.global_avg_pool("mean");
    net.from("avg").layer("tall", LayerKind::Resize { size: [6, 4] }, &["avg"]);
    net.layer("unfold", LayerKind::Unfold { patch: [3, 2] }, &["tall"]);
    net.layer("tokens.norm", LayerKind::LayerNorm(LayerNorm { channels: 24, epsilon: 1e-3 }), &["unfold"]);
    for (name, width) in [("query", 8), ("key", 8), ("value", 12)] {
        net.from("tokens.norm").linear(&format!("tokens.{name}"), width);
    }
    let inputs = ["tokens.query", "tokens.key", "tokens.value"];
    let attention =
        Attention { query_channels: 8, value_channels: 12, heads: 2, scale: 0.75, unit: AttentionUnit::Width };
    net.layer("attention", LayerKind::Attention(attention), &inputs).linear("proj", 24);
    net.add("stream", "unfold").layer_norm("norm");
    net.layer("fold", LayerKind::Fold { patch: [3, 2], size: [6, 4] }, &["norm"]).resize("square", [5; 2]);
    net.flatten("flat").linear("hidden", 24).add("heads", "mean").linear("class", 5);
    net.finish()
}

/// Written out here, and not taken from the architecture plugin, so that the plugin is no part of what the fixtures prove.
fn resnet8_declaration() -> Result<Declaration> {
    let mut net = Builder::new("resnet", IMAGE, 10);
    net.normalize("normalize", &MEAN, &STD);
    net.conv("conv1", 4, ConvGeometry::same3(), false).batch_norm("bn1").relu("relu1");
    for (name, width, stride) in [("layer1.0", 4, 1), ("layer2.0", 8, 2), ("layer3.0", 16, 2)] {
        let of_block = |part: &str| format!("{name}.{part}");
        let input = net.current();
        net.conv(&of_block("conv1"), width, ConvGeometry::same3().stride(stride), false);
        net.batch_norm(&of_block("bn1")).relu(&of_block("relu1"));
        net.conv(&of_block("conv2"), width, ConvGeometry::same3(), false).batch_norm(&of_block("bn2"));
        let mut shortcut = input.clone();
        if stride > 1 {
            net.from(&input).conv(&of_block("shortcut.0"), width, ConvGeometry::square(1).stride(stride), false);
            net.batch_norm(&of_block("shortcut.1"));
            shortcut = net.current();
        }
        let residual = of_block("bn2");
        net.from(&residual).add(&of_block("add"), &shortcut).relu(&of_block("relu2"));
    }
    net.global_avg_pool("pool").linear("linear", 10);
    net.finish()
}

/// The largest absolute difference between two tensors of one shape.
pub fn largest_difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    assert_eq!(a.dims(), b.dims(), "shapes differ");
    Ok((a.to_dtype(DType::F64)? - b.to_dtype(DType::F64)?)?.abs()?.flatten_all()?.max(0)?.to_scalar()?)
}

/// The gradient of every parameter that has one, by the parameter's name.
pub fn gradients_by_name(network: &Network, gradients: &candle_core::backprop::GradStore) -> Weights {
    let found = network.parameters().iter();
    found.filter_map(|(name, variable)| Some((name.clone(), gradients.get(variable)?.clone()))).collect()
}

/// Asserts that two families of tensors agree.
pub fn assert_family(what: &str, found: &Weights, expected: &Weights, tolerance: f64) -> Result<()> {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for (name, tensor) in found {
        let difference = largest_difference(tensor, &expected[name])?;
        assert!(difference < tolerance, "{what} {name}: off by {difference:e}");
    }
    Ok(())
}

mod small_data;
mod two_steps;
mod warnings;

pub use small_data::small_data;
pub use two_steps::{TwoSteps, step};
pub use warnings::Warnings;

#[cfg(test)]
mod tests;
