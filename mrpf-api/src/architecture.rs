//! Architectures: settings in, network declaration out.

use crate::Result;
use crate::data::ImageShape;
use crate::network::Declaration;

/// What the data asks of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchitectureRequest {
    /// Shape of the images.
    pub input: ImageShape,
    /// Number of classes.
    pub classes: usize,
    /// Mean of each channel, for the first layer.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, for the first layer.
    pub std: Vec<f64>,
}

/// Declares networks.
pub trait Architecture: Send {
    /// The network for the given data. Its first layer normalises, its last gives the logits.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Declaration`] if the images are too small for the network, [`crate::ErrorKind::Settings`] for settings
    /// that do not exist for it.
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration>;
}
