//! What work warns of, kept for a test to look at.

use mrpf_api::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Keeps what it is warned of.
#[derive(Default)]
pub struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    /// Everything so far, in order.
    pub fn told(self) -> Vec<String> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Warnings {
    fn progress(&self, _: &str, _: usize, _: usize) {}

    fn warn(&self, message: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message.into());
    }

    fn interrupted(&self) -> bool {
        false
    }
}
