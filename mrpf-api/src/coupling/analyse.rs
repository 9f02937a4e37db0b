//! From a declaration to its channel groups.

use super::groups::ChannelGroup;
use crate::Result;
use crate::network::Declaration;

/// The channel groups of a network, in the forward order of their first producer; frozen ones included.
pub fn channel_groups(declaration: &Declaration) -> Result<Vec<ChannelGroup>> {
    declaration.wiring()?;
    Ok(Vec::new())
}
