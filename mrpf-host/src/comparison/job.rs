//! A stage in a process of its own, so that one that fails takes no other with it.

use mrpf_api::{Error, ErrorKind, Result};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Instant;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::slots::Slot;

/// What the process of a stage prints, one event a line.
#[derive(Debug)]
pub struct Told {
    /// Which stage of the plan.
    pub stage: usize,
    /// The event, as JSON.
    pub event: Value,
}

/// A process at work.
#[derive(Debug)]
pub struct Job {
    /// Which stage of the plan.
    pub stage: usize,
    /// When it was started.
    pub start: Instant,
    /// Where it computes.
    pub slot: Slot,
    /// The most memory that it was seen to hold, in bytes.
    pub peak: u64,
    child: Child,
    // The process stops when this ends, and so also when this process is killed.
    stdin: Option<ChildStdin>,
    events: Option<JoinHandle<()>>,
    errors: Option<JoinHandle<String>>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The work is done.
    Well,
    /// It was asked to stop, and did after its step.
    Stopped,
    /// It failed; what it said.
    Failed(String),
    /// Its device failed, or could not be opened; what it said. Memory that is full does not count: it is no fault of the device.
    DeviceFailed(String),
}

impl Job {
    /// Starts a process; the events that it prints go to `told`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the system does not start it.
    pub fn start(stage: usize, slot: Slot, mut command: Command, told: Sender<Told>) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot start a process for a stage: {error}")))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let events = stdout.map(|stdout| {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                    if let Ok(event) = serde_json::from_str(&line) {
                        // Nobody listens any more when the comparison is stopping.
                        let _ = told.send(Told { stage, event });
                    }
                }
            })
        });
        let errors = stderr.map(|mut stderr| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                // What was read until then is shown.
                let _ = stderr.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        });
        Ok(Self { stage, slot, start: Instant::now(), peak: 0, child, stdin, events, errors })
    }

    /// Asks it to stop after its step.
    pub fn stop(&mut self) {
        self.stdin = None;
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the system cannot say.
    pub fn ended(&mut self) -> Result<Option<Ended>> {
        let status = self
            .child
            .try_wait()
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot ask for the process of a stage: {error}")))?;
        let Some(status) = status else { return Ok(None) };
        // Everything that it printed is told before its end is.
        let _ = self.events.take().map(JoinHandle::join);
        let said = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        Ok(Some(how(status, &said)))
    }

    /// Looks how much memory it holds.
    pub fn watch_memory(&mut self, system: &mut System) {
        let pid = Pid::from_u32(self.child.id());
        let what = ProcessRefreshKind::nothing().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
        let holds = system.process(pid).map_or(0, sysinfo::Process::memory);
        self.peak = self.peak.max(holds);
    }
}

impl Drop for Job {
    /// No process is left behind; what it has not saved is computed again.
    fn drop(&mut self) {
        self.stop();
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn how(status: ExitStatus, said: &str) -> Ended {
    let stopped = i32::from(crate::failure::exit_code(ErrorKind::Interrupted));
    match status.code() {
        Some(0) => Ended::Well,
        Some(code) if code == stopped => Ended::Stopped,
        code => {
            let said = said.trim().trim_start_matches("error: ");
            let ended = match code {
                Some(code) => format!("its process ended with code {code}"),
                None => "its process was killed by the system, most likely for want of memory: \
                         try --jobs 1, or a limit with --memory"
                    .to_owned(),
            };
            let said = if said.is_empty() { ended } else { said.to_owned() };
            let by_device = code == Some(i32::from(crate::failure::exit_code(ErrorKind::Device)));
            match by_device && !Error::new(ErrorKind::Device, said.as_str()).is_out_of_memory() {
                true => Ended::DeviceFailed(said),
                false => Ended::Failed(said),
            }
        }
    }
}
