//! Shapes of values inside a network.

use crate::data::ImageShape;

/// Shape of what a layer gives, without the batch axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `[channel, height, width]`.
    Map(ImageShape),
    /// `[feature]`.
    Vector(usize),
    /// `[sequence, token, channel]`: what [`super::LayerKind::Unfold`] makes of a map.
    Tokens(TokenShape),
}

/// Sequences of tokens; a token is a vector of channels, and attention is paid within its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenShape {
    /// Sequences of one image, apart from one another.
    pub sequences: usize,
    /// Tokens in each sequence.
    pub tokens: usize,
    /// Width of a token.
    pub channels: usize,
}

impl Shape {
    /// Channels of a map or of tokens, features of a vector.
    pub fn channels(&self) -> usize {
        match self {
            Self::Map(shape) => shape.channels,
            Self::Vector(features) => *features,
            Self::Tokens(shape) => shape.channels,
        }
    }

    /// How often the channels stand in one image: the pixels of a map, the tokens of all sequences, 1 for a vector.
    pub fn places(&self) -> usize {
        match self {
            Self::Map(shape) => shape.height * shape.width,
            Self::Vector(_) => 1,
            Self::Tokens(shape) => shape.sequences * shape.tokens,
        }
    }

    /// The lengths of the axes.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Self::Map(shape) => shape.dims().into(),
            Self::Vector(features) => vec![*features],
            Self::Tokens(TokenShape { sequences, tokens, channels }) => vec![*sequences, *tokens, *channels],
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}
