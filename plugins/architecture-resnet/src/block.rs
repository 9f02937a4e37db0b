//! The block that the network is made of.

use mrpf_api::network::LayerKind;
use mrpf_api::prelude::*;

use crate::{ResNet, Shortcut};

/// A bottleneck block ends with this many times the channels of its 3x3 convolution.
const EXPANSION: usize = 4;

impl ResNet {
    /// Appends a block whose 3x3 convolutions have `width` channels.
    ///
    /// A bottleneck block strides in its 3x3 convolution, as torchvision and most others do; the paper strides in the 1x1
    /// convolution before it.
    pub(crate) fn block(&self, net: &mut Builder, name: &str, width: usize, stride: usize) {
        let input = net.current();
        let before = net.shape().map_or(0, |shape| shape.channels());
        let (same, point) = (ConvGeometry::same3(), ConvGeometry::square(1));
        let (convolutions, after) = match self.bottleneck {
            false => (vec![(same.stride(stride), width), (same, width)], width),
            true => {
                let after = width * EXPANSION;
                (vec![(point, width), (same.stride(stride), width), (point, after)], after)
            }
        };
        let last = convolutions.len();
        for (number, (geometry, channels)) in (1..).zip(convolutions) {
            net.conv(&format!("{name}.conv{number}"), channels, geometry, false);
            net.batch_norm(&format!("{name}.bn{number}"));
            if number < last {
                net.relu(&format!("{name}.relu{number}"));
            }
        }
        let residual = net.current();
        let mut shortcut = input.clone();
        if stride != 1 || before != after {
            net.from(&input);
            self.shortcut(net, &format!("{name}.shortcut"), after, stride);
            shortcut = net.current();
        }
        net.from(&residual).add(&format!("{name}.add"), &shortcut).relu(&format!("{name}.relu{last}"));
    }

    fn shortcut(&self, net: &mut Builder, name: &str, channels: usize, stride: usize) {
        match self.shortcut {
            Shortcut::Projection => {
                net.conv(&format!("{name}.0"), channels, ConvGeometry::square(1).stride(stride), false);
                net.batch_norm(&format!("{name}.1"));
            }
            Shortcut::Padding => {
                let input = net.current();
                net.layer(name, LayerKind::PadShortcut { stride, channels }, &[&input]);
            }
        }
    }
}
