//! Whatever becomes of the processes, what can be computed is, once, and in order.

use mrpf_api::context::{Unwatched, Watcher};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::comparison::stage::Work;
use crate::comparison::store::Done;
use crate::experiment::Experiment;
use crate::run_dir::sealed;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

#[derive(Default)]
struct Kept(Mutex<Vec<Event>>);

impl EventSink for Kept {
    fn send(&self, event: Event) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
    }
}

impl Kept {
    fn names(&self, of: fn(&Event) -> Option<&String>) -> Vec<String> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter().filter_map(of).cloned().collect()
    }

    fn finished(&self) -> Vec<String> {
        self.names(|event| match event {
            Event::JobFinished { stage, .. } => Some(stage),
            _ => None,
        })
    }
}

/// A training, two measurements of it, and a pruning by the second.
fn plan() -> Plan {
    let stage =
        |key: &str, work: Work| Stage { key: key.into(), name: key.into(), experiment: Experiment::default(), work };
    let dense = || "train-1".to_owned();
    let stages = vec![
        stage("train-1", Work::Train),
        stage("measure-1", Work::Measure { dense: dense() }),
        stage("measure-2", Work::Measure { dense: dense() }),
        stage("prune-1", Work::Prune { dense: dense(), sensitivity: Some("measure-2".into()), times: None }),
    ];
    Plan::of_stages(stages)
}

fn limits() -> Limits {
    Limits { cores: 4, devices: vec![DeviceChoice::Cpu], jobs: 2, memory: u64::MAX }
}

fn shell(text: String) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(text);
    command
}

/// What a process does that does its work.
fn well(folder: &Path) -> String {
    let done = Done { seconds: 1.0, threads: 1, device: String::new() };
    let text = sealed(folder, &done).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    format!("echo '{text}' > '{}/done.json'", folder.display())
}

#[test]
fn each_stage_runs_after_what_it_needs_and_only_once() -> Outcome {
    let (folder, plan, kept) = (tempfile::tempdir()?, plan(), Kept::default());
    let store = Store::open(folder.path())?;
    let threads = Mutex::new(Vec::new());
    let command = |stage: &Stage, given: Means| {
        threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((stage.key.clone(), given.threads));
        let needs: Vec<String> =
            stage.work.needs().map(|key| format!("test -e '{}/done.json'", store.stage(key).display())).collect();
        shell([needs, vec![well(&store.stage(&stage.key))]].concat().join(" && "))
    };
    let tally = Schedule::new(&plan, &store, limits(), &kept, &Unwatched)?.run(&command)?;
    assert_eq!(tally, Tally { reused: 0, computed: 4, failed: 0, by_device: 0 });
    assert_eq!(kept.finished().len(), 4);
    let given = threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    assert_eq!(given[0], ("train-1".into(), 4), "alone, it has every core");
    assert_eq!(given[1], ("measure-1".into(), 2));
    let again = Schedule::new(&plan, &store, limits(), &kept, &Unwatched)?.run(&command)?;
    assert_eq!(again, Tally { reused: 4, computed: 0, failed: 0, by_device: 0 });
    Ok(())
}

#[test]
fn one_that_fails_stops_only_those_that_need_it() -> Outcome {
    let (folder, plan, kept) = (tempfile::tempdir()?, plan(), Kept::default());
    let store = Store::open(folder.path())?;
    let failing = |stage: &Stage, _: Means| match stage.key.as_str() {
        "measure-2" => shell("echo 'error: no gradient' >&2; exit 1".into()),
        _ => shell(well(&store.stage(&stage.key))),
    };
    let tally = Schedule::new(&plan, &store, limits(), &kept, &Unwatched)?.run(&failing)?;
    assert_eq!(tally, Tally { reused: 0, computed: 2, failed: 2, by_device: 0 });
    assert_eq!(store.failure("measure-2")?.map(|failed| failed.reason), Some("no gradient".into()));
    // When it is mended, only what is missing is computed.
    let mended = |stage: &Stage, _: Means| shell(well(&store.stage(&stage.key)));
    let tally = Schedule::new(&plan, &store, limits(), &kept, &Unwatched)?.run(&mended)?;
    assert_eq!(tally, Tally { reused: 2, computed: 2, failed: 0, by_device: 0 });
    assert_eq!(store.failure("measure-2")?, None);
    Ok(())
}

#[test]
fn what_a_process_does_not_say_is_said_for_it() -> Outcome {
    let (folder, plan) = (tempfile::tempdir()?, plan());
    let store = Store::open(folder.path())?;
    for (text, reason) in [
        ("exit 7", "its process ended with code 7"),
        ("true", "its process ended without a result"),
        ("kill -9 $$", "its process was killed by the system"),
    ] {
        let command = |_: &Stage, _: Means| shell(text.into());
        Schedule::new(&plan, &store, limits(), &Kept::default(), &Unwatched)?.run(&command)?;
        let told = store.failure("train-1")?.map(|failed| failed.reason).unwrap_or_default();
        assert!(told.starts_with(reason), "{told}");
    }
    Ok(())
}

/// Asked for the third time, the user has had enough.
struct Impatient(AtomicUsize);

impl Watcher for Impatient {
    fn progress(&self, _: &str, _: usize, _: usize) {}

    fn interrupted(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst) >= 2
    }
}

#[test]
fn asked_to_stop_it_lets_processes_end_their_step() -> Outcome {
    let (folder, plan) = (tempfile::tempdir()?, plan());
    let store = Store::open(folder.path())?;
    // Reads until its input ends, and then leaves as a stopped process does.
    let command = |stage: &Stage, _: Means| {
        shell(format!("cat > /dev/null; touch '{}/stopped'; exit 130", store.stage(&stage.key).display()))
    };
    let watcher = Impatient(AtomicUsize::new(0));
    let error = Schedule::new(&plan, &store, limits(), &Kept::default(), &watcher)?.run(&command).expect_err("stopped");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(store.stage("train-1").join("stopped").exists());
    assert_eq!(store.failure("train-1")?, None);
    Ok(())
}

