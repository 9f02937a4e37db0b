//! What the host lends a plugin for one call: random streams, progress, and the wish to stop.

use crate::random::Streams;
use crate::{Error, ErrorKind, Result};

/// Sees how a long call gets on and may ask it to stop. Implemented by the host.
pub trait Watcher: Send + Sync {
    /// `done` of `total` steps of `what` are finished.
    fn progress(&self, what: &str, done: usize, total: usize);

    /// Whether the user asked to stop.
    fn interrupted(&self) -> bool;
}

/// A watcher that shows nothing and never stops; for tests and for use as a library.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn progress(&self, _: &str, _: usize, _: usize) {}

    fn interrupted(&self) -> bool {
        false
    }
}

/// What a plugin may use beside its arguments.
#[derive(Clone)]
pub struct CallContext<'a> {
    /// Random streams of this call; all randomness of a plugin comes from them.
    pub streams: Streams,
    /// Progress and interruption.
    pub watcher: &'a dyn Watcher,
}

impl<'a> CallContext<'a> {
    /// A context with the given streams that nobody watches.
    pub fn unwatched(streams: Streams) -> CallContext<'static> {
        CallContext { streams, watcher: &Unwatched }
    }

    /// The same watcher with the streams below a name.
    #[must_use]
    pub fn child(&self, name: impl std::fmt::Display) -> CallContext<'a> {
        CallContext { streams: self.streams.child(name), watcher: self.watcher }
    }

    /// Reports progress, and fails when the user asked to stop.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`].
    pub fn step(&self, what: &str, done: usize, total: usize) -> Result<()> {
        self.watcher.progress(what, done, total);
        self.check_interrupt()
    }

    /// Fails when the user asked to stop; long loops ask once per step.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`].
    pub fn check_interrupt(&self) -> Result<()> {
        match self.watcher.interrupted() {
            true => Err(Error::new(ErrorKind::Interrupted, "stopped on request")),
            false => Ok(()),
        }
    }
}
