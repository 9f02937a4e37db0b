//! What the dashboard knows: kept up to date by events, drawn by the view.

use serde_json::Value;
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
}

/// A stage in progress.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its name.
    pub stage: String,
    /// When it began.
    pub start: Instant,
    /// What it counts now.
    pub what: String,
    /// Steps done and in all.
    pub steps: Option<(u64, u64)>,
    /// Training loss, epoch by epoch.
    pub losses: Vec<f64>,
    /// Robust accuracy on held-out images, epoch by epoch.
    pub robust: Vec<f64>,
}

impl Default for State {
    fn default() -> Self {
        Self { start: Instant::now(), total: 0, ended: 0, failed: 0, running: Vec::new(), next: Vec::new() }
    }
}

impl State {
    /// Takes note of an event.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::ComparisonPlanned { to_compute, .. } => {
                self.total = to_compute.len();
                self.next.clone_from(to_compute);
                self.start = Instant::now();
            }
            Event::JobStarted { stage, .. } => {
                self.next.retain(|next| next != stage);
                self.running.push(Running {
                    stage: stage.clone(),
                    start: Instant::now(),
                    what: String::new(),
                    steps: None,
                    losses: Vec::new(),
                    robust: Vec::new(),
                });
            }
            Event::JobTold { stage, told } => {
                if let Some(running) = self.running.iter_mut().find(|running| running.stage == *stage) {
                    running.note(told);
                }
            }
            Event::JobFinished { stage, .. } => self.end(stage),
            Event::JobFailed { stage, .. } => {
                self.end(stage);
                self.failed += 1;
            }
            _ => {}
        }
    }

    fn end(&mut self, stage: &str) {
        self.running.retain(|running| running.stage != stage);
        self.ended += 1;
    }
}

impl Running {
    fn note(&mut self, told: &Value) {
        match told["event"].as_str() {
            Some("progress") => {
                told["what"].as_str().unwrap_or_default().clone_into(&mut self.what);
                self.steps = told["done"].as_u64().zip(told["total"].as_u64());
            }
            Some("epoch") => {
                self.losses.extend(told["loss"].as_f64());
                self.robust.extend(told["holdout_robust"].as_f64());
            }
            _ => {}
        }
    }
}
