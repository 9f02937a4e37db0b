//! Everything worth telling, as one enum; the terminal, JSON Lines and `metrics.jsonl` are consumers.

use serde::Serialize;
use std::path::PathBuf;

use crate::files::path_text;

/// Something that happened in a run. The JSON form is `{"event": "...", ...}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A command has begun.
    RunStarted {
        /// What is run: the experiment's name, or the command.
        name: String,
        /// Where results go.
        #[serde(serialize_with = "path_text::shown")]
        directory: PathBuf,
        /// The run seed.
        seed: u64,
        /// Version of mrpf.
        version: String,
        /// Threads that computations use.
        threads: usize,
        /// Where it computes: `cpu`, `cuda:0`, `metal`.
        device: String,
        /// Whether an earlier run is continued.
        resumed: bool,
    },
    /// A plugin library is in use.
    LibraryOpened {
        /// The crate that it was built from.
        package: String,
        /// Version of that crate.
        version: String,
        /// The file.
        #[serde(serialize_with = "path_text::shown")]
        path: PathBuf,
        /// SHA-256 of the file.
        sha256: String,
    },
    /// The data is loaded.
    DataLoaded {
        /// Name of the data set.
        name: String,
        /// Training images.
        train: usize,
        /// Images held out from training to choose the best epoch.
        holdout: usize,
        /// Test images.
        test: usize,
        /// `[channels, height, width]`.
        shape: [usize; 3],
        /// Number of classes.
        classes: usize,
    },
    /// A network is declared.
    NetworkBuilt {
        /// Its architecture.
        architecture: String,
        /// Trainable parameters.
        params: u64,
        /// Multiply-accumulates for one image.
        macs: u64,
    },
    /// A stage begins.
    StageStarted {
        /// Its name, for example `finetune mrs-l1-norm`.
        stage: String,
        /// Its number from 1.
        number: usize,
        /// Stages in all.
        of: usize,
    },
    /// A stage has ended.
    StageFinished {
        /// Its name.
        stage: String,
        /// How long it took.
        seconds: f64,
        /// Whether its result was there already from before.
        reused: bool,
    },
    /// How far a long computation is; shown live, not kept.
    Progress {
        /// What is counted, for example `epoch 3/8` or `module layer1.0.conv1`.
        what: String,
        /// Steps done.
        done: usize,
        /// Steps in all.
        total: usize,
        /// Mean loss so far, where there is one.
        loss: Option<f64>,
        /// Share classified rightly so far, from 0 to 1, where there is one.
        accuracy: Option<f64>,
        /// Images a second, where images are counted.
        images_per_s: Option<f64>,
        /// Share of time in which the GPU ran anything, from 0 to 1, where the driver says so.
        #[serde(skip_serializing_if = "Option::is_none")]
        gpu_busy: Option<f64>,
    },
    /// How far a download is; shown live, not kept.
    Downloading {
        /// The file.
        file: String,
        /// Bytes received.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A file of a data set is in place, whole and with the right checksum.
    Fetched {
        /// The file that was downloaded.
        file: String,
        /// Where it is, or the folder that it was unpacked to.
        #[serde(serialize_with = "path_text::shown")]
        path: PathBuf,
        /// Whether it was there already.
        there: bool,
    },
    /// A training epoch has ended.
    Epoch {
        /// The stage.
        stage: String,
        /// The epoch from 1.
        epoch: usize,
        /// Epochs in all.
        epochs: usize,
        /// Learning rate of its last step.
        learning_rate: f64,
        /// Mean training loss.
        loss: f64,
        /// Share of the images trained on that were classified rightly while training.
        train_accuracy: f64,
        /// Clean accuracy on the held-out images, if any are held out.
        holdout_clean: Option<f64>,
        /// Accuracy under attack on the held-out images, if any are held out.
        holdout_robust: Option<f64>,
        /// Images a second, attack included.
        images_per_s: f64,
        /// Mean share of the training's time in which the GPU ran anything, from 0 to 1, where the driver says so.
        #[serde(skip_serializing_if = "Option::is_none")]
        gpu_busy: Option<f64>,
        /// How long it took.
        seconds: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// Sensitivities have been measured.
    SensitivityMeasured {
        /// The metric.
        metric: String,
        /// Module names with their values, in forward order.
        modules: Vec<(String, f64)>,
    },
    /// A network has been cut.
    Pruned {
        /// The row of the comparison.
        row: String,
        /// What the budget counts.
        budget: String,
        /// Share asked to go.
        ratio_asked: f64,
        /// Share that went.
        ratio_achieved: f64,
        /// Multiply-accumulates before.
        macs_before: u64,
        /// Multiply-accumulates after.
        macs_after: u64,
        /// Parameters before.
        params_before: u64,
        /// Parameters after.
        params_after: u64,
        /// Why the two ratios differ by more than a percent, if they do.
        shortfall: Option<String>,
    },
    /// A network has been attacked.
    Evaluated {
        /// The row of the comparison.
        row: String,
        /// When: `pruned` before fine-tuning, `final` at the end.
        when: String,
        /// Each attack by itself.
        attacks: Vec<AttackShare>,
        /// Images.
        images: usize,
        /// Share classified rightly without attack.
        clean_accuracy: f64,
        /// Share that survives every attack.
        robust_accuracy: f64,
        /// Images attacked in a second, over all attacks; none where the outcome was known already.
        images_per_s: Option<f64>,
    },
    /// What a comparison would compute was asked for.
    ComparisonForecast {
        /// The answer.
        forecast: crate::comparison::Forecast,
    },
    /// A comparison is planned.
    ComparisonPlanned {
        /// Its name.
        name: String,
        /// Where its results go.
        #[serde(serialize_with = "path_text::shown")]
        directory: PathBuf,
        /// Version of mrpf.
        version: String,
        /// Pruned networks to compare.
        networks: usize,
        /// Stages that they need, each counted once.
        stages: usize,
        /// Stages whose results are there from before.
        reused: usize,
        /// The stages to compute, in their order.
        to_compute: Vec<String>,
        /// Processes at a time.
        jobs: usize,
        /// The devices that share the stages, where there are several.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        devices: Vec<String>,
    },
    /// The process of a stage has begun.
    JobStarted {
        /// The stage.
        stage: String,
        /// How many were begun, with this one.
        number: usize,
        /// How many there are to compute.
        of: usize,
        /// Threads that it has.
        threads: usize,
        /// The device that it is on, where several share the stages.
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<String>,
    },
    /// The process of a stage tells something; shown live, not kept, as that process keeps it itself.
    JobTold {
        /// The stage.
        stage: String,
        /// The event, as JSON.
        told: serde_json::Value,
    },
    /// A stage of a comparison is done.
    JobFinished {
        /// The stage.
        stage: String,
        /// How many are done or have failed, with this one.
        number: usize,
        /// How many there were to compute.
        of: usize,
        /// How long it took.
        seconds: f64,
        /// What it came to, in a few words.
        summary: Option<String>,
    },
    /// The device of a stage has failed; the stage goes on in another process, on another device where there is one.
    JobTriedAgain {
        /// The stage.
        stage: String,
        /// The device.
        device: String,
        /// What went wrong.
        reason: String,
    },
    /// A stage of a comparison has failed; those that need it are left out.
    JobFailed {
        /// The stage.
        stage: String,
        /// What went wrong.
        reason: String,
    },
    /// A comparison has ended.
    ComparisonFinished {
        /// How long it took in all.
        seconds: f64,
        /// Stages computed.
        computed: usize,
        /// Stages that were there before.
        reused: usize,
        /// Stages that failed, or were not begun because of one that did.
        failed: usize,
        /// The comparison as text lines.
        table: String,
        /// The folder with the page, the tables and the database.
        #[serde(serialize_with = "path_text::shown")]
        directory: PathBuf,
    },
    /// Something that the reader should know, for example a sign of false robustness.
    Warning {
        /// What it is about.
        about: String,
        /// A sentence.
        message: String,
    },
    /// Something that the reader may want to know, for example what a data set took for what.
    Note {
        /// What it is about.
        about: String,
        /// A sentence.
        message: String,
    },
    /// A file that the user may want to open.
    Written {
        /// What it is.
        what: String,
        /// Where it is.
        #[serde(serialize_with = "path_text::shown")]
        path: PathBuf,
    },
    /// The run has ended well.
    RunFinished {
        /// How long it took in all.
        seconds: f64,
        /// The comparison as text lines, as in the report.
        table: String,
    },
}

impl Event {
    /// Whether it only says how far something is: such events are shown live, now and then, and not kept.
    pub fn is_progress(&self) -> bool {
        matches!(self, Self::Progress { .. } | Self::Downloading { .. } | Self::JobTold { .. })
    }
}

/// What an attack left.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttackShare {
    /// The attack, or a part of one.
    pub name: String,
    /// Share that survives it, or it and all parts before it.
    pub robust_accuracy: f64,
    /// The parts of an attack that has some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<AttackShare>,
}

/// Takes events. Implementations must not fail a run: what cannot be shown is dropped.
pub trait EventSink: Send + Sync {
    /// Takes one event.
    fn send(&self, event: Event);
}

/// Takes events and forgets them; for tests and for use as a library.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl EventSink for Silent {
    fn send(&self, _: Event) {}
}
