//! A small network with a branch, and images in four classes: enough to break a law on, in a second.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

use crate::data::{Batch, ImageSet, ImageShape, LoadedData};
use crate::network::{Builder, Declaration, Mode, Network, Weights};
use crate::numeric::{ConvGeometry, loss};
use crate::random::Streams;
use crate::{Error, ErrorKind, Result};

pub(super) const SHAPE: ImageShape = ImageShape { channels: 1, height: 8, width: 8 };
pub(super) const CLASSES: usize = 4;
/// How many images have room where a GPU has little; no divisor of a usual batch, so that parts differ.
pub(super) const ROOM: usize = 5;

/// All randomness of the examination.
pub(super) fn streams() -> Streams {
    Streams::new(20_241_023)
}

/// Two convolutions beside an identity: a gradient that loses one of the two ways is wrong here, and right on a chain.
pub(super) fn declaration() -> Result<Declaration> {
    let mut net = Builder::new("conformance", SHAPE, CLASSES);
    net.normalize("normalize", &[0.4], &[0.3]);
    net.conv("stem", 8, ConvGeometry::same3(), false).batch_norm("stem.bn").relu("stem.relu");
    let before = net.current();
    net.conv("inner", 6, ConvGeometry::same3(), false).batch_norm("inner.bn").relu("inner.relu");
    net.conv("outer", 8, ConvGeometry::same3(), false).batch_norm("outer.bn").add("add", &before).relu("add.relu");
    net.conv("down", 10, ConvGeometry::same3().stride(2), true).batch_norm("down.bn").relu("down.relu");
    net.global_avg_pool("pool").linear("out", CLASSES).finish()
}

/// The network with fresh weights.
pub(super) fn network() -> Result<Network> {
    Network::initialise(declaration()?, &streams().child("network"), DType::F32, &Device::Cpu)
}

/// A bright block on noise, whose place is the class.
pub(super) fn data() -> Result<LoadedData> {
    let set = |name: &str, count: usize| {
        let mut stream = streams().child(name).stream();
        let mut pixels = Vec::with_capacity(count * SHAPE.len());
        for image in 0..count {
            let class = image % CLASSES;
            for row in 0..SHAPE.height {
                for column in 0..SHAPE.width {
                    let inside = row / 2 == class && (2..6).contains(&column);
                    let noise = 60.0 * stream.unit();
                    pixels.push((noise + if inside { 150.0 } else { 20.0 }) as u8);
                }
            }
        }
        let labels = (0..count).map(|image| (image % CLASSES) as u32).collect();
        ImageSet::new(SHAPE, pixels, 255, labels, CLASSES)
    };
    Ok(LoadedData {
        train: set("train", 96)?,
        test: set("test", 24)?,
        class_names: ["top", "upper", "lower", "bottom"].map(str::to_owned).to_vec(),
        mean: vec![0.4],
        std: vec![0.3],
        mirror_keeps_class: true,
    })
}

/// The first images of a set.
pub(super) fn batch(set: &ImageSet, count: usize) -> Result<Batch> {
    set.batch(&(0..count.min(set.len())).collect::<Vec<_>>(), DType::F32, &Device::Cpu)
}

/// Every number of every parameter and running statistic, to see whether a plugin left them alone.
pub(super) fn contents(network: &Network) -> Result<BTreeMap<String, Vec<f32>>> {
    let mut all = Weights::new();
    all.extend(network.snapshot()?);
    all.extend(network.statistics());
    all.into_iter().map(|(name, tensor)| Ok((name, numbers(&tensor)?))).collect()
}

/// The numbers of a tensor.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// Mean cross-entropy in evaluation mode.
pub(super) fn clean_loss(network: &Network, batch: &Batch) -> Result<f64> {
    let logits = network.forward(&batch.images, Mode::Evaluate)?;
    Ok(f64::from(loss::cross_entropy(&logits, &batch.labels, 0.0)?.to_dtype(DType::F32)?.to_scalar::<f32>()?))
}

/// A network that has learnt the images, for those who learn from another network.
pub(super) fn teacher() -> Result<Network> {
    let (network, data) = (network()?, data()?);
    let all = batch(&data.train, data.train.len())?;
    for _ in 0..40 {
        let logits = network.forward(&all.images, Mode::Train)?;
        descend(&network, &loss::cross_entropy(&logits, &all.labels, 0.0)?.backward()?, 0.2)?;
    }
    Ok(network)
}

/// One plain step down the gradient, of a length that no gradient makes too long.
pub(super) fn descend(network: &Network, gradients: &GradStore, rate: f64) -> Result<()> {
    let mut found = Vec::new();
    let mut squares = 0.0;
    for (name, variable) in network.parameters() {
        let gradient = gradients.get(variable).ok_or_else(|| {
            Error::new(ErrorKind::Numeric, format!("the loss has no gradient with respect to `{name}`"))
        })?;
        squares += f64::from(gradient.sqr()?.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?);
        found.push((variable, gradient.clone()));
    }
    let scale = rate / f64::max(1.0, f64::sqrt(squares));
    for (variable, gradient) in found {
        variable.set(&(variable.as_detached_tensor() - (gradient * scale)?)?)?;
    }
    Ok(())
}
