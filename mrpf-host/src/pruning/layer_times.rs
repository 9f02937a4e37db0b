//! Measures how long each layer takes at several widths, on this device.

use mrpf_api::budget::{LatencyTable, LayerTimes, widths};
use mrpf_api::candle_core::{DType, Device};
use mrpf_api::context::CallContext;
use mrpf_api::data::ImageShape;
use mrpf_api::network::{Builder, Declaration, LayerKind, Network, Shape};
use mrpf_api::random::Streams;
use mrpf_api::{Context, Result};
use std::collections::BTreeMap;

use crate::evaluation::{LATENCY_BATCH, measure_latency, median_pass_ms};

/// Passes that count for a layer at one pair of widths, after one that brings caches up.
const PASSES: usize = 5;

/// Outputs of the networks that are timed.
const CLASSES: usize = 2;

/// Times every convolution, linear layer and norm that is not folded away, each by itself between one and all of its channels, and the
/// whole network.
///
/// A layer is timed as a network of it, a mean over pixels and a small linear layer, from which the time of the latter two is taken off.
/// What attention, additions and activations take is in the network's time only.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Interrupted`] if the user asks to stop.
pub fn measure_layer_times(cx: &CallContext<'_>, network: &Network) -> Result<LatencyTable> {
    let declaration = network.declaration();
    let wiring = declaration.wiring()?;
    let mut layers = Vec::new();
    // Layers that are alike are timed once.
    let mut known: BTreeMap<String, LayerTimes> = BTreeMap::new();
    for (at, layer) in declaration.layers.iter().enumerate() {
        cx.step("timing layers", at, declaration.layers.len())?;
        let input = wiring.inputs[at][0].map_or(Shape::Map(declaration.input), |input| wiring.shapes[input]);
        if !is_timed(declaration, at) {
            continue;
        }
        let key = format!("{:?} {input:?}", layer.kind);
        let times = match known.get(&key) {
            Some(times) => times.clone(),
            None => {
                let times = layer_times(cx, &layer.kind, input, network.device())
                    .context(|| format!("timing layer `{}`", layer.name))?;
                known.insert(key, times.clone());
                times
            }
        };
        layers.push(LayerTimes { layer: layer.name.clone(), ..times });
    }
    let threads = mrpf_api::rayon::current_num_threads();
    let device = match network.device().is_cpu() {
        true => format!("{}, {threads} threads", std::env::consts::ARCH),
        false => format!("{:?}", network.device().location()),
    };
    LatencyTable { device, batch: LATENCY_BATCH, network_ms: measure_latency(cx, network)?.median_ms, layers }.checked()
}

/// Whether a layer takes time of its own: a batch norm that is the only reader of a convolution is folded into it.
fn is_timed(declaration: &Declaration, at: usize) -> bool {
    let layer = &declaration.layers[at];
    match &layer.kind {
        LayerKind::Conv2d(_) | LayerKind::Linear(_) => true,
        LayerKind::BatchNorm(_) => {
            let read = &layer.inputs[0];
            let readers =
                declaration.layers.iter().flat_map(|other| &other.inputs).filter(|&input| input == read).count();
            let convolution = |kind: &LayerKind| matches!(kind, LayerKind::Conv2d(_));
            readers > 1 || !declaration.layers.iter().any(|other| other.name == *read && convolution(&other.kind))
        }
        _ => false,
    }
}

fn layer_times(cx: &CallContext<'_>, kind: &LayerKind, input: Shape, device: &Device) -> Result<LayerTimes> {
    let [outputs, inputs] = widths(kind);
    let (blocks, tied) = match kind {
        LayerKind::Conv2d(conv) if conv.is_depthwise() => (conv.out_channels / conv.in_channels, true),
        LayerKind::Conv2d(conv) => (conv.geometry.groups, false),
        LayerKind::BatchNorm(_) => (1, true),
        _ => (1, false),
    };
    let outputs = some_widths(outputs, blocks);
    let inputs = if tied { vec![inputs] } else { some_widths(inputs, blocks) };
    let mut milliseconds = Vec::with_capacity(outputs.len());
    let mut alone: BTreeMap<usize, f64> = BTreeMap::new();
    for &out in &outputs {
        let mut row = Vec::with_capacity(inputs.len());
        for &read in &inputs {
            let kind = with_widths(kind, out, read);
            let read = widths(&kind)[1];
            let before = match alone.get(&read) {
                Some(&time) => time,
                None => *alone.entry(read).or_insert(pass_ms(cx, None, input, read, device)?),
            };
            row.push((pass_ms(cx, Some(kind), input, read, device)? - before).max(0.0));
        }
        milliseconds.push(row);
    }
    Ok(LayerTimes { layer: String::new(), outputs, inputs, milliseconds })
}

