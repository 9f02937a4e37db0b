//! One JSON object an event, for programs.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::ConsoleSink;
use super::print::print_text;
use crate::event::{Event, EventSink};

/// Progress is told this often at most, and when it is complete.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Prints events as JSON Lines.
#[derive(Default)]
pub(super) struct JsonLines {
    last: Mutex<Option<Instant>>,
}

impl EventSink for JsonLines {
    fn send(&self, event: Event) {
        if event.is_progress() {
            let complete = match &event {
                Event::Progress { done, total, .. } => done >= total,
                Event::Downloading { bytes, total, .. } => bytes >= total,
                // That process has thinned its progress out itself.
                _ => true,
            };
            let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !complete && last.is_some_and(|last| last.elapsed() < PROGRESS_EVERY) {
                return;
            }
            *last = Some(Instant::now());
        }
        if let Ok(line) = serde_json::to_string(&event) {
            print_text(&line);
        }
    }
}

impl ConsoleSink for JsonLines {
    fn events(&self) -> &dyn EventSink {
        self
    }
}
