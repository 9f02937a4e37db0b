//! The operations together, in a network with every kind of layer that has a kernel here.

use candle_core::{DType, Device, Tensor, Var};

use super::values;
use crate::data::ImageShape;
use crate::network::{Attention, AttentionUnit, Builder, LayerKind, Mode, Network};
use crate::numeric::conv::tests::WEIGHT_GRADIENTS;
use crate::numeric::gradient_check::normal;
use crate::numeric::{ConvGeometry, PoolGeometry};
use crate::random::Streams;
use crate::{Error, ErrorKind, Result};

/// Number of convolutions in [`network`].
const CONVOLUTIONS: usize = 2;

fn network() -> Result<Network> {
    let mut builder = Builder::new("test", ImageShape { channels: 3, height: 16, width: 16 }, 4);
    builder.normalize("normalize", &[0.5; 3], &[0.2; 3]).conv("first", 6, ConvGeometry::same3(), true);
    builder.batch_norm("norm").relu("relu").max_pool("max_pool", PoolGeometry::square(2));
    builder.conv("grouped", 6, ConvGeometry::same3().groups(2), false).add("add", "max_pool");
    builder.avg_pool("avg_pool", PoolGeometry::square(2)).silu("silu").unfold("unfold", 2).layer_norm("layer_norm");
    for name in ["query", "key", "value"] {
        builder.from("layer_norm").linear(name, 6);
    }
    let attention = LayerKind::Attention(Attention::new(6, 3, AttentionUnit::Width));
    builder.layer("attention", attention, &["query", "key", "value"]).fold("fold", 2, [4, 4]).resize("resize", [5, 3]);
    builder.flatten("flatten").linear("classes", 4);
    Network::initialise(builder.finish()?, &Streams::new(1), DType::F32, &Device::Cpu)
}

#[test]
fn frozen_weights_get_no_gradients() -> Result<()> {
    let network = network()?;
    let images = Var::from_tensor(&normal("images", &[2, 3, 16, 16])?.to_dtype(DType::F32)?)?;
    for (mode, weights, expected) in [
        (Mode::Evaluate, network.frozen_weights(), 0),
        (Mode::TrainKeepingStatistics, network.frozen_weights(), 0),
        (Mode::Evaluate, network.weights(), CONVOLUTIONS),
        (Mode::TrainKeepingStatistics, network.weights(), CONVOLUTIONS),
    ] {
        let before = WEIGHT_GRADIENTS.get();
        let gradients = network.forward_with(&weights, &images, mode)?.sqr()?.sum_all()?.backward()?;
        assert_eq!(WEIGHT_GRADIENTS.get() - before, expected, "{mode:?}");
        assert!(gradients.get(&images).is_some());
        for (name, weight) in &weights {
            assert_eq!(gradients.get(weight).is_some(), expected > 0, "`{name}` in {mode:?}");
        }
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result<()> {
    let network = network()?;
    // So many images that every operation has several pieces of work.
    let images = Var::from_tensor(&normal("images", &[96, 3, 16, 16])?.to_dtype(DType::F32)?)?;
    let run = || -> Result<Vec<Vec<f64>>> {
        let logits = network.forward(&images, Mode::TrainKeepingStatistics)?;
        let gradients = logits.sqr()?.sum_all()?.backward()?;
        let variables = network.parameters().values().chain([&images]);
        let tensors = variables.filter_map(|variable| gradients.get(variable)).chain([&logits]);
        tensors.map(|tensor: &Tensor| values(tensor)).collect()
    };
    let on = |threads: usize| -> Result<Vec<Vec<f64>>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?.install(run)
    };
    let one = on(1)?;
    assert_eq!(one.len(), network.parameters().len() + 2);
    assert!(one == on(2)? && one == on(3)?);
    Ok(())
}
