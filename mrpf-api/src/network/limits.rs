//! What a declaration may ask for at most. A saved network may come from anybody, and its numbers must not decide how much memory or time
//! goes into reading it; the bounds lie far beyond every network that is in use.

use super::layer_kind::LayerKind;
use super::parameters::parameter_shapes;
use super::shape::Shape;
use crate::data::ImageShape;
use crate::{Error, ErrorKind, Result};

/// Layers of a network. What is done layer after layer may nest as deep.
pub(super) const LAYERS: usize = 5_000;
/// Inputs of one layer.
const INPUTS: usize = 1_024;
/// Bytes of a name.
const NAME: usize = 256;
/// Pixels along one side of the images or of a map.
const SIDE: usize = 1 << 14;
/// Pixels along one side of what a layer resizes to.
const RESIZED: usize = 1 << 12;
/// Channels of a map or of tokens.
const CHANNELS: usize = 1 << 18;
/// Features of a vector, classes among them.
const FEATURES: usize = 1 << 22;
/// Numbers that one layer gives for one image.
const VALUES: u128 = 1 << 31;
/// Channels and features of all layers together: analysing the coupling takes memory for each.
const ALL_CHANNELS: u128 = 1 << 24;
/// Parameters of a network that is only described.
const PARAMETERS: u128 = 1 << 40;
/// Parameters of a network that gets fresh weights, four bytes each or eight.
const INITIALISED: u128 = 1 << 32;
/// Multiply-accumulates of one image.
const MACS: u128 = 1 << 62;
/// Steps and kernels up to this are fine on sides of any size: strided layers stay in place when images are so small that one pixel is left.
const SMALL: usize = 64;

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Declaration, message)
}

fn at_most(what: &str, found: u128, most: u128) -> Result<()> {
    match found <= most {
        true => Ok(()),
        false => Err(wrong(format!("{found} {what}, expected at most {most}"))),
    }
}

/// The start of a name that may be far too long to be shown.
pub(super) fn shown(name: &str) -> String {
    match name.char_indices().nth(60) {
        Some((end, _)) if name.len() > NAME => format!("{}...", &name[..end]),
        _ => name.to_owned(),
    }
}

/// What can be told before any layer is looked at.
pub(super) fn check_header(architecture: &str, input: ImageShape, classes: usize, layers: usize) -> Result<()> {
    check_name("the architecture", architecture)?;
    if layers > LAYERS {
        return Err(wrong(format!("more than {LAYERS} layers")));
    }
    check_shape(&Shape::Map(input)).map_err(|error| error.context("the images"))?;
    match classes {
        0 => Err(wrong("0 classes, expected at least 1".into())),
        _ => at_most("classes", classes as u128, FEATURES as u128),
    }
}

/// A layer's name and how many it reads.
pub(super) fn check_layer(name: &str, inputs: usize) -> Result<()> {
    check_name("a layer", name)?;
    check_inputs(inputs)
}

pub(super) fn check_inputs(inputs: usize) -> Result<()> {
    at_most("inputs", inputs as u128, INPUTS as u128)
}

fn check_name(whose: &str, name: &str) -> Result<()> {
    match (1..=NAME).contains(&name.len()) {
        true => Ok(()),
        false => Err(wrong(format!("{whose} has a name of {} bytes, expected 1 to {NAME}", name.len()))),
    }
}

/// A shape whose sizes are above zero and within bounds, alone and multiplied.
pub(super) fn check_shape(shape: &Shape) -> Result<()> {
    let dims = shape.dims();
    if dims.contains(&0) {
        return Err(wrong(format!("a shape of {shape}, expected sizes above 0")));
    }
    match shape {
        Shape::Map(map) => {
            at_most("pixels along a side", map.height.max(map.width) as u128, SIDE as u128)?;
            at_most("channels", map.channels as u128, CHANNELS as u128)?;
        }
        Shape::Tokens(tokens) => at_most("channels", tokens.channels as u128, CHANNELS as u128)?,
        Shape::Vector(features) => at_most("features", *features as u128, FEATURES as u128)?,
    }
    // Three numbers of 64 bits may be more than 128 hold.
    let values = dims.iter().try_fold(1_u128, |product, &size| product.checked_mul(size as u128));
    at_most("values for each image", values.unwrap_or(u128::MAX), VALUES)
}

