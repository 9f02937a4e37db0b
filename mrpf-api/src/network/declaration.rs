//! A network as plain data: a list of layers in the order they run, each naming the layers it reads.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::layer_kind::LayerKind;
use super::limits::{self, Demand};
use super::shape::Shape;
use crate::data::ImageShape;
use crate::{Context, Error, ErrorKind, Result};

/// The name by which layers read the network's input images.
pub const INPUT: &str = "input";

/// A network: everything that the forward pass, the channel groups, the cost, the masks, the surgery and the saved file need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The architecture plugin that declared it, for example `resnet`.
    pub architecture: String,
    /// Shape of the images it takes.
    pub input: ImageShape,
    /// Number of classes, the width of the logits.
    pub classes: usize,
    /// The layers in topological order; the last one gives the logits `[batch, class]`.
    pub layers: Vec<Layer>,
}

/// One layer: a name, what it computes, and what it reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Unique name; parameters are called `<name>.weight`, `<name>.bias`.
    pub name: String,
    /// What it computes.
    #[serde(flatten)]
    pub kind: LayerKind,
    /// Names of earlier layers, or [`INPUT`].
    pub inputs: Vec<String>,
}

/// Layers by name with the positions of their inputs, and the shape of every layer's output: a checked declaration.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// For each layer, what it reads: `None` is the network's input, `Some(i)` is layer `i`.
    pub inputs: Vec<Vec<Option<usize>>>,
    /// Shape of each layer's output.
    pub shapes: Vec<Shape>,
    /// For each layer, the last layer that reads it (itself for the output).
    pub last_use: Vec<usize>,
}

impl Declaration {
    /// The layer with that name.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] with the nearest known names.
    pub fn layer(&self, name: &str) -> Result<&Layer> {
        let found = self.layers.iter().find(|layer| layer.name == name);
        found.ok_or_else(|| Error::unknown_name("layer", name, self.layers.iter().map(|layer| layer.name.as_str())))
    }

    /// The layers with a convolution or linear weight, in forward order: the modules whose sensitivity is measured.
    pub fn modules(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Conv2d(_) | LayerKind::Linear(_)))
    }

    /// Checks the whole declaration and resolves names to positions and shapes.
    ///
    /// # Errors
    /// [`ErrorKind::Declaration`] naming the first layer that does not fit and why.
    pub fn wiring(&self) -> Result<Wiring> {
        let wiring = self.partial_wiring()?;
        match wiring.shapes.last() {
            Some(Shape::Vector(features)) if *features == self.classes => Ok(wiring),
            Some(shape) => {
                let message = format!("the last layer gives {shape}, expected the logits [{}]", self.classes);
                Err(Error::new(ErrorKind::Declaration, message))
            }
            None => Err(Error::new(ErrorKind::Declaration, "the network has no layers")),
        }
    }

    /// Shape of each layer's output in a declaration whose last layer need not be the logits yet.
    pub(super) fn shapes(&self) -> Result<Vec<Shape>> {
        Ok(self.partial_wiring()?.shapes)
    }

    fn partial_wiring(&self) -> Result<Wiring> {
        let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
        let mut wiring = Wiring { inputs: Vec::new(), shapes: Vec::new(), last_use: Vec::new() };
        let mut demand = Demand::default();
        limits::check_header(&self.architecture, self.input, self.classes, self.layers.len())?;
        for (at, layer) in self.layers.iter().enumerate() {
            let about = || format!("layer `{}`", limits::shown(&layer.name));
            let wrong = |why: String| Error::new(ErrorKind::Declaration, why).context(about());
            limits::check_layer(&layer.name, layer.inputs.len()).context(about)?;
            let mut inputs = Vec::with_capacity(layer.inputs.len());
            for name in &layer.inputs {
                inputs.push(match name.as_str() {
                    INPUT => None,
                    name => Some(*positions.get(name).ok_or_else(|| {
                        wrong(format!("reads `{}`, which no earlier layer has", limits::shown(name)))
                    })?),
                });
            }
            let shapes: Vec<Shape> =
                inputs.iter().map(|input| input.map_or(Shape::Map(self.input), |i| wiring.shapes[i])).collect();
            let shape = layer.kind.output_shape(&shapes).context(about)?;
            demand.add(&layer.kind, inputs.len(), &shape).context(about)?;
            wiring.shapes.push(shape);
            wiring.last_use.push(at);
            inputs.iter().flatten().for_each(|&input| wiring.last_use[input] = at);
            wiring.inputs.push(inputs);
            if layer.name == INPUT || positions.insert(&layer.name, at).is_some() {
                return Err(wrong("the name is used twice".into()));
            }
        }
        Ok(wiring)
    }
}
