//! The shape of a layer's output, and what its inputs must be like.

use super::layer_kind::LayerKind;
use super::limits;
use super::shape::{Shape, TokenShape};
use super::tokens::Attention;
use crate::data::ImageShape;
use crate::numeric::ConvGeometry;
use crate::{Error, ErrorKind, Result};

impl LayerKind {
    /// Shape of the output for inputs of the given shapes, which are within bounds as it is itself.
    pub(super) fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        limits::check_inputs(inputs.len())?;
        let shape = self.shape_of(inputs)?;
        limits::check_shape(&shape)?;
        Ok(shape)
    }

    fn shape_of(&self, inputs: &[Shape]) -> Result<Shape> {
        let wrong = |why: String| Err(Error::new(ErrorKind::Declaration, why));
        let (fits, expected) = match self {
            Self::Add | Self::Concat => (!inputs.is_empty(), "at least one"),
            Self::Attention(_) => (inputs.len() == 3, "queries, keys and values"),
            _ => (inputs.len() == 1, "one"),
        };
        if !fits {
            return wrong(format!("{} inputs, expected {expected}", inputs.len()));
        }
        let first = inputs[0];
        let channels_fit = |expected: usize| match first.channels() == expected {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Declaration, format!("reads {first}, expected {expected} channels"))),
        };
        match (self, first) {
            (Self::Normalize { mean, std }, Shape::Map(_)) => {
                channels_fit(mean.len())?;
                channels_fit(std.len())?;
                mean.iter().try_for_each(|&value| limits::check_number("a mean", value, true, "a number"))?;
                let deviation = |&value: &f64| limits::check_number("a deviation", value, value > 0.0, "one above 0");
                std.iter().try_for_each(deviation).map(|()| first)
            }
            (Self::Conv2d(conv), Shape::Map(map)) => {
                channels_fit(conv.in_channels)?;
                let ConvGeometry { kernel, stride, padding, .. } = conv.geometry;
                limits::check_window(kernel, stride, padding, map)?;
                let (height, width) =
                    conv.geometry.output_size(conv.in_channels, conv.out_channels, map.height, map.width)?;
                Ok(Shape::Map(ImageShape { channels: conv.out_channels, height, width }))
            }
            (Self::BatchNorm(norm), Shape::Map(_)) => {
                channels_fit(norm.channels)?;
                limits::check_number("an epsilon", norm.epsilon, norm.epsilon >= 0.0, "0 or more")?;
                let share = (0.0..=1.0).contains(&norm.momentum);
                limits::check_number("a momentum", norm.momentum, share, "0 to 1").map(|()| first)
            }
            (Self::Linear(linear), Shape::Vector(_)) => {
                channels_fit(linear.in_features).map(|()| Shape::Vector(linear.out_features))
            }
            (Self::Linear(linear), Shape::Tokens(tokens)) => channels_fit(linear.in_features)
                .map(|()| Shape::Tokens(TokenShape { channels: linear.out_features, ..tokens })),
            (Self::LayerNorm(norm), Shape::Tokens(_)) => {
                channels_fit(norm.channels)?;
                limits::check_number("an epsilon", norm.epsilon, norm.epsilon >= 0.0, "0 or more").map(|()| first)
            }
            (Self::Attention(attention), _) => attention.output_shape([inputs[0], inputs[1], inputs[2]]),
            (Self::Relu | Self::Relu6 | Self::Silu | Self::Gelu, _) => Ok(first),
            (Self::MaxPool(pool) | Self::AvgPool(pool), Shape::Map(map)) => {
                limits::check_window(pool.kernel, pool.stride, pool.padding, map)?;
                let (height, width) = pool.output_size(map.height, map.width)?;
                Ok(Shape::Map(ImageShape { height, width, ..map }))
            }
            (Self::GlobalAvgPool, Shape::Map(map)) => Ok(Shape::Vector(map.channels)),
            (Self::Flatten, Shape::Map(map)) => Ok(Shape::Vector(map.len())),
            (Self::Add, _) => match inputs.iter().find(|&&shape| shape != first) {
                None => Ok(first),
                Some(other) => wrong(format!("adds {other} to {first}")),
            },
            (Self::Concat, _) => {
                // Each is within bounds, and there are not many.
                let channels = inputs.iter().map(Shape::channels).sum();
                if matches!(first, Shape::Tokens(_)) {
                    return wrong(format!("a concat layer cannot read {first}"));
                }
                let joined = inputs.iter().try_fold((), |(), shape| match (shape, first) {
                    (Shape::Map(a), Shape::Map(b)) if (a.height, a.width) == (b.height, b.width) => Some(()),
                    (Shape::Vector(_), Shape::Vector(_)) => Some(()),
                    _ => None,
                });
                match (joined, first) {
                    (None, _) => wrong("joins maps of different sizes".into()),
                    (Some(()), Shape::Map(map)) => Ok(Shape::Map(ImageShape { channels, ..map })),
                    (Some(()), _) => Ok(Shape::Vector(channels)),
                }
            }
            (Self::PadShortcut { stride, channels }, Shape::Map(map)) => {
                if *channels < map.channels {
                    return wrong(format!("{channels} channels for an input of {first}, expected as many or more"));
                }
                limits::check_stride(*stride, map.height.min(map.width))?;
                let (height, width) = (map.height.div_ceil(*stride), map.width.div_ceil(*stride));
                Ok(Shape::Map(ImageShape { channels: *channels, height, width }))
            }
            (Self::Unfold { patch }, Shape::Map(map)) => {
                let size = [map.height, map.width];
                let [rows, columns] = patches(*patch, size)?;
                let [sequences, tokens] = [patch[0] * patch[1], rows * columns];
                Ok(Shape::Tokens(TokenShape { sequences, tokens, channels: map.channels }))
            }
            (Self::Fold { patch, size }, Shape::Tokens(tokens)) => {
                let [rows, columns] = patches(*patch, *size)?;
                if (tokens.sequences, tokens.tokens) != (patch[0] * patch[1], rows * columns) {
                    return wrong(format!("reads {first}, expected the patches {patch:?} of a map of {size:?}"));
                }
                Ok(Shape::Map(ImageShape { channels: tokens.channels, height: size[0], width: size[1] }))
            }
            (Self::Resize { size: [height, width] }, Shape::Map(map)) => {
                limits::check_resized([*height, *width])?;
                Ok(Shape::Map(ImageShape { height: *height, width: *width, ..map }))
            }
            (kind, shape) => wrong(format!("a {} layer cannot read {shape}", kind.name())),
        }
    }
}

