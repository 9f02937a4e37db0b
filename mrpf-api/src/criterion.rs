//! Criteria: one score per channel of a group.

use crate::Result;
use crate::context::CallContext;
use crate::coupling::ChannelGroup;
use crate::data::LoadedData;
use crate::foresight::Foresight;
use crate::network::{Declaration, Network};

/// Scores channels; the lowest go first.
pub trait Criterion: Send {
    /// Asked before anything is computed: will it score the channels of this network?
    ///
    /// Who answers [`Foresight::Fits`] or [`Foresight::FitsBut`] must not refuse that network later.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Settings`] for what it will refuse, saying what it takes.
    fn check(&self, _network: &Declaration) -> Result<Foresight> {
        Ok(Foresight::Unknown)
    }

    /// Called once before the groups are scored; criteria that look at data gather what they need here.
    fn prepare(&mut self, _cx: &CallContext<'_>, _network: &Network, _data: &LoadedData) -> Result<()> {
        Ok(())
    }

    /// One finite score for each channel of `group`. The order in which groups are asked for must not matter.
    fn scores(&self, cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>>;
}
