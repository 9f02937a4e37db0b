//! Channel groups: everything that must shrink together, found from the declaration alone.
//!
//! A group's *channel* is the unit of pruning. Removing one channel removes one or more positions on an axis of every member
//! tensor: the filters that produce it, the batch norms that pass it on, and the weights that consume it. A residual stream
//! is one group with many producers; the inside of a block is a group of its own; a flatten turns one channel into
//! `height * width` positions of the following linear layer.
//!
//! What goes with what, layer by layer:
//!
//! | layer | what may be removed |
//! | --- | --- |
//! | convolution, linear | filters or rows, with what reads them; in blocks of a grouped convolution the same place of each |
//! | depthwise convolution | with the channels that it reads |
//! | batch norm, activations, pooling, unfold, fold, resize | nothing by themselves: they pass channels on |
//! | add | what is added is one group; a concatenation keeps its inputs apart |
//! | attention by width | one place in every head: rows of query and key together; rows of value with the columns of what reads them |
//! | attention by head | a head: its rows of query, key and value, and the columns of what reads it |
//! | layer norm | nothing: its mean and variance run over all channels of a token, so that zeros count and missing channels do not |
//! | normalize, padding shortcut | nothing: they tie channels to their places |
//! | images, classes | nothing |

mod analyse;
mod atoms;
mod cost;
mod cut;
mod display;
mod fewest;
mod filters;
mod groups;
mod plan;
mod positions;
mod reduction;
mod widths;

pub use analyse::channel_groups;
pub use cost::{Cost, LayerCost, cost, layer_costs};
pub use cut::{cut, cut_declaration, mask};
pub use fewest::fewest_channels;
pub use groups::{ChannelGroup, Member, Role};
pub use plan::PruningPlan;
pub use positions::Positions;
pub use reduction::{CoupledWeights, Reduction};
pub(crate) use widths::CostByWidth;

#[cfg(test)]
pub(crate) mod tests;