/// From one block to all, by quarters, in whole blocks.
fn some_widths(all: usize, blocks: usize) -> Vec<usize> {
    let each = all / blocks.max(1);
    let mut widths: Vec<usize> = [1, each / 4, each / 2, 3 * each / 4, each].map(|width| width.max(1) * blocks).into();
    widths.sort_unstable();
    widths.dedup();
    widths
}

fn with_widths(kind: &LayerKind, outputs: usize, inputs: usize) -> LayerKind {
    let mut kind = kind.clone();
    match &mut kind {
        LayerKind::Conv2d(conv) if conv.is_depthwise() => {
            let multiplier = conv.out_channels / conv.in_channels;
            (conv.out_channels, conv.in_channels) = (outputs, outputs / multiplier);
            conv.geometry.groups = conv.in_channels;
        }
        LayerKind::Conv2d(conv) => (conv.out_channels, conv.in_channels) = (outputs, inputs),
        LayerKind::Linear(linear) => (linear.out_features, linear.in_features) = (outputs, inputs),
        LayerKind::BatchNorm(norm) => norm.channels = outputs,
        _ => {}
    }
    kind
}

/// Median time of a pass through a network of one layer that reads `channels` channels of a value like `input`, a mean over pixels and
/// a linear layer with two outputs; of the latter two alone without a layer.
fn pass_ms(
    cx: &CallContext<'_>,
    kind: Option<LayerKind>,
    input: Shape,
    channels: usize,
    device: &Device,
) -> Result<f64> {
    let [height, width] = match input {
        Shape::Map(map) => [map.height, map.width],
        Shape::Tokens(tokens) => [tokens.sequences, tokens.tokens],
        Shape::Vector(_) => [1, 1],
    };
    let mut net = Builder::new("layer", ImageShape { channels, height, width }, CLASSES);
    let layer = |net: &mut Builder| {
        if let Some(kind) = kind.clone() {
            let read = net.current();
            net.layer("layer", kind, &[&read]);
        }
    };
    match input {
        Shape::Vector(_) => {
            net.global_avg_pool("pool");
            layer(&mut net);
        }
        Shape::Map(_) => {
            layer(&mut net);
            net.global_avg_pool("pool");
        }
        Shape::Tokens(_) => {
            let read = net.current();
            net.layer("unfold", LayerKind::Unfold { patch: [1, 1] }, &[&read]);
            layer(&mut net);
            let read = net.current();
            net.layer("fold", LayerKind::Fold { patch: [1, 1], size: [height, width] }, &[&read])
                .global_avg_pool("pool");
        }
    }
    let network = Network::initialise(net.linear("end", CLASSES).finish()?, &Streams::new(0), DType::F32, device)?;
    median_pass_ms(cx, &network, 1, PASSES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::numeric::ConvGeometry;

    #[test]
    fn every_layer_that_takes_time_is_in_the_table_once_for_each_width() -> Result<()> {
        let shape = ImageShape { channels: 3, height: 8, width: 8 };
        let mut net = Builder::new("test", shape, 4);
        net.normalize("normalize", &[0.5; 3], &[0.25; 3]);
        net.conv("a", 8, ConvGeometry::same3(), false).batch_norm("a.bn").relu("a.relu");
        net.conv("deep", 8, ConvGeometry::same3().groups(8), false).batch_norm("deep.bn").batch_norm("second.bn");
        net.layer("unfold", LayerKind::Unfold { patch: [2, 2] }, &["second.bn"]).linear("token", 6);
        net.layer("fold", LayerKind::Fold { patch: [2, 2], size: [8, 8] }, &["token"]).global_avg_pool("pool");
        let declaration = net.linear("out", 4).finish()?;
        let network = Network::initialise(declaration, &Streams::new(0), DType::F32, &Device::Cpu)?;
        let table = measure_layer_times(&CallContext::unwatched(Streams::new(0)), &network)?;
        let found: Vec<_> = table
            .layers
            .iter()
            .map(|times| (times.layer.as_str(), times.outputs.as_slice(), times.inputs.as_slice()))
            .collect();
        let quarters: &[usize] = &[1, 2, 4, 6, 8];
        assert_eq!(
            found,
            [
                ("a", quarters, &[1, 2, 3][..]),
                ("deep", quarters, &[8][..]),
                ("second.bn", quarters, &[8][..]),
                ("token", &[1, 3, 4, 6], quarters),
                ("out", &[1, 2, 3, 4], &[1, 3, 4, 6]),
            ]
        );
        let off = (table.network(network.declaration()) - table.network_ms).abs();
        assert!(off <= 1e-9 * table.network_ms, "the whole network takes {} ms", table.network_ms);
        Ok(())
    }
}
