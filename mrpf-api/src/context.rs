//! What the host lends a plugin for one call: random streams, progress, the wish to stop, and batches that a GPU has room for.

pub use crate::halving::Parts;

use crate::halving::Halving;
use crate::random::Streams;
use crate::{Error, ErrorKind, Result};

/// Sees how a long call gets on and may ask it to stop. Implemented by the host.
pub trait Watcher: Send + Sync {
    /// `done` of `total` steps of `what` are finished.
    fn progress(&self, what: &str, done: usize, total: usize);

    /// Something that the user should know: a sentence without a final stop.
    fn warn(&self, _message: &str) {}

    /// Something that the user may want to know, and that is nothing to worry about: a sentence without a final stop.
    fn note(&self, _message: &str) {}

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
    halving: Halving,
}

impl<'a> CallContext<'a> {
    /// A context with the given streams, watched by `watcher`.
    pub fn new(streams: Streams, watcher: &'a dyn Watcher) -> Self {
        Self { streams, watcher, halving: Halving::default() }
    }

    /// A context with the given streams that nobody watches.
    pub fn unwatched(streams: Streams) -> CallContext<'static> {
        CallContext::new(streams, &Unwatched)
    }

    /// The same watcher with the streams below a name.
    #[must_use]
    pub fn child(&self, name: impl std::fmt::Display) -> CallContext<'a> {
        CallContext { streams: self.streams.child(name), watcher: self.watcher, halving: self.halving.clone() }
    }

    /// The same with another watcher.
    #[must_use]
    pub fn watched_by<'b>(&self, watcher: &'b dyn Watcher) -> CallContext<'b> {
        CallContext { streams: self.streams.clone(), watcher, halving: self.halving.clone() }
    }

    /// The same as on a GPU whose memory has no room for more than so many images; for tests.
    #[must_use]
    pub fn short_of_memory(self, room: usize) -> Self {
        Self { halving: Halving::with_room(room), ..self }
    }

    /// `0..images` in ranges of at most `batch`, as [`slice::chunks`] has them, which get smaller where the memory of a GPU is full.
    ///
    /// [`Parts::next_part`] does some work on each in turn. Where there is no room for it, `release` gives back what is kept for passes to
    /// come ([`Network::release_memory`](crate::network::Network::release_memory)), and half of the images are tried. From then on, and for
    /// all who work in this context or a child of it, no range is longer than what had room; the user is told once.
    pub fn parts<F: Fn() -> Result<()>>(&self, images: usize, batch: usize, release: F) -> Parts<'a, F> {
        self.halving.parts(self.watcher, images, batch, release)
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
