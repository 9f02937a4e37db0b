//! One line an event, for files and pipes.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::ConsoleSink;
use super::print::print_text;
use super::sentence::{megabytes, sentence};
use crate::event::{Event, EventSink};

/// Long stretches without a line look like a hang; progress is told this often at most.
const PROGRESS_EVERY: Duration = Duration::from_secs(20);

/// Prints lines without bars and colours.
pub(super) struct Plain {
    last: Mutex<Instant>,
}

impl Default for Plain {
    fn default() -> Self {
        Self { last: Mutex::new(Instant::now()) }
    }
}

impl EventSink for Plain {
    fn send(&self, event: Event) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let progress = match &event {
            Event::Progress { what, done, total, .. } => Some(format!("  {what}: {done} of {total}")),
            Event::Downloading { file, bytes, total } => {
                Some(format!("  {file}: {} of {}", megabytes(*bytes), megabytes(*total)))
            }
            Event::JobTold { stage, told } if told["event"] == "progress" => Some(format!(
                "  {stage}: {}: {} of {}",
                told["what"].as_str().unwrap_or_default(),
                told["done"],
                told["total"]
            )),
            Event::JobTold { .. } => return,
            _ => None,
        };
        if let Some(line) = progress {
            if last.elapsed() >= PROGRESS_EVERY {
                *last = Instant::now();
                print_text(&line);
            }
            return;
        }
        *last = Instant::now();
        if let Some(line) = sentence(&event) {
            print_text(&line);
        }
    }
}

impl ConsoleSink for Plain {
    fn events(&self) -> &dyn EventSink {
        self
    }
}
