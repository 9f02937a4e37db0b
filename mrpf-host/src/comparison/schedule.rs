//! Which stage is computed when: several processes at a time, within the given cores and memory.

use mrpf_api::context::Watcher;
use mrpf_api::{Error, ErrorKind, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use sysinfo::System;

use super::job::{Ended, Job, Told};
use super::plan::Plan;
use super::slots::Slots;
use super::stage::Stage;
use super::store::Store;
use crate::device::DeviceChoice;
use crate::event::{Event, EventSink};

/// How often processes are looked after.
const EVERY: Duration = Duration::from_millis(50);

/// What the stages may use together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Threads.
    pub cores: usize,
    /// Where stages are computed; at least one device.
    pub devices: Vec<DeviceChoice>,
    /// Processes at a time on each device.
    pub jobs: usize,
    /// Bytes of memory.
    pub memory: u64,
}

impl Limits {
    /// Processes at a time on all devices together.
    pub fn together(&self) -> usize {
        self.jobs * self.devices.len()
    }
}

/// How a stage is to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    /// Threads.
    pub threads: usize,
    /// The device.
    pub device: DeviceChoice,
}

/// Makes the process of a stage.
pub type MakeProcess<'a> = dyn Fn(&Stage, Means) -> Command + 'a;

/// How the stages came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Done before.
    pub reused: usize,
    /// Computed now.
    pub computed: usize,
    /// Failed, or not begun because one before them failed.
    pub failed: usize,
    /// Those of them that failed by their device, and those that no device was left for.
    pub by_device: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Done,
    Failed,
}

/// The stages of a plan on their way.
pub struct Schedule<'a> {
    plan: &'a Plan,
    store: &'a Store,
    limits: Limits,
    slots: Slots,
    events: &'a dyn EventSink,
    watcher: &'a dyn Watcher,
    states: Vec<State>,
    running: Vec<Job>,
    tally: Tally,
    started: usize,
    /// The most memory that a stage of each kind was seen to hold.
    peaks: BTreeMap<String, u64>,
    /// The last outcome that each process told.
    summaries: BTreeMap<usize, String>,
    /// The stages whose device failed once, with the device.
    again: BTreeMap<usize, DeviceChoice>,
    /// Where the system tells what a process holds.
    system: Option<System>,
}

impl<'a> Schedule<'a> {
    /// A schedule that finds out what is done already.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if a stage's notes cannot be read.
    pub fn new(
        plan: &'a Plan,
        store: &'a Store,
        limits: Limits,
        events: &'a dyn EventSink,
        watcher: &'a dyn Watcher,
    ) -> Result<Self> {
        let mut states = Vec::with_capacity(plan.stages.len());
        for stage in &plan.stages {
            states.push(if store.done(&stage.key)?.is_some() { State::Done } else { State::Waiting });
        }
        let reused = states.iter().filter(|state| **state == State::Done).count();
        Ok(Self {
            plan,
            store,
            slots: Slots::new(limits.devices.clone(), limits.jobs),
            limits,
            events,
            watcher,
            states,
            running: Vec::new(),
            tally: Tally { reused, ..Tally::default() },
            started: 0,
            peaks: BTreeMap::new(),
            summaries: BTreeMap::new(),
            again: BTreeMap::new(),
            system: System::new().ok(),
        })
    }

    /// How many stages were done before.
    pub fn reused(&self) -> usize {
        self.tally.reused
    }

    /// The stages that are not done, in their order.
    pub fn to_compute(&self) -> Vec<String> {
        let waiting = |at: &usize| self.states[*at] == State::Waiting;
        (0..self.states.len()).filter(waiting).map(|at| self.plan.stages[at].name.clone()).collect()
    }

    /// Computes what is not done.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] when the user asked to stop; what was done so far is kept. A stage that fails is no error.
    pub fn run(mut self, command: &MakeProcess<'_>) -> Result<Tally> {
        let (sender, receiver) = channel();
        loop {
            if self.watcher.interrupted() {
                return self.stop(&receiver);
            }
            while let Some(next) = self.next() {
                self.start(next, command, &sender)?;
            }
            if self.running.is_empty() {
                break;
            }
            self.listen(&receiver);
            self.look_after()?;
        }
        self.tally.failed = self.states.iter().filter(|state| **state != State::Done).count();
        if self.slots.len() == 0 {
            self.tally.by_device += (0..self.states.len()).filter(|&at| self.ready(at)).count();
        }
        Ok(self.tally)
    }

    /// The first stage that can begin now.
    fn next(&self) -> Option<usize> {
        let begins = |at: &usize| self.ready(*at) && self.slots.offers(self.again.get(at).copied());
        let next = (0..self.states.len()).find(begins)?;
        let held: u64 =
            self.running.iter().map(|job| job.peak.max(self.expected(job.stage))).fold(0, u64::saturating_add);
        // One process is always let run: a limit that is too small for one cannot be kept anyway.
        let fits = self.running.is_empty() || held.saturating_add(self.expected(next)) <= self.limits.memory;
        fits.then_some(next)
    }

    fn ready(&self, at: usize) -> bool {
        let done = |key: &String| self.states[self.place(key)] == State::Done;
        self.states[at] == State::Waiting && self.plan.stages[at].work.needs().all(done)
    }

    fn place(&self, key: &str) -> usize {
        self.plan.stages.iter().position(|stage| stage.key == key).unwrap_or_default()
    }

    /// What a stage will hold, after others of its kind; after any other where there was none.
    fn expected(&self, at: usize) -> u64 {
        let most = || self.peaks.values().copied().max().unwrap_or_default();
        self.peaks.get(kind(&self.plan.stages[at])).copied().unwrap_or_else(most)
    }

