//! The two blocks that a MobileViT is made of.

use mrpf_api::network::{Attention, AttentionUnit, LayerKind, Shape};
use mrpf_api::prelude::*;

/// Height and width of a patch.
const PATCH: usize = 2;
/// How many times wider the feed-forward part is than the tokens.
const FEED_FORWARD: usize = 2;

/// The transformers of one block.
pub(crate) struct Transformers {
    /// Channels of each token.
    pub width: usize,
    /// Heads of each attention.
    pub heads: usize,
    /// How many there are.
    pub count: usize,
    /// What pruning removes from an attention at once.
    pub unit: AttentionUnit,
}

/// A convolution, a batch norm and a SiLU.
pub(crate) fn conv_norm_act(net: &mut Builder, name: &str, channels: usize, geometry: ConvGeometry) {
    conv_norm(net, name, channels, geometry);
    net.silu(&format!("{name}.act"));
}

fn conv_norm(net: &mut Builder, name: &str, channels: usize, geometry: ConvGeometry) {
    net.conv(&format!("{name}.conv"), channels, geometry, false).batch_norm(&format!("{name}.bn"));
}

fn width(net: &Builder) -> usize {
    net.shape().map_or(0, |shape| shape.channels())
}

/// As MobileNetV2's block, with SiLU: a 1x1 convolution widens, a depthwise one filters, a 1x1 convolution without activation narrows;
/// the input is added where the shape stays the same.
pub(crate) fn inverted_residual(net: &mut Builder, name: &str, expansion: usize, channels: usize, stride: usize) {
    let (input, before) = (net.current(), width(net));
    let (inner, point) = (before * expansion, ConvGeometry::square(1));
    conv_norm_act(net, &format!("{name}.conv1_1x1"), inner, point);
    conv_norm_act(net, &format!("{name}.conv2_kxk"), inner, ConvGeometry::same3().stride(stride).groups(inner));
    conv_norm(net, &format!("{name}.conv3_1x1"), channels, point);
    if stride == 1 && before == channels {
        net.add(&format!("{name}.add"), &input);
    }
}

/// Section 3.1 of the paper: convolutions look around each pixel, transformers from each pixel to those at the same place of all patches,
/// and a convolution fuses the result with the input.
pub(crate) fn mobilevit_block(net: &mut Builder, name: &str, transformers: &Transformers) {
    let (input, channels) = (net.current(), width(net));
    let part = |part: &str| format!("{name}.{part}");
    conv_norm_act(net, &part("conv_kxk"), channels, ConvGeometry::same3());
    net.conv(&part("conv_1x1"), transformers.width, ConvGeometry::square(1), false);
    let size = match net.shape() {
        Some(Shape::Map(map)) => [map.height, map.width],
        _ => [PATCH; 2],
    };
    let whole = size.map(|side| side.next_multiple_of(PATCH));
    if whole != size {
        net.resize(&part("enlarge"), whole);
    }
    net.unfold(&part("unfold"), PATCH);
    for at in 0..transformers.count {
        transformer(net, &part(&format!("transformer.{at}")), transformers);
    }
    net.layer_norm(&part("norm")).fold(&part("fold"), PATCH, whole);
    if whole != size {
        net.resize(&part("shrink"), size);
    }
    conv_norm_act(net, &part("conv_proj"), channels, ConvGeometry::square(1));
    net.concat(&part("concat"), &[&input]);
    conv_norm_act(net, &part("conv_fusion"), channels, ConvGeometry::same3());
}

/// Attention and a feed-forward part, each after a layer norm and added to what they read.
fn transformer(net: &mut Builder, name: &str, of: &Transformers) {
    let part = |part: &str| format!("{name}.{part}");
    let stream = net.current();
    net.layer_norm(&part("norm1"));
    let inputs = ["attn.query", "attn.key", "attn.value"].map(&part);
    for input in &inputs {
        net.from(&part("norm1")).linear(input, of.width);
    }
    let attention = LayerKind::Attention(Attention::new(of.width, of.heads, of.unit));
    net.layer(&part("attn"), attention, &[&inputs[0], &inputs[1], &inputs[2]]);
    net.linear(&part("attn.proj"), of.width).add(&part("add1"), &stream);
    net.layer_norm(&part("norm2"));
    net.linear(&part("mlp.fc1"), of.width * FEED_FORWARD).silu(&part("mlp.act")).linear(&part("mlp.fc2"), of.width);
    net.add(&part("add2"), &part("add1"));
}
