//! Ctrl-C: the first stops after the step in progress, the second at once.

use mrpf_api::context::Watcher;
use mrpf_api::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::event::{Event, EventSink};
use crate::failure::exit_code;
use crate::output::print_error;
use crate::plugin_library::agree_to_end;

/// Whether the user asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for Ctrl-C and termination; called once by the program.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the system does not let it listen.
    pub fn listen() -> Result<Self> {
        let interrupt = Self::default();
        let flag = interrupt.0.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                agree_to_end();
                std::process::exit(i32::from(exit_code(ErrorKind::Interrupted)));
            }
            print_error("stopping after this step; once more to stop at once");
        })
        .map_err(|error| Error::new(ErrorKind::Io, format!("cannot listen for Ctrl-C: {error}")))?;
        Ok(interrupt)
    }

    /// Stops also when the standard input ends, as it does when the process that started this one is no more.
    pub fn at_end_of_input(&self) {
        let flag = self.0.clone();
        std::thread::spawn(move || {
            // Whether it ends or cannot be read, nobody is there any more.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            flag.store(true, Ordering::SeqCst);
        });
    }

    /// A watcher that tells `events` of progress.
    pub fn watcher<'a>(&self, events: &'a dyn EventSink) -> HostWatcher<'a> {
        HostWatcher { interrupt: self.clone(), events }
    }
}

/// Shows the progress of long calls and passes on the wish to stop.
pub struct HostWatcher<'a> {
    interrupt: Interrupt,
    events: &'a dyn EventSink,
}

impl Watcher for HostWatcher<'_> {
    fn progress(&self, what: &str, done: usize, total: usize) {
        self.events.send(Event::Progress {
            what: what.into(),
            done,
            total,
            loss: None,
            accuracy: None,
            images_per_s: None,
            gpu_busy: None,
        });
    }

    fn warn(&self, message: &str) {
        self.events.send(Event::Warning { about: "memory".into(), message: message.into() });
    }

    fn interrupted(&self) -> bool {
        self.interrupt.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Event>>);

    impl EventSink for Kept {
        fn send(&self, event: Event) {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
        }
    }

    #[test]
    fn a_watcher_passes_on_the_wish_to_stop() {
        let (interrupt, events) = (Interrupt::default(), Kept::default());
        let watcher = interrupt.watcher(&events);
        assert!(!watcher.interrupted());
        // What the handler of the first Ctrl-C does.
        interrupt.0.store(true, Ordering::SeqCst);
        assert!(watcher.interrupted());
    }

    #[test]
    fn progress_becomes_an_event() {
        let (interrupt, events) = (Interrupt::default(), Kept::default());
        interrupt.watcher(&events).progress("module conv1", 2, 9);
        let kept = events.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (what, none) = ("module conv1".into(), None);
        assert_eq!(
            kept,
            [Event::Progress {
                what,
                done: 2,
                total: 9,
                loss: none,
                accuracy: none,
                images_per_s: none,
                gpu_busy: none
            }]
        );
    }
}
