//! The dashboard of a running comparison: lines of what has happened scroll by as ever, and what runs now stands below them.

mod state;
mod view;

use ratatui::backend::CrosstermBackend;
use ratatui::text::Text;
use ratatui::widgets::{Paragraph, Widget, Wrap};
use ratatui::{Terminal, TerminalOptions, Viewport};
use std::io::{Stdout, stdout};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ConsoleSink;
use super::print::print_text;
use super::sentence::sentence;
use crate::event::{Event, EventSink};
use crate::safe_text::terminal as terminal_text;
use state::State;

/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(200);

/// Draws in a thread of its own, so that times move on while nothing happens.
pub(super) struct Dashboard {
    shared: Arc<Mutex<Shared>>,
    drawing: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

struct Shared {
    state: State,
    terminal: Option<Terminal<CrosstermBackend<Stdout>>>,
}

impl Dashboard {
    /// Takes lines at the bottom of the terminal; nothing where the terminal cannot say where its cursor is.
    pub(super) fn open() -> Option<Self> {
        let options = TerminalOptions { viewport: Viewport::Inline(view::HEIGHT) };
        let terminal = Terminal::with_options(CrosstermBackend::new(stdout()), options).ok()?;
        let shared = Arc::new(Mutex::new(Shared { state: State::default(), terminal: Some(terminal) }));
        let (stop, stopped) = channel();
        let drawn = shared.clone();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                locked(&drawn).draw();
            }
        });
        Some(Self { shared, drawing: Mutex::new(Some((stop, thread))) })
    }
}

impl Shared {
    fn draw(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            // A picture that cannot be drawn is drawn the next time.
            let _ = terminal.draw(|frame| view::draw(frame, &self.state, Instant::now()));
        }
    }

    /// Prints lines above the dashboard.
    fn print(&mut self, text: &str) {
        match &mut self.terminal {
            None => print_text(text),
            Some(terminal) => {
                let width = terminal.size().map_or(80, |size| size.width.max(1));
                let lines: usize =
                    text.lines().map(|line| line.chars().count().div_ceil(usize::from(width)).max(1)).sum();
                let text = terminal_text(text);
                let paragraph = Paragraph::new(Text::raw(text.as_ref())).wrap(Wrap { trim: false });
                let height = u16::try_from(lines).unwrap_or(u16::MAX);
                let _ = terminal.insert_before(height, |buffer| paragraph.render(buffer.area, buffer));
            }
        }
    }

    /// Gives the lines back and puts the cursor where they began.
    fn close(&mut self) {
        if let Some(mut terminal) = self.terminal.take() {
            let _ = terminal.clear();
            let _ = terminal.show_cursor();
        }
    }
}

impl EventSink for Dashboard {
    fn send(&self, event: Event) {
        let mut shared = locked(&self.shared);
        shared.state.note(&event);
        if matches!(event, Event::ComparisonFinished { .. }) {
            // The table stands alone, and can be copied.
            shared.close();
        }
        if let Some(line) = sentence(&event) {
            shared.print(&line);
        }
    }
}

impl ConsoleSink for Dashboard {
    fn events(&self) -> &dyn EventSink {
        self
    }

    fn close(&self) {
        if let Some((stop, thread)) = locked(&self.drawing).take() {
            drop(stop);
            let _ = thread.join();
        }
        locked(&self.shared).close();
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        ConsoleSink::close(self);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
