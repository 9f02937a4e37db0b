//! The inverted residual block.

use mrpf_api::prelude::*;

/// What one block is like.
pub(crate) struct Block {
    /// How many times wider the depthwise convolution is than the input.
    pub expansion: usize,
    /// Channels of the output.
    pub channels: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
}

/// A 1x1 convolution widens, a depthwise one filters, a 1x1 convolution without activation narrows; the input is added where the
/// shape stays the same.
pub(crate) fn inverted_residual(net: &mut Builder, name: &str, block: &Block) {
    let input = net.current();
    let before = net.shape().map_or(0, |shape| shape.channels());
    let (inner, point) = (before * block.expansion, ConvGeometry::square(1));
    let mut part = 0;
    if block.expansion != 1 {
        net.conv(&format!("{name}.conv.0.0"), inner, point, false);
        net.batch_norm(&format!("{name}.conv.0.1")).relu6(&format!("{name}.conv.0.2"));
        part += 1;
    }
    let depthwise = ConvGeometry::same3().stride(block.stride).groups(inner);
    net.conv(&format!("{name}.conv.{part}.0"), inner, depthwise, false);
    net.batch_norm(&format!("{name}.conv.{part}.1")).relu6(&format!("{name}.conv.{part}.2"));
    net.conv(&format!("{name}.conv.{}", part + 1), block.channels, point, false);
    net.batch_norm(&format!("{name}.conv.{}", part + 2));
    if block.stride == 1 && before == block.channels {
        net.add(&format!("{name}.add"), &input);
    }
}
