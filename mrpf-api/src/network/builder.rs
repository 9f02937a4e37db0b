//! Declares a network layer by layer; what architecture plugins write with.

use std::collections::BTreeMap;

use super::declaration::{Declaration, INPUT, Layer};
use super::layer_kind::{BatchNorm, Conv2d, LayerKind, Linear};
use super::limits::LAYERS;
use super::shape::Shape;
use super::tokens::LayerNorm;
use crate::data::ImageShape;
use crate::numeric::{ConvGeometry, PoolGeometry};
use crate::{Error, ErrorKind, Result};

/// Collects layers, filling in channel counts from what each layer reads.
///
/// Every method appends a layer that reads the most recent one, or the one set by [`Builder::from`], and leaves itself as the
/// most recent one. The first mistake is kept and reported by [`Builder::finish`].
#[derive(Debug, Clone)]
pub struct Builder {
    declaration: Declaration,
    /// Of every layer so far whose inputs are known.
    shapes: BTreeMap<String, Shape>,
    current: String,
    mistake: Option<String>,
}

impl Builder {
    /// Starts a network for images of the given shape.
    pub fn new(architecture: &str, input: ImageShape, classes: usize) -> Self {
        let declaration = Declaration { architecture: architecture.into(), input, classes, layers: Vec::new() };
        let shapes = BTreeMap::from([(INPUT.into(), Shape::Map(input))]);
        Self { declaration, shapes, current: INPUT.into(), mistake: None }
    }

    /// The name of the most recent layer.
    pub fn current(&self) -> String {
        self.current.clone()
    }

    /// Continues from an earlier layer.
    pub fn from(&mut self, layer: &str) -> &mut Self {
        self.current = layer.into();
        self
    }

    /// Shape of the most recent layer's output.
    pub fn shape(&self) -> Option<Shape> {
        self.shapes.get(&self.current).copied()
    }

    /// Appends a layer of any kind that reads `inputs`.
    pub fn layer(&mut self, name: &str, kind: LayerKind, inputs: &[&str]) -> &mut Self {
        let read: Option<Vec<Shape>> = inputs.iter().map(|&input| self.shapes.get(input).copied()).collect();
        self.current = name.into();
        // One layer too many is enough to be refused in the end.
        if self.declaration.layers.len() > LAYERS {
            return self;
        }
        if let Some(shape) = read.and_then(|read| kind.output_shape(&read).ok()) {
            self.shapes.insert(name.into(), shape);
        }
        let inputs = inputs.iter().map(|&input| input.into()).collect();
        self.declaration.layers.push(Layer { name: name.into(), kind, inputs });
        self
    }

    /// Mean and standard deviation of each channel, the first layer of a network.
    pub fn normalize(&mut self, name: &str, mean: &[f64], std: &[f64]) -> &mut Self {
        self.unary(name, LayerKind::Normalize { mean: mean.into(), std: std.into() })
    }

    /// A convolution.
    pub fn conv(&mut self, name: &str, out_channels: usize, geometry: ConvGeometry, bias: bool) -> &mut Self {
        let in_channels = self.channels(name);
        self.unary(name, LayerKind::Conv2d(Conv2d { in_channels, out_channels, geometry, bias }))
    }

    /// A batch normalisation with PyTorch's defaults.
    pub fn batch_norm(&mut self, name: &str) -> &mut Self {
        let channels = self.channels(name);
        self.unary(name, LayerKind::BatchNorm(BatchNorm::new(channels)))
    }

    /// A fully connected layer with bias, on vectors or tokens.
    pub fn linear(&mut self, name: &str, out_features: usize) -> &mut Self {
        let in_features = self.channels(name);
        self.unary(name, LayerKind::Linear(Linear { in_features, out_features, bias: true }))
    }

    /// A rectified linear unit.
    pub fn relu(&mut self, name: &str) -> &mut Self {
        self.unary(name, LayerKind::Relu)
    }

    /// A rectified linear unit that ends at 6.
    pub fn relu6(&mut self, name: &str) -> &mut Self {
        self.unary(name, LayerKind::Relu6)
    }

    /// `x * sigmoid(x)`.
    pub fn silu(&mut self, name: &str) -> &mut Self {
        self.unary(name, LayerKind::Silu)
    }

    /// A layer normalisation with PyTorch's defaults.
    pub fn layer_norm(&mut self, name: &str) -> &mut Self {
        let channels = self.channels(name);
        self.unary(name, LayerKind::LayerNorm(LayerNorm::new(channels)))
    }

    /// From a map to tokens, by the place in square patches.
    pub fn unfold(&mut self, name: &str, patch: usize) -> &mut Self {
        self.unary(name, LayerKind::Unfold { patch: [patch; 2] })
    }

    /// From tokens by the place in square patches to a map of the given height and width.
    pub fn fold(&mut self, name: &str, patch: usize, size: [usize; 2]) -> &mut Self {
        self.unary(name, LayerKind::Fold { patch: [patch; 2], size })
    }

    /// To another height and width.
    pub fn resize(&mut self, name: &str, size: [usize; 2]) -> &mut Self {
        self.unary(name, LayerKind::Resize { size })
    }

    /// Maximum over windows.
    pub fn max_pool(&mut self, name: &str, geometry: PoolGeometry) -> &mut Self {
        self.unary(name, LayerKind::MaxPool(geometry))
    }

    /// Mean over windows.
    pub fn avg_pool(&mut self, name: &str, geometry: PoolGeometry) -> &mut Self {
        self.unary(name, LayerKind::AvgPool(geometry))
    }

    /// Mean over height and width.
    pub fn global_avg_pool(&mut self, name: &str) -> &mut Self {
        self.unary(name, LayerKind::GlobalAvgPool)
    }

    /// From maps to vectors.
    pub fn flatten(&mut self, name: &str) -> &mut Self {
        self.unary(name, LayerKind::Flatten)
    }

    /// Sum of the most recent layer and another.
    pub fn add(&mut self, name: &str, other: &str) -> &mut Self {
        let current = self.current();
        self.layer(name, LayerKind::Add, &[&current, other])
    }

    /// Channels of the most recent layer after those of earlier ones.
    pub fn concat(&mut self, name: &str, earlier: &[&str]) -> &mut Self {
        let current = self.current();
        let inputs: Vec<&str> = earlier.iter().copied().chain([current.as_str()]).collect();
        self.layer(name, LayerKind::Concat, &inputs)
    }

    /// The finished, checked declaration.
    ///
    /// # Errors
    /// [`ErrorKind::Declaration`] with the first layer that does not fit.
    pub fn finish(&self) -> Result<Declaration> {
        if let Some(mistake) = &self.mistake {
            return Err(Error::new(ErrorKind::Declaration, mistake.clone()));
        }
        self.declaration.wiring()?;
        Ok(self.declaration.clone())
    }

    fn unary(&mut self, name: &str, kind: LayerKind) -> &mut Self {
        let input = self.current();
        self.layer(name, kind, &[&input])
    }

    fn channels(&mut self, name: &str) -> usize {
        match self.shape() {
            Some(shape) => shape.channels(),
            None => {
                let wiring = self.declaration.shapes().err().map_or_else(String::new, |error| format!(": {error}"));
                self.mistake.get_or_insert(format!(
                    "layer `{name}` reads `{}`, whose shape is not known{wiring}",
                    self.current
                ));
                0
            }
        }
    }
}
