//! What the network is made of: layers that add channels, and transitions between blocks.

use mrpf_api::prelude::*;

/// How many times the growth a bottleneck has.
const BOTTLENECK: usize = 4;

/// Appends `growth` channels, computed from all channels so far, to them.
pub(crate) fn dense_layer(net: &mut Builder, name: &str, growth: usize, bottleneck: bool) {
    let input = net.current();
    net.batch_norm(&format!("{name}.bn1")).relu(&format!("{name}.relu1"));
    let (same, point) = (ConvGeometry::same3(), ConvGeometry::square(1));
    match bottleneck {
        false => net.conv(&format!("{name}.conv1"), growth, same, false),
        true => {
            net.conv(&format!("{name}.conv1"), BOTTLENECK * growth, point, false);
            net.batch_norm(&format!("{name}.bn2")).relu(&format!("{name}.relu2"));
            net.conv(&format!("{name}.conv2"), growth, same, false)
        }
    };
    net.concat(&format!("{name}.concat"), &[&input]);
}

/// Keeps a share of the channels, at least one, and halves the size.
pub(crate) fn transition(net: &mut Builder, name: &str, compression: f64) {
    let channels = net.shape().map_or(0, |shape| shape.channels());
    let kept = ((channels as f64 * compression) as usize).max(1);
    net.batch_norm(&format!("{name}.bn1")).relu(&format!("{name}.relu"));
    net.conv(&format!("{name}.conv1"), kept, ConvGeometry::square(1), false);
    net.avg_pool(&format!("{name}.pool"), PoolGeometry::square(2));
}