/// A training, and eight measurements of it.
fn wide_plan() -> Plan {
    let stage =
        |key: &str, work: Work| Stage { key: key.into(), name: key.into(), experiment: Experiment::default(), work };
    let measure = |at: usize| stage(&format!("measure-{at}"), Work::Measure { dense: "train-1".into() });
    Plan::of_stages(std::iter::once(stage("train-1", Work::Train)).chain((1..=8).map(measure)))
}

#[test]
fn devices_share_the_stages_with_one_process_on_each_at_a_time() -> Outcome {
    let (folder, plan, kept) = (tempfile::tempdir()?, wide_plan(), Kept::default());
    let store = Store::open(folder.path())?;
    let limits = Limits { devices: vec![DeviceChoice::Cuda(0), DeviceChoice::Cuda(3)], jobs: 1, ..limits() };
    // A folder for as long as a process is on a device: a second process there cannot make it, and fails.
    let command = |stage: &Stage, means: Means| {
        let held = folder.path().join(format!("held-{}", means.device));
        let held = held.display();
        let work = match stage.key.as_str() {
            "measure-1" | "measure-4" => "false".to_owned(),
            _ => well(&store.stage(&stage.key)),
        };
        shell(format!(
            "mkdir '{held}' || {{ echo 'error: two on one device' >&2; exit 1; }}; sleep 0.05; rmdir '{held}'; {work}"
        ))
    };
    let tally = Schedule::new(&plan, &store, limits, &kept, &Unwatched)?.run(&command)?;
    assert_eq!(tally, Tally { reused: 0, computed: 7, failed: 2, by_device: 0 });
    for failed in ["measure-1", "measure-4"] {
        let reason = store.failure(failed)?.map(|failure| failure.reason).unwrap_or_default();
        assert!(reason.starts_with("its process ended with code 1"), "{reason}");
    }
    let devices = kept.names(|event| match event {
        Event::JobStarted { device, .. } => device.as_ref(),
        _ => None,
    });
    for device in ["cuda:0", "cuda:3"] {
        assert!(devices.iter().filter(|on| *on == device).count() >= 2, "{devices:?}");
    }
    Ok(())
}

/// What a process does whose device fails.
fn lost() -> String {
    "echo 'error: CUDA_ERROR_ILLEGAL_ADDRESS' >&2; exit 7".into()
}

#[test]
fn a_device_that_is_lost_takes_no_stage_with_it() -> Outcome {
    let (folder, plan, kept) = (tempfile::tempdir()?, wide_plan(), Kept::default());
    let store = Store::open(folder.path())?;
    let [good, bad] = [0, 1].map(DeviceChoice::Cuda);
    let limits = Limits { devices: vec![good, bad], jobs: 1, ..limits() };
    let command = |stage: &Stage, means: Means| match means.device == bad {
        true => shell(lost()),
        // As long as that the other device is asked for more meanwhile.
        false => shell(format!("sleep 0.1; {}", well(&store.stage(&stage.key)))),
    };
    let tally = Schedule::new(&plan, &store, limits, &kept, &Unwatched)?.run(&command)?;
    assert_eq!(tally, Tally { reused: 0, computed: 9, failed: 0, by_device: 0 });
    let again = kept.names(|event| match event {
        Event::JobTriedAgain { device, .. } => Some(device),
        _ => None,
    });
    assert_eq!(again, ["cuda:1"; 3], "it gets no more after that");
    Ok(())
}

#[test]
fn where_every_device_is_lost_what_is_left_waits_for_another_day() -> Outcome {
    let (folder, plan) = (tempfile::tempdir()?, wide_plan());
    let store = Store::open(folder.path())?;
    let limits = || Limits { devices: vec![DeviceChoice::Cuda(0)], jobs: 1, ..limits() };
    let begun = AtomicUsize::new(0);
    let command = |stage: &Stage, _: Means| {
        let works = begun.fetch_add(1, Ordering::SeqCst) < 2;
        shell(if works { well(&store.stage(&stage.key)) } else { lost() })
    };
    let tally = Schedule::new(&plan, &store, limits(), &Kept::default(), &Unwatched)?.run(&command)?;
    assert_eq!(tally, Tally { reused: 0, computed: 2, failed: 7, by_device: 7 });
    assert_eq!(begun.load(Ordering::SeqCst), 5, "three failures, of two stages");
    let mended = |stage: &Stage, _: Means| shell(well(&store.stage(&stage.key)));
    let tally = Schedule::new(&plan, &store, limits(), &Kept::default(), &Unwatched)?.run(&mended)?;
    assert_eq!(tally, Tally { reused: 2, computed: 7, failed: 0, by_device: 0 });
    Ok(())
}

#[test]
fn memory_that_is_full_is_no_fault_of_the_device() -> Outcome {
    let (folder, plan, kept) = (tempfile::tempdir()?, plan(), Kept::default());
    let store = Store::open(folder.path())?;
    let command = |stage: &Stage, _: Means| match stage.key.as_str() {
        "measure-1" => shell("echo 'error: CUDA_ERROR_OUT_OF_MEMORY' >&2; exit 7".into()),
        _ => shell(well(&store.stage(&stage.key))),
    };
    let tally = Schedule::new(&plan, &store, limits(), &kept, &Unwatched)?.run(&command)?;
    assert_eq!(tally, Tally { reused: 0, computed: 3, failed: 1, by_device: 0 });
    Ok(())
}
