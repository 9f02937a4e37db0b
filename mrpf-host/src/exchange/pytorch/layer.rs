//! How PyTorch computes what a layer computes. A new kind of layer is a new arm here, in both functions if it has weights.

use mrpf_api::network::{Attention, BatchNorm, Conv2d, LayerKind, LayerNorm, Linear, Shape};
use mrpf_api::numeric::PoolGeometry;
use mrpf_api::{Error, ErrorKind, Result};

/// The call that makes a layer which has tensors of its own; none for layers without.
pub(super) fn constructor(kind: &LayerKind) -> Option<String> {
    match kind {
        LayerKind::Normalize { mean, std } => Some(format!("Normalize({mean:?}, {std:?})")),
        LayerKind::Conv2d(conv) => Some(conv2d(conv)),
        LayerKind::BatchNorm(norm) => Some(batch_norm(norm)),
        LayerKind::Linear(Linear { in_features, out_features, bias }) => {
            let bias = if *bias { "" } else { ", bias=False" };
            Some(format!("nn.Linear({in_features}, {out_features}{bias})"))
        }
        LayerKind::LayerNorm(norm) => Some(layer_norm(norm)),
        _ => None,
    }
}

/// The expression for a layer's output: `module` is the layer's own if it has one, `inputs` are variables, `shape` that of the first.
///
/// # Errors
/// [`ErrorKind::Declaration`] for a kind that is not known here.
pub(super) fn expression(kind: &LayerKind, module: &str, inputs: &[String], shape: &Shape) -> Result<String> {
    let x = inputs.first().map_or("x", String::as_str);
    Ok(match kind {
        LayerKind::Normalize { .. }
        | LayerKind::Conv2d(_)
        | LayerKind::BatchNorm(_)
        | LayerKind::Linear(_)
        | LayerKind::LayerNorm(_) => {
            format!("{module}({x})")
        }
        LayerKind::Relu => format!("F.relu({x})"),
        LayerKind::Relu6 => format!("F.relu6({x})"),
        LayerKind::Silu => format!("F.silu({x})"),
        LayerKind::Gelu => format!("F.gelu({x})"),
        LayerKind::MaxPool(pool) => format!("F.max_pool2d({x}, {})", window(pool)),
        LayerKind::AvgPool(pool) => format!("F.avg_pool2d({x}, {})", window(pool)),
        LayerKind::GlobalAvgPool => format!("{x}.mean((2, 3))"),
        LayerKind::Add => inputs.join(" + "),
        LayerKind::Concat => format!("torch.cat([{}], 1)", inputs.join(", ")),
        LayerKind::Flatten => format!("{x}.flatten(1)"),
        LayerKind::PadShortcut { stride, channels } => {
            let added = channels.saturating_sub(shape.channels());
            format!("F.pad({x}[:, :, ::{stride}, ::{stride}], (0, 0, 0, 0, 0, {added}))")
        }
        LayerKind::Attention(Attention { heads, scale, .. }) => {
            format!("attention({}, heads={heads}, scale={scale:?})", inputs.join(", "))
        }
        LayerKind::Unfold { patch: [height, width] } => {
            let Shape::Map(map) = shape else { return Err(unexpected(kind, shape)) };
            // Rows of patches, rows in a patch, columns of patches, columns in a patch; then a sequence for each place in a patch.
            let (rows, columns) = (map.height / height, map.width / width);
            format!(
                "{x}.reshape({x}.shape[0], {}, {rows}, {height}, {columns}, {width}).permute(0, 3, 5, 2, 4, 1)\
                 .reshape({x}.shape[0], {}, {}, {})",
                map.channels,
                height * width,
                rows * columns,
                map.channels
            )
        }
        LayerKind::Fold { patch: [height, width], size } => {
            let Shape::Tokens(tokens) = shape else { return Err(unexpected(kind, shape)) };
            let (rows, columns) = (size[0] / height, size[1] / width);
            format!(
                "{x}.reshape({x}.shape[0], {height}, {width}, {rows}, {columns}, {}).permute(0, 5, 3, 1, 4, 2)\
                 .reshape({x}.shape[0], {}, {}, {})",
                tokens.channels, tokens.channels, size[0], size[1]
            )
        }
        LayerKind::Resize { size: [height, width] } => {
            format!("F.interpolate({x}, size=({height}, {width}), mode=\"bilinear\", align_corners=False)")
        }
    })
}

fn unexpected(kind: &LayerKind, shape: &Shape) -> Error {
    Error::new(ErrorKind::Declaration, format!("a {} layer cannot read {shape}", kind.name()))
}

/// What PyTorch takes when it is not told stays unsaid.
fn layer_norm(norm: &LayerNorm) -> String {
    let epsilon = if norm.epsilon == LayerNorm::new(norm.channels).epsilon {
        String::new()
    } else {
        format!(", eps={:?}", norm.epsilon)
    };
    format!("nn.LayerNorm({}{epsilon})", norm.channels)
}

fn conv2d(conv: &Conv2d) -> String {
    let geometry = &conv.geometry;
    let mut call = format!("nn.Conv2d({}, {}, {}", conv.in_channels, conv.out_channels, pair(geometry.kernel));
    if geometry.stride != [1; 2] {
        call += &format!(", stride={}", pair(geometry.stride));
    }
    if geometry.padding != [0; 2] {
        call += &format!(", padding={}", pair(geometry.padding));
    }
    if geometry.groups != 1 {
        call += &format!(", groups={}", geometry.groups);
    }
    if !conv.bias {
        call += ", bias=False";
    }
    call + ")"
}

/// What PyTorch takes when it is not told stays unsaid.
fn batch_norm(norm: &BatchNorm) -> String {
    let usual = BatchNorm::new(norm.channels);
    let mut call = format!("nn.BatchNorm2d({}", norm.channels);
    if norm.epsilon != usual.epsilon {
        call += &format!(", eps={:?}", norm.epsilon);
    }
    if norm.momentum != usual.momentum {
        call += &format!(", momentum={:?}", norm.momentum);
    }
    call + ")"
}

fn window(pool: &PoolGeometry) -> String {
    let padding = if pool.padding == [0; 2] { String::new() } else { format!(", padding={}", pair(pool.padding)) };
    format!("{}, stride={}{padding}", pair(pool.kernel), pair(pool.stride))
}

fn pair([height, width]: [usize; 2]) -> String {
    if height == width { height.to_string() } else { format!("({height}, {width})") }
}
