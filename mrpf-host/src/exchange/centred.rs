//! Weights of networks whose padding shortcuts put zero channels on both sides, ordered as ours, which put them behind.
//!
//! Where the zeros lie is a matter of the order of channels: the same order in all weights of a stage gives the same function.

use mrpf_api::candle_core::{Device, Tensor};
use mrpf_api::network::{Declaration, LayerKind, Shape, Weights};
use mrpf_api::{Error, ErrorKind, Result};

/// For each of our channels, which one it is in the file.
type Order = Vec<u32>;

/// Brings `tensors`, parameters and running statistics by our names, from centred padding into our order.
///
/// # Errors
/// [`ErrorKind::Declaration`] for networks in which a reordered map is flattened or joined.
pub(super) fn reorder(declaration: &Declaration, tensors: &mut Weights) -> Result<()> {
    let orders = orders(declaration)?;
    let wiring = declaration.wiring()?;
    for (at, layer) in declaration.layers.iter().enumerate() {
        let (out, input) = (&orders[at], wiring.inputs[at].first().copied().flatten().map(|input| &orders[input]));
        let mut select = |role: &str, axis: usize, order: &Order| -> Result<()> {
            if let Some(tensor) = tensors.get_mut(&format!("{}.{role}", layer.name)) {
                let at = Tensor::from_vec(order.clone(), order.len(), &Device::Cpu)?;
                *tensor = tensor.index_select(&at, axis)?;
            }
            Ok(())
        };
        match &layer.kind {
            LayerKind::Conv2d(conv) if conv.geometry.groups == 1 => {
                select("weight", 0, out)?;
                select("bias", 0, out)?;
                input.map_or(Ok(()), |input| select("weight", 1, input))?;
            }
            LayerKind::Linear(_) => input.map_or(Ok(()), |input| select("weight", 1, input))?,
            LayerKind::BatchNorm(_) => {
                for role in ["weight", "bias", "running_mean", "running_var"] {
                    select(role, 0, out)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The order of each layer's output: that of the shortcuts, and of everything that is added to them.
fn orders(declaration: &Declaration) -> Result<Vec<Order>> {
    let wiring = declaration.wiring()?;
    let plain = |at: usize| -> Order { (0..wiring.shapes[at].channels() as u32).collect() };
    let mut orders: Vec<Order> = (0..declaration.layers.len()).map(plain).collect();
    let refuse = |name: &str| {
        let message = format!("layer `{name}` reads a map whose channels are ordered by a padding shortcut");
        Err(Error::new(ErrorKind::Declaration, message))
    };
    for (at, layer) in declaration.layers.iter().enumerate() {
        let inputs: Vec<usize> = wiring.inputs[at].iter().copied().flatten().collect();
        match (&layer.kind, inputs.as_slice()) {
            (LayerKind::PadShortcut { channels, .. }, &[input]) => {
                let before = (channels - orders[input].len()) as u32 / 2;
                let inside: Order = orders[input].iter().map(|channel| channel + before).collect();
                let zeros = (0..*channels as u32).filter(|channel| !inside.contains(channel));
                orders[at] = inside.iter().copied().chain(zeros).collect();
            }
            (LayerKind::Add, inputs) => {
                let ordered = inputs.iter().copied().find(|&input| orders[input] != plain(input));
                if let Some(ordered) = ordered {
                    let order = orders[ordered].clone();
                    orders[at].clone_from(&order);
                    // What is added comes out of a convolution, and takes on the order there.
                    for &input in inputs.iter().filter(|&&input| input != ordered) {
                        impose(declaration, &wiring.inputs, input, &order, &mut orders);
                    }
                }
            }
            (LayerKind::Conv2d(conv), &[input]) if conv.geometry.groups > 1 && orders[input] != plain(input) => {
                return refuse(&layer.name);
            }
            (LayerKind::Flatten, &[input]) if orders[input] != plain(input) => {
                let single = matches!(wiring.shapes[input], Shape::Map(map) if map.height * map.width == 1);
                if !single {
                    return refuse(&layer.name);
                }
                orders[at] = orders[input].clone();
            }
            (LayerKind::Concat, inputs) if inputs.iter().any(|&input| orders[input] != plain(input)) => {
                return refuse(&layer.name);
            }
            (kind, &[input]) if keeps_channels(kind) => orders[at] = orders[input].clone(),
            _ => {}
        }
    }
    Ok(orders)
}

/// Whether the output's channels are the input's, one by one.
fn keeps_channels(kind: &LayerKind) -> bool {
    let mixes = matches!(kind, LayerKind::Conv2d(_) | LayerKind::Linear(_) | LayerKind::Flatten | LayerKind::Concat);
    !mixes && !matches!(kind, LayerKind::PadShortcut { .. })
}

/// Gives `layer` and what it keeps the channels of that order, back to the layer that makes them.
fn impose(declaration: &Declaration, inputs: &[Vec<Option<usize>>], layer: usize, order: &Order, orders: &mut [Order]) {
    let mut at = layer;
    loop {
        orders[at].clone_from(order);
        match inputs[at].first().copied().flatten() {
            Some(input) if keeps_channels(&declaration.layers[at].kind) => at = input,
            _ => break,
        }
    }
}
