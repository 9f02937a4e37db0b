//! The wish to stop. The first Ctrl-C stops after the step in progress, the second at once. SIGTERM, SIGHUP and SIGUSR1, by which
//! schedulers announce the end of a job, stop like the first. A signal that whoever started the program had ignored, as `nohup` does,
//! stays ignored.

use mrpf_api::context::Watcher;
use mrpf_api::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::event::{Event, EventSink};

/// Whether the user asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for signals; called once by the program.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the system does not let it listen.
    pub fn listen() -> Result<Self> {
        let interrupt = Self::default();
        #[cfg(unix)]
        signals::listen(interrupt.0.clone())
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

#[cfg(unix)]
mod signals {
    use super::{Arc, AtomicBool, ErrorKind, Ordering};
    use crate::failure::exit_code;
    use crate::output::print_error;
    use crate::plugin_library::agree_to_end;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    use signal_hook::iterator::Signals;
    use std::time::{Duration, Instant};

    /// The signals that ask to stop.
    const ASKING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1];

    /// What reaches the process again within this time is the same wish: `timeout` signals the process, and then its group.
    const SAME_WISH: Duration = Duration::from_secs(1);

    /// Sets the flag when a signal arrives.
    pub(super) fn listen(flag: Arc<AtomicBool>) -> std::io::Result<()> {
        let heard: Vec<i32> = ASKING.into_iter().filter(|&signal| !is_ignored(signal)).collect();
        let mut signals = Signals::new(heard)?;
        std::thread::spawn(move || {
            let mut first: Option<Instant> = None;
            for signal in signals.forever() {
                flag.store(true, Ordering::SeqCst);
                match first {
                    None => {
                        first = Some(Instant::now());
                        print_error("stopping after this step; Ctrl-C once more stops at once");
                    }
                    Some(first) if at_once(signal, first.elapsed()) => {
                        agree_to_end();
                        std::process::exit(i32::from(exit_code(ErrorKind::Interrupted)));
                    }
                    Some(_) => {}
                }
            }
        });
        Ok(())
    }

    /// Whether a signal that follows another one ends the program: a Ctrl-C does, and whoever insists.
    pub(super) fn at_once(signal: i32, since_first: Duration) -> bool {
        match signal {
            SIGINT => true,
            SIGUSR1 => false,
            _ => since_first > SAME_WISH,
        }
    }

    /// Whether whoever started the program had the signal ignored.
    fn is_ignored(signal: i32) -> bool {
        // SAFETY: all zeros are a valid `sigaction`.
        let mut found: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: with no new action this only writes the present one to `found`.
        let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &mut found) };
        asked == 0 && found.sa_sigaction == libc::SIG_IGN
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
    #[cfg(unix)]
    fn only_who_insists_stops_the_program_at_once() {
        use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
        let [soon, later] = [0, 5].map(std::time::Duration::from_secs);
        assert!(signals::at_once(SIGINT, soon) && signals::at_once(SIGTERM, later));
        assert!(!signals::at_once(SIGTERM, soon) && !signals::at_once(SIGUSR1, later));
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
