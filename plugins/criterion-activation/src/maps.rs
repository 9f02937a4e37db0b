//! Where the channels of a group show, and what they show of images.

use mrpf_api::network::{Layer, LayerKind, Shape};
use mrpf_api::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The values of a layer's channels: `[image, channel, pixel]` in f64, and the height and width of a map, which are 1 and 1 for vectors and
/// the sequences and tokens for tokens.
pub(crate) struct Maps(pub Tensor, pub [usize; 2]);

impl Maps {
    fn new(output: &Tensor, shape: Shape) -> Result<Self> {
        let images = output.dim(0)?;
        let (maps, size) = match shape {
            Shape::Map(map) => (output.clone(), [map.height, map.width]),
            Shape::Vector(_) => (output.clone(), [1, 1]),
            Shape::Tokens(tokens) => (output.permute((0, 3, 1, 2))?, [tokens.sequences, tokens.tokens]),
        };
        let maps = maps.to_device(&Device::Cpu)?.in_f64()?.contiguous()?;
        Ok(Self(maps.reshape((images, shape.channels(), ()))?, size))
    }
}

/// A number of each channel: the sum over the images of a batch.
pub(crate) type OfMaps = dyn Fn(&Maps) -> Result<Vec<f64>> + Send;

/// A number of each channel, by the layer at which it shows.
pub(crate) type Means = BTreeMap<String, Vec<f64>>;

/// Shows the images at `indices` to the network, `batch` at a time, and averages over them what `of_maps` sums up for each channel.
pub(crate) fn mean_over_images(
    cx: &CallContext<'_>,
    network: &Network,
    images: &ImageSet,
    indices: &[usize],
    batch: usize,
    of_maps: &OfMaps,
) -> Result<Means> {
    let declaration = network.declaration();
    let wiring = declaration.wiring()?;
    let shapes: BTreeMap<&str, Shape> =
        declaration.layers.iter().zip(&wiring.shapes).map(|(layer, &shape)| (layer.name.as_str(), shape)).collect();
    let places: BTreeSet<&str> =
        declaration.modules().map(|layer| shown_at(declaration, layer).name.as_str()).collect();
    let mut means = Means::new();
    let count = indices.len();
    let mut parts = cx.parts(count, batch, || network.release_memory());
    while let Some(found) = parts.next_part(|part| {
        cx.step("showing images", part.start.div_ceil(batch), count.div_ceil(batch))?;
        let shown = images.batch(&indices[part], network.dtype(), network.device())?;
        let mut found = Means::new();
        let mut tap = |layer: &str, output: &Tensor| -> Result<()> {
            let Some(&shape) = shapes.get(layer).filter(|_| places.contains(layer)) else { return Ok(()) };
            let sums = of_maps(&Maps::new(output, shape)?).context(|| format!("layer `{layer}`"))?;
            found.insert(layer.to_owned(), sums);
            Ok(())
        };
        network.forward_tapped(&network.frozen_weights(), &shown.images, Mode::Evaluate, &mut tap)?;
        Ok(found)
    })? {
        for (layer, sums) in found {
            let mean = means.entry(layer).or_default();
            mean.resize(sums.len(), 0.0);
            mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum / count as f64);
        }
    }
    Ok(means)
}

/// Where the channels that a layer produces are looked at: after its batch norm, what is added to it and its activation, as far as each of
/// these is the first to read the one before.
pub(crate) fn shown_at<'a>(declaration: &'a Declaration, producer: &'a Layer) -> &'a Layer {
    let mut at = producer;
    while let Some(reader) = declaration.layers.iter().find(|reader| reader.inputs.contains(&at.name)) {
        match reader.kind {
            LayerKind::BatchNorm(_) | LayerKind::Add => at = reader,
            LayerKind::Relu | LayerKind::Relu6 | LayerKind::Silu | LayerKind::Gelu => return reader,
            _ => break,
        }
    }
    at
}

/// For each place at which the group shows, the mean over what goes with each channel.
pub(crate) fn of_group(
    means: &Means,
    declaration: &Declaration,
    group: &ChannelGroup,
) -> Result<Vec<Vec<Option<f64>>>> {
    let mut rows = Vec::new();
    let mut places = Vec::new();
    for member in group.producers() {
        let place = &shown_at(declaration, declaration.layer(&member.layer)?).name;
        // What is added up shows at one place, whichever of the layers made it.
        if places.contains(&place) {
            continue;
        }
        places.push(place);
        let values = means
            .get(place)
            .ok_or_else(|| Error::unknown_name("layer that was looked at", place, means.keys().map(String::as_str)))?;
        let sums = member.sums(&Tensor::new(values.as_slice(), &Device::Cpu)?)?;
        let mean = |(sum, places): (Option<f64>, &[usize])| sum.map(|sum| sum / places.len() as f64);
        rows.push(sums.into_iter().zip(member.positions.iter()).map(mean).collect());
    }
    Ok(rows)
}
