//! What the dashboard knows: kept up to date by events, drawn by the view.

use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

use crate::event::Event;

/// A comparison in progress.
#[derive(Debug, Clone)]
pub struct State {
    /// When it began.
    pub start: Instant,
    /// Stages to compute.
    pub total: usize,
    /// Stages that are done or have failed.
    pub ended: usize,
    /// Those of them that have failed.
    pub failed: usize,
    /// What is running.
    pub running: Vec<Running>,
    /// What has not begun.
    pub next: Vec<String>,
    /// Stages at a time.
    pub jobs: usize,
    /// Devices that share the stages; 0 where there is one.
    pub devices: usize,
    /// Seconds that ended stages of each kind took together, and how many there were.
    pub took: BTreeMap<String, (f64, usize)>,
}

/// A stage in progress.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its name.
    pub stage: String,
    /// The device that it is on, where several share the stages.
    pub device: Option<String>,
    /// When it began.
    pub start: Instant,
    /// What it counts now.
    pub what: String,
    /// Steps done and in all.
    pub steps: Option<(u64, u64)>,
    /// Share of time in which its GPU ran anything, from 0 to 1.
    pub gpu_busy: Option<f64>,
    /// Training loss, epoch by epoch.
    pub losses: Vec<f64>,
    /// Robust accuracy on held-out images, epoch by epoch.
    pub robust: Vec<f64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            total: 0,
            ended: 0,
            failed: 0,
            running: Vec::new(),
            next: Vec::new(),
            jobs: 1,
            devices: 0,
            took: BTreeMap::new(),
        }
    }
}

impl State {
    /// Takes note of an event.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::ComparisonPlanned { to_compute, jobs, devices, .. } => {
                (self.jobs, self.devices) = (*jobs, devices.len());
                self.total = to_compute.len();
                self.next.clone_from(to_compute);
                self.start = Instant::now();
            }
            Event::JobStarted { stage, device, .. } => {
                self.next.retain(|next| next != stage);
                self.running.push(Running {
                    stage: stage.clone(),
                    device: device.clone(),
                    start: Instant::now(),
                    what: String::new(),
                    steps: None,
                    gpu_busy: None,
                    losses: Vec::new(),
                    robust: Vec::new(),
                });
            }
            Event::JobTold { stage, told } => {
                if let Some(running) = self.running.iter_mut().find(|running| running.stage == *stage) {
                    running.note(told);
                }
            }
            Event::JobFinished { stage, seconds, .. } => {
                self.end(stage);
                let (sum, count) = self.took.entry(kind(stage).to_owned()).or_default();
                (*sum, *count) = (*sum + seconds, *count + 1);
            }
            Event::JobTriedAgain { stage, .. } => {
                self.running.retain(|running| running.stage != *stage);
                self.next.insert(0, stage.clone());
            }
            Event::JobFailed { stage, .. } => {
                self.end(stage);
                self.failed += 1;
            }
            _ => {}
        }
    }

    /// Seconds until all is done, if the stages to come take as long as those of their kind did; none before one has ended.
    pub fn left(&self, now: Instant) -> Option<f64> {
        let (sum, count) = self.took.values().fold((0.0, 0), |(sum, count), took| (sum + took.0, count + took.1));
        let mean = |stage: &str| {
            let (sum, count) = self.took.get(kind(stage)).copied().unwrap_or((sum, count));
            sum / count.max(1) as f64
        };
        let open = self.running.iter().map(|running| {
            (mean(&running.stage) - now.saturating_duration_since(running.start).as_secs_f64()).max(0.0)
        });
        let seconds: f64 = open.chain(self.next.iter().map(|stage| mean(stage))).sum();
        (count > 0).then(|| seconds / self.jobs.clamp(1, (self.running.len() + self.next.len()).max(1)) as f64)
    }

    fn end(&mut self, stage: &str) {
        self.running.retain(|running| running.stage != stage);
        self.ended += 1;
    }
}

/// The first word of a stage's name says what is done in it.
fn kind(stage: &str) -> &str {
    stage.split(' ').next().unwrap_or_default()
}

impl Running {
    fn note(&mut self, told: &Value) {
        match told["event"].as_str() {
            Some("progress") => {
                told["what"].as_str().unwrap_or_default().clone_into(&mut self.what);
                self.steps = told["done"].as_u64().zip(told["total"].as_u64());
                self.gpu_busy = told["gpu_busy"].as_f64();
            }
            Some("epoch") => {
                self.losses.extend(told["loss"].as_f64());
                self.robust.extend(told["holdout_robust"].as_f64());
            }
            _ => {}
        }
    }
}
