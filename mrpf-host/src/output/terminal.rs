//! Progress bars and lines, for people at a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;

use super::ConsoleSink;
use super::colour::{self, wanted};
use super::print::{print_coloured, print_text};
use super::sentence::{percent, sentence};
use crate::device::busy_text;
use crate::event::{Event, EventSink};
use crate::safe_text::one_line;

/// What a bar shows that counts steps.
const STEPS: &str = "  {prefix}  {bar:28} {pos}/{len}  {msg}  {eta} left";
/// What a bar shows that counts bytes.
const BYTES: &str = "  {prefix}  {bar:28} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";

/// A bar for what is in progress, and lines above it for what has happened.
pub(super) struct Terminal {
    bar: Mutex<Option<(String, ProgressBar)>>,
    colours: bool,
}

impl Default for Terminal {
    fn default() -> Self {
        let variable = |name| std::env::var(name).ok();
        let colours = wanted(variable("NO_COLOR").as_deref(), variable("TERM").as_deref());
        Self { bar: Mutex::default(), colours }
    }
}

impl Terminal {
    fn progress(&self, what: &str, done: u64, total: u64, shape: &str, message: String) {
        let mut slot = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A new task gets a new bar, so that its time left is its own; modules of one measurement share theirs.
        let task = what.split_whitespace().next().unwrap_or_default();
        let same =
            slot.as_ref().is_some_and(|(of, bar)| of == task && bar.length() == Some(total) && bar.position() <= done);
        if !same {
            if let Some((_, old)) = slot.take() {
                old.finish_and_clear();
            }
            let bar = ProgressBar::new(total);
            bar.set_style(ProgressStyle::with_template(shape).unwrap_or_else(|_| ProgressStyle::default_bar()));
            *slot = Some((task.to_owned(), bar));
        }
        if let Some((_, bar)) = slot.as_ref() {
            bar.set_prefix(one_line(what).into_owned());
            bar.set_message(one_line(&message).into_owned());
            bar.set_position(done);
            if done >= total {
                bar.finish_and_clear();
            }
        }
    }
}

impl EventSink for Terminal {
    fn send(&self, event: Event) {
        if let Event::Progress { what, done, total, loss, accuracy, images_per_s, gpu_busy } = &event {
            let parts = [
                loss.map(|loss| format!("loss {loss:.3}")),
                accuracy.map(percent),
                images_per_s.map(|rate| format!("{rate:.0} images/s")),
                gpu_busy.map(busy_text),
            ];
            let message = parts.into_iter().flatten().collect::<Vec<_>>().join("  ");
            self.progress(what, *done as u64, *total as u64, STEPS, message);
            return;
        }
        if let Event::Downloading { file, bytes, total } = &event {
            self.progress(file, *bytes, *total, BYTES, String::new());
            return;
        }
        if let Event::JobTold { stage, told } = &event {
            let number = |key: &str| told[key].as_u64();
            if let (Some(done), Some(total)) = (number("done"), number("total")) {
                self.progress(stage, done, total, STEPS, told["what"].as_str().unwrap_or_default().to_owned());
            }
            return;
        }
        let Some(line) = sentence(&event) else { return };
        let print = || match colour::of(&event).filter(|_| self.colours) {
            Some(colour) => print_coloured(colour, &line),
            None => print_text(&line),
        };
        let slot = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match slot.as_ref() {
            Some((_, bar)) if !bar.is_finished() => bar.suspend(print),
            _ => print(),
        }
    }
}

impl ConsoleSink for Terminal {
    fn events(&self) -> &dyn EventSink {
        self
    }

    fn close(&self) {
        if let Some((_, bar)) = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}