/// Height and width that a layer resizes to.
pub(super) fn check_resized(size: [usize; 2]) -> Result<()> {
    match size.iter().all(|side| (1..=RESIZED).contains(side)) {
        true => Ok(()),
        false => Err(wrong(format!("resizes to {}x{}, expected sides of 1 to {RESIZED}", size[0], size[1]))),
    }
}

/// Kernel, stride and padding of windows on a map: none may be larger than is of use there.
pub(super) fn check_window(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], map: ImageShape) -> Result<()> {
    for (axis, side) in [map.height, map.width].into_iter().enumerate() {
        let (kernel, stride, padding) = (kernel[axis], stride[axis], padding[axis]);
        if kernel > side.max(SMALL) {
            return Err(wrong(format!(
                "a kernel of {kernel} on a side of {side}, expected at most {}",
                side.max(SMALL)
            )));
        }
        if padding > 0 && padding >= kernel {
            let why = "a window that lies in the padding sees nothing";
            return Err(wrong(format!("padding {padding} for a kernel of {kernel}, expected less: {why}")));
        }
        check_stride(stride, side + 2 * padding)?;
    }
    Ok(())
}

/// A step along a side.
pub(super) fn check_stride(stride: usize, side: usize) -> Result<()> {
    match (1..=side.max(SMALL)).contains(&stride) {
        true => Ok(()),
        false => Err(wrong(format!("stride {stride} on a side of {side}, expected 1 to {}", side.max(SMALL)))),
    }
}

/// A number that a layer computes with.
pub(super) fn check_number(what: &str, value: f64, fits: bool, expected: &str) -> Result<()> {
    match value.is_finite() && fits {
        true => Ok(()),
        false => Err(wrong(format!("{what} of {value}, expected {expected}"))),
    }
}

/// What all layers so far ask for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demand {
    nested: u128,
    channels: u128,
    parameters: u128,
    macs: u128,
}

impl Demand {
    /// Adds a layer whose own numbers and shape have been checked.
    pub fn add(&mut self, kind: &LayerKind, inputs: usize, output: &Shape) -> Result<()> {
        let product =
            |sizes: &[usize]| sizes.iter().fold(1_u128, |product, &size| product.saturating_mul(size as u128));
        let shapes = parameter_shapes(kind);
        let weights = |(role, shape): &(&str, Vec<usize>)| if *role == "weight" { product(shape) } else { 0 };
        let places = output.places() as u128;
        let macs = match kind {
            LayerKind::Conv2d(_) | LayerKind::Linear(_) => {
                places.saturating_mul(shapes.iter().map(weights).fold(0, u128::saturating_add))
            }
            LayerKind::Attention(attention) => {
                let tokens = match output {
                    Shape::Tokens(tokens) => tokens.tokens,
                    Shape::Map(_) | Shape::Vector(_) => 1,
                };
                let channels = attention.query_channels as u128 + attention.value_channels as u128;
                places.saturating_mul(tokens as u128).saturating_mul(channels)
            }
            _ => 0,
        };
        // A sum of many is made of sums of two.
        let nested = if *kind == LayerKind::Add { inputs.saturating_sub(1).max(1) } else { 1 };
        self.nested = self.nested.saturating_add(nested as u128);
        at_most("layers and additions up to this one", self.nested, LAYERS as u128)?;
        self.channels = self.channels.saturating_add(output.channels() as u128);
        self.parameters = shapes.iter().map(|(_, shape)| product(shape)).fold(self.parameters, u128::saturating_add);
        self.macs = self.macs.saturating_add(macs);
        at_most("channels in all layers up to this one", self.channels, ALL_CHANNELS)?;
        at_most("parameters in all layers up to this one", self.parameters, PARAMETERS)?;
        at_most("multiply-accumulates in all layers up to this one", self.macs, MACS)
    }
}

/// Whether fresh weights may be made for this many parameters; only what somebody asks for by settings gets any.
pub(super) fn check_initialised(parameters: u128) -> Result<()> {
    at_most("parameters", parameters, INITIALISED).map_err(|error| {
        let hint = "the network does not fit into memory; give its architecture a smaller width or depth";
        error.with_kind(ErrorKind::Settings).hint(hint)
    })
}

#[cfg(test)]
mod tests;
