//! Channel groups: everything that must shrink together, found from the declaration alone.
//!
//! A group's *channel* is the unit of pruning. Removing one channel removes one or more positions on an axis of every member
//! tensor: the filters that produce it, the batch norms that pass it on, and the weights that consume it. A residual stream
//! is one group with many producers; the inside of a block is a group of its own; a flatten turns one channel into
//! `height * width` positions of the following linear layer.

mod analyse;
mod atoms;
mod cost;
mod cut;
mod display;
mod fewest;
mod filters;
mod groups;
mod plan;
mod widths;

pub use analyse::channel_groups;
pub use cost::{Cost, LayerCost, cost, layer_costs};
pub use cut::{cut, cut_declaration, mask};
pub use fewest::fewest_channels;
pub use groups::{ChannelGroup, Member, Role};
pub use plan::PruningPlan;
pub(crate) use widths::CostByWidth;

#[cfg(test)]
pub(crate) mod tests;
