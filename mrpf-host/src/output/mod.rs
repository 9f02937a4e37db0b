//! What a person or a program sees of a run: consumers of events.

mod colour;
mod dashboard;
mod forecast;
mod json_lines;
mod metrics_file;
mod plain;
mod print;
mod sentence;
mod tensorboard;
mod terminal;

use std::io::IsTerminal;

pub use forecast::forecast_text;
pub use metrics_file::MetricsFile;
pub use print::{check_printed, keep_output_apart, print_answer, print_error, print_text};
pub(crate) use sentence::{count, duration, percent};
pub use tensorboard::TensorBoard;

use crate::event::{Event, EventSink};

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Progress bars and lines, for people at a terminal.
    Terminal,
    /// What runs side by side, with bars and curves below the lines, for people at a terminal.
    Dashboard,
    /// One line an event, for files and pipes.
    Plain,
    /// One JSON object an event.
    JsonLines,
    /// Nothing.
    Quiet,
}

impl Style {
    /// Bars on a terminal that can move its cursor, lines elsewhere.
    pub fn detect() -> Self {
        let terminal = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        Self::of(terminal, std::env::var("TERM").ok().as_deref())
    }

    fn of(terminal: bool, term: Option<&str>) -> Self {
        if terminal && term != Some("dumb") { Self::Terminal } else { Self::Plain }
    }
}

/// A sink that stands between a run and the screen.
pub trait ConsoleSink: EventSink {
    /// The sink itself.
    fn events(&self) -> &dyn EventSink;

    /// Takes bars off the screen, so that what is printed next stands alone.
    fn close(&self) {}
}

/// The sink of a style.
pub fn console(style: Style) -> Box<dyn ConsoleSink> {
    match style {
        Style::Terminal => Box::new(terminal::Terminal::default()),
        Style::Dashboard => match dashboard::Dashboard::open() {
            Some(dashboard) => Box::new(dashboard),
            None => Box::new(terminal::Terminal::default()),
        },
        Style::Plain => Box::new(plain::Plain::default()),
        Style::JsonLines => Box::new(json_lines::JsonLines::default()),
        Style::Quiet => Box::new(Quiet),
    }
}

struct Quiet;

impl EventSink for Quiet {
    fn send(&self, _: Event) {}
}

impl ConsoleSink for Quiet {
    fn events(&self) -> &dyn EventSink {
        self
    }
}

/// Passes every event on to two sinks.
pub struct Both<'a>(
    /// Told first.
    pub &'a dyn EventSink,
    /// Told second.
    pub &'a dyn EventSink,
);

impl EventSink for Both<'_> {
    fn send(&self, event: Event) {
        self.0.send(event.clone());
        self.1.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_cannot_move_its_cursor_gets_lines() {
        assert_eq!(Style::of(true, Some("xterm")), Style::Terminal);
        assert_eq!(Style::of(true, None), Style::Terminal);
        assert_eq!(Style::of(true, Some("dumb")), Style::Plain);
        assert_eq!(Style::of(false, Some("xterm")), Style::Plain);
    }
}
