//! What every command asks before it computes anything.

use mrpf_api::Result;
use mrpf_api::network::Declaration;

use crate::event::{Event, EventSink};
use crate::experiment::Ahead;
use crate::pipeline::Session;

/// Fails with what would stop the work later, and warns of what people should know of it.
///
/// # Errors
/// As [`Ahead::foresee`].
pub fn foresee(session: &Session<'_>, network: &Declaration, ahead: &Ahead<'_>) -> Result<()> {
    for message in ahead.foresee(network)? {
        session.send(Event::Warning { about: "settings".into(), message });
    }
    Ok(())
}