    fn start(&mut self, at: usize, command: &MakeProcess<'_>, told: &Sender<Told>) -> Result<()> {
        let stage = &self.plan.stages[at];
        // A stage beside which nothing else can run gets every core.
        let beside = (0..self.states.len()).filter(|&other| other != at && self.ready(other)).count();
        let together = (1 + beside + self.running.len()).min(self.slots.len()).max(1);
        let threads = (self.limits.cores / together).max(1);
        self.store.prepare(stage)?;
        let Some(slot) = self.slots.take(self.again.get(&at).copied()) else { return Ok(()) };
        let means = Means { threads, device: slot.device() };
        self.running.push(Job::start(at, slot, command(stage, means), told.clone())?);
        self.states[at] = State::Running;
        self.started += 1;
        let of = self.states.len() - self.tally.reused;
        let device = (self.limits.devices.len() > 1).then(|| means.device.to_string());
        self.events.send(Event::JobStarted { stage: stage.name.clone(), number: self.started, of, threads, device });
        Ok(())
    }

    /// Passes on what processes tell, for a moment.
    fn listen(&mut self, receiver: &Receiver<Told>) {
        let mut next = receiver.recv_timeout(EVERY).ok();
        while let Some(Told { stage, event }) = next {
            if let Some(summary) = summary(&event) {
                self.summaries.insert(stage, summary);
            }
            self.events.send(Event::JobTold { stage: self.plan.stages[stage].name.clone(), told: event });
            next = receiver.try_recv().ok();
        }
    }

    fn look_after(&mut self) -> Result<()> {
        let mut at = 0;
        while at < self.running.len() {
            let job = &mut self.running[at];
            if let Some(system) = &mut self.system {
                job.watch_memory(system);
            }
            match job.ended()? {
                None => at += 1,
                Some(ended) => {
                    let job = self.running.remove(at);
                    self.end(&job, ended)?;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, job: &Job, ended: Ended) -> Result<()> {
        let stage = &self.plan.stages[job.stage];
        let peak = self.peaks.entry(kind(stage).to_owned()).or_default();
        *peak = job.peak.max(*peak);
        let ended = match ended {
            Ended::Well if self.store.done(&stage.key)?.is_none() => {
                Ended::Failed("its process ended without a result".into())
            }
            ended => ended,
        };
        match &ended {
            Ended::DeviceFailed(reason) => return self.device_failed(job, reason),
            _ => self.slots.give_back(&job.slot),
        }
        match ended {
            Ended::Well => {
                self.states[job.stage] = State::Done;
                self.tally.computed += 1;
                self.events.send(Event::JobFinished {
                    stage: stage.name.clone(),
                    number: self.tally.computed + self.failures(),
                    of: self.states.len() - self.tally.reused,
                    seconds: job.start.elapsed().as_secs_f64(),
                    summary: self.summaries.remove(&job.stage),
                });
            }
            // The signal reached that process, too, and it was faster.
            Ended::Stopped if self.watcher.interrupted() => self.states[job.stage] = State::Waiting,
            // Somebody stopped that process alone; it is begun again when this program is.
            Ended::Stopped => self.fail(job.stage, "stopped on request")?,
            Ended::Failed(reason) | Ended::DeviceFailed(reason) => self.fail(job.stage, &reason)?,
        }
        Ok(())
    }

    /// The stage is begun once more where it stopped, on another device if there is one that works: a new process opens it anew.
    fn device_failed(&mut self, job: &Job, reason: &str) -> Result<()> {
        let device = job.slot.device();
        if self.slots.give_up(&job.slot) {
            let message = "failed again and again: nothing more is computed there".to_owned();
            self.events.send(Event::Warning { about: device.to_string(), message });
        }
        if self.again.insert(job.stage, device).is_some() || self.slots.len() == 0 {
            self.tally.by_device += 1;
            return self.fail(job.stage, reason);
        }
        self.states[job.stage] = State::Waiting;
        let stage = self.plan.stages[job.stage].name.clone();
        self.events.send(Event::JobTriedAgain { stage, device: device.to_string(), reason: reason.into() });
        Ok(())
    }

    fn failures(&self) -> usize {
        self.states.iter().filter(|state| **state == State::Failed).count()
    }

    fn fail(&mut self, at: usize, reason: &str) -> Result<()> {
        let stage = &self.plan.stages[at];
        self.states[at] = State::Failed;
        self.store.write_failure(&stage.key, reason)?;
        self.events.send(Event::JobFailed { stage: stage.name.clone(), reason: reason.into() });
        Ok(())
    }

    /// Lets every process end its step.
    fn stop(mut self, receiver: &Receiver<Told>) -> Result<Tally> {
        self.running.iter_mut().for_each(Job::stop);
        while !self.running.is_empty() {
            self.listen(receiver);
            let mut left = Vec::new();
            for mut job in std::mem::take(&mut self.running) {
                if job.ended()?.is_none() {
                    left.push(job);
                }
            }
            self.running = left;
        }
        Err(Error::new(ErrorKind::Interrupted, "stopped on request").hint("the same command goes on where it stopped"))
    }
}

fn kind(stage: &Stage) -> &str {
    stage.key.split('-').next().unwrap_or_default()
}

/// What a stage came to, from what its process tells.
fn summary(event: &Value) -> Option<String> {
    let share = |name: &str| event[name].as_f64().map(crate::output::percent);
    match event["event"].as_str()? {
        "evaluated" if event["when"] == "final" => {
            Some(format!("{} clean, {} robust", share("clean_accuracy")?, share("robust_accuracy")?))
        }
        "pruned" => Some(format!("{} gone", share("ratio_achieved")?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
