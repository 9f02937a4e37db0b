//! Keeps what a data set tells of itself while it loads.

use std::sync::{Mutex, PoisonError};

use crate::event::{Event, EventSink};

/// Notes and warnings, in their order.
#[derive(Debug, Default)]
pub struct Told(Mutex<(Vec<String>, Vec<String>)>);

impl Told {
    /// The notes and the warnings.
    pub(super) fn into_parts(self) -> (Vec<String>, Vec<String>) {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for Told {
    fn send(&self, event: Event) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Note { message, .. } => told.0.push(message),
            Event::Warning { message, .. } => told.1.push(message),
            // Loading data tells nothing else that is kept.
            _ => {}
        }
    }
}
