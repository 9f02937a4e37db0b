//! Weights of networks whose padding shortcuts put zero channels on both sides, ordered as ours, which put them behind.
//!
//! Where the zeros lie is a matter of the order of channels: the same order in all weights of a stage gives the same function.

use mrpf_api::candle_core::{Device, Tensor};
use mrpf_api::network::{Declaration, LayerKind, Weights, Wiring};
use mrpf_api::{Error, ErrorKind, Result};

/// For each of our channels, which one it is in the file.
type Order = Vec<u32>;

/// Brings `tensors`, parameters and running statistics by our names, from centred padding into our order.
///
/// # Errors
/// [`ErrorKind::Declaration`] for networks in which a reordered map is flattened, joined or read by groups.
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
    let mut orders: Vec<Order> = wiring.shapes.iter().map(|shape| (0..shape.channels() as u32).collect()).collect();
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
                if let Some(&ordered) = inputs.iter().find(|&&input| !is_plain(&orders[input])) {
                    let order = orders[ordered].clone();
                    // What is added comes out of a convolution, and takes on the order there.
                    for &input in inputs.iter().filter(|&&input| input != ordered) {
                        impose(declaration, &wiring, input, &order, &mut orders);
                    }
                    orders[at] = order;
                }
            }
            (kind, &[input]) if keeps_channels(kind) => orders[at] = orders[input].clone(),
            _ => {}
        }
    }
    check(declaration, &wiring, &orders)?;
    Ok(orders)
}

fn is_plain(order: &Order) -> bool {
    order.iter().zip(0..).all(|(&channel, place)| channel == place)
}

/// Whether the output's channels are the input's, one by one.
fn keeps_channels(kind: &LayerKind) -> bool {
    use LayerKind::*;
    matches!(kind, BatchNorm(_) | Relu | Relu6 | Silu | Gelu | MaxPool(_) | AvgPool(_) | GlobalAvgPool | Add)
}

/// Gives `layer` that order, and what it keeps the channels of, back to the layer that makes them.
fn impose(declaration: &Declaration, wiring: &Wiring, layer: usize, order: &Order, orders: &mut [Order]) {
    let mut at = Some(layer);
    while let Some(layer) = at {
        orders[layer] = order.clone();
        at = match keeps_channels(&declaration.layers[layer].kind) {
            true => wiring.inputs[layer].first().copied().flatten(),
            false => None,
        };
    }
}

/// Refuses networks in which something else than whole convolutions and linear layers would have to be reordered.
fn check(declaration: &Declaration, wiring: &Wiring, orders: &[Order]) -> Result<()> {
    for (at, layer) in declaration.layers.iter().enumerate() {
        let mut inputs = wiring.inputs[at].iter().copied().flatten().map(|input| &orders[input]);
        let fits = match &layer.kind {
            LayerKind::PadShortcut { .. } | LayerKind::Linear(_) => true,
            LayerKind::Conv2d(conv) if conv.geometry.groups == 1 => true,
            kind if keeps_channels(kind) => inputs.all(|input| *input == orders[at]),
            _ => is_plain(&orders[at]) && inputs.all(is_plain),
        };
        if !fits {
            let message = "padding shortcuts with zeros on both sides order its channels, and it cannot be reordered";
            return Err(Error::new(ErrorKind::Declaration, message).context(format!("layer `{}`", layer.name)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::data::ImageShape;
    use mrpf_api::network::Builder;
    use mrpf_api::numeric::ConvGeometry;

    fn padded(end: impl Fn(&mut Builder)) -> Result<Vec<Order>> {
        let mut net = Builder::new("padded", ImageShape { channels: 3, height: 4, width: 4 }, 5);
        net.conv("stem", 2, ConvGeometry::same3(), false);
        net.layer("pad", LayerKind::PadShortcut { stride: 1, channels: 4 }, &["stem"]);
        net.from("stem").conv("conv", 4, ConvGeometry::same3(), false).batch_norm("bn").add("sum", "pad");
        end(&mut net);
        orders(&net.finish()?)
    }

    #[test]
    fn the_order_reaches_the_convolution_that_is_added_and_ends_at_the_next() -> Result<()> {
        let found = padded(|net| {
            net.global_avg_pool("pool").linear("fc", 5);
        })?;
        let ordered = vec![1, 2, 0, 3];
        assert_eq!(found[0], [0, 1]);
        assert!(found[1..6].iter().all(|order| *order == ordered), "{found:?}");
        assert!(is_plain(&found[6]));
        Ok(())
    }

    #[test]
    fn what_cannot_be_reordered_is_refused() {
        let flat = padded(|net| {
            net.flatten("flat").linear("fc", 5);
        });
        let grouped = padded(|net| {
            net.conv("grouped", 4, ConvGeometry::same3().groups(2), false).global_avg_pool("pool").linear("fc", 5);
        });
        for (found, name) in [(flat, "layer `flat`"), (grouped, "layer `grouped`")] {
            assert!(found.expect_err(name).to_string().starts_with(name));
        }
    }
}
