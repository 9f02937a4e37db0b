//! Loads a data set and passes on what it tells of itself.

use mrpf_api::context::Watcher;
use mrpf_api::data::{DataSource, LoadedData};
use mrpf_api::{Context, Result};
use std::path::Path;

use crate::event::{Event, EventSink};

/// Loads the data set of that name; its notes and warnings become events.
///
/// # Errors
/// As [`DataSource::load_watched`], with the data set's name.
pub fn load_data(
    name: &str,
    source: &dyn DataSource,
    directory: Option<&Path>,
    watcher: &dyn Watcher,
    events: &dyn EventSink,
) -> Result<LoadedData> {
    let about = format!("data set `{name}`");
    source.load_watched(directory, &Listener { about: &about, watcher, events }).context(|| about.clone())
}

/// Watches a data set while it loads.
struct Listener<'a> {
    about: &'a str,
    watcher: &'a dyn Watcher,
    events: &'a dyn EventSink,
}

impl Watcher for Listener<'_> {
    fn progress(&self, what: &str, done: usize, total: usize) {
        self.watcher.progress(what, done, total);
    }

    fn warn(&self, message: &str) {
        self.events.send(Event::Warning { about: self.about.into(), message: message.into() });
    }

    fn note(&self, message: &str) {
        self.events.send(Event::Note { about: self.about.into(), message: message.into() });
    }

    fn interrupted(&self) -> bool {
        self.watcher.interrupted()
    }
}