impl Attention {
    fn output_shape(&self, [queries, keys, values]: [Shape; 3]) -> Result<Shape> {
        let wrong = |why: String| Err(Error::new(ErrorKind::Declaration, why));
        let Self { query_channels, value_channels, heads, scale, .. } = *self;
        let divided = |channels: usize| channels > 0 && heads > 0 && channels.is_multiple_of(heads);
        if !divided(query_channels) || !divided(value_channels) {
            return wrong(format!("{heads} heads do not divide {query_channels} and {value_channels} channels"));
        }
        if !(scale.is_finite() && scale > 0.0) {
            return wrong(format!("a scale of {scale}, expected one above 0"));
        }
        let Shape::Tokens(tokens) = queries else {
            return wrong(format!("an attention layer cannot read {queries}"));
        };
        let expected = |channels| Shape::Tokens(TokenShape { channels, ..tokens });
        for (what, found, channels) in
            [("queries", queries, query_channels), ("keys", keys, query_channels), ("values", values, value_channels)]
        {
            if found != expected(channels) {
                return wrong(format!("reads {what} of {found}, expected {}", expected(channels)));
            }
        }
        Ok(expected(value_channels))
    }
}

/// Patches along the height and the width of a map.
fn patches(patch: [usize; 2], size: [usize; 2]) -> Result<[usize; 2]> {
    let divides = |axis: usize| patch[axis] > 0 && size[axis] > 0 && size[axis].is_multiple_of(patch[axis]);
    match divides(0) && divides(1) {
        true => Ok([size[0] / patch[0], size[1] / patch[1]]),
        false => {
            let message = format!("patches of {patch:?} do not divide a map of {size:?}");
            Err(Error::new(ErrorKind::Declaration, message).hint("resize the map to a multiple of the patch before"))
        }
    }
}
