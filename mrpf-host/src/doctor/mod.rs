//! `mrpf doctor`: what is built in, what this machine has, whether every operation computes what it should, and what is missing.

mod libraries;
mod machine;
mod operations;
mod self_test;
mod text;
mod throughput;

pub use libraries::Library;
pub use machine::{Build, Gpu, Processor, Versions};
pub use self_test::Tested;
pub use text::report_text;
pub use throughput::Rate;

use mrpf_api::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;

use crate::device::{Arithmetic, DeviceChoice, FEATURES, HOW_TO_CUDA, OpenDevice, open};

/// Everything that is found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What is built in.
    pub build: Build,
    /// The processor.
    pub processor: Processor,
    /// The NVIDIA GPUs that the driver tells of.
    pub gpus: Vec<Gpu>,
    /// Versions of CUDA that meet in this program.
    pub versions: Versions,
    /// Libraries of CUDA, where they were found.
    pub libraries: Vec<Library>,
    /// The device that was tried, beside the processor.
    pub device: Tried,
    /// Every operation on every device that works.
    pub self_test: Vec<Tested>,
    /// How fast some work goes.
    pub throughput: Vec<Rate>,
    /// What to do for more.
    pub advice: Vec<String>,
}

/// The device that was asked for, or several.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// What was asked for.
    pub asked: String,
    /// What was opened, with commas between several; none if it does not work.
    pub opened: Option<String>,
    /// Why not, or what is to be known of it.
    pub notes: Vec<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Report {
    /// The operations that computed something else than they should.
    pub fn failed(&self) -> impl Iterator<Item = &Tested> {
        self.self_test.iter().filter(|tested| !tested.passed)
    }
}

/// Looks at everything and tries the processor and `choice`. Where the device cannot be used, the error comes beside the report.
///
/// # Errors
/// None but those of the processor: a report is made in any case.
pub fn examine(choice: DeviceChoice, arithmetic: Arithmetic) -> Result<(Report, Option<Error>)> {
    let (opened, device, refused) = attempt(choice, arithmetic);
    let processor = OpenDevice::default();
    let others = opened.iter().filter(|opened| !opened.is_cpu());
    let places: Vec<&OpenDevice> = std::iter::once(&processor).chain(others).collect();
    let (gpus, libraries) = (machine::gpus(), libraries::find());
    let mut report = Report {
        build: Build::of_this_program(),
        processor: Processor::here(),
        self_test: self_test::run(&places)?,
        throughput: throughput::measure(&places)?,
        advice: Vec::new(),
        versions: Versions::here(),
        gpus,
        libraries,
        device,
    };
    report.advice = advice(&report);
    Ok((report, refused))
}

/// Opens what was asked for, each GPU where that is several; with the first error.
fn attempt(choice: DeviceChoice, arithmetic: Arithmetic) -> (Vec<OpenDevice>, Tried, Option<Error>) {
    let mut tried = Tried { asked: choice.to_string(), opened: None, notes: Vec::new(), hint: None };
    let attempts = match choice.each() {
        Ok(choices) => choices.into_iter().map(|choice| open(choice, arithmetic)).collect(),
        Err(error) => vec![Err(error)],
    };
    let (mut opened, mut refused) = (Vec::new(), None);
    for attempt in attempts {
        match attempt {
            Ok(device) => {
                tried.notes.extend(device.notes.iter().cloned());
                tried.hint = tried.hint.or_else(|| device.hint.clone());
                opened.push(device);
            }
            Err(error) => {
                tried.notes.push(error.to_string());
                refused.get_or_insert(error);
            }
        }
    }
    let names: Vec<&str> = opened.iter().map(|device| device.name.as_str()).collect();
    tried.opened = (!names.is_empty()).then(|| names.join(", "));
    let hint = refused.as_ref().and_then(|error: &Error| error.hint_text()).map(str::to_owned);
    tried.hint = hint.or(tried.hint);
    (opened, tried, refused)
}

/// What is missing for more.
fn advice(report: &Report) -> Vec<String> {
    let [has_cuda, has_cudnn, _] = FEATURES.map(|(_, is_built_in)| is_built_in);
    let mut advice = of_failures(report.failed());
    advice.extend(report.device.hint.clone());
    match (report.gpus.is_empty(), has_cuda, has_cudnn) {
        (false, false, _) => advice.push(format!("there is an NVIDIA GPU that this build does not use: {HOW_TO_CUDA}")),
        (false, true, false) => {
            advice.push("convolutions on CUDA are slow without cuDNN: build with the feature `cudnn`".into());
        }
        // What was tried says more, where a GPU was.
        (true, true, _) if report.device.hint.is_none() && report.device.notes.is_empty() => {
            advice.push("this build can use NVIDIA GPUs, and the driver tells of none: see `nvidia-smi`".into());
        }
        _ => {}
    }
    let hidden: Vec<&str> =
        report.libraries.iter().filter(|library| library.is_hidden()).map(|library| library.name.as_str()).collect();
    if has_cuda && !hidden.is_empty() {
        advice.push(format!(
            "{} lie where the loader does not look: start the program by scripts/cuda/run.sh, which sets LD_LIBRARY_PATH",
            hidden.join(", ")
        ));
    }
    let missing: Vec<&str> = report
        .libraries
        .iter()
        .filter(|library| library.found.is_empty())
        .map(|library| library.name.as_str())
        .collect();
    if has_cuda && !missing.is_empty() {
        advice.push(format!(
            "{} not found: libcuda comes with NVIDIA's driver, the others with the CUDA toolkit and cuDNN, or with the nvidia packages that \
             PyTorch installs",
            missing.join(", ")
        ));
    }
    if report.libraries.iter().any(|library| library.found.iter().any(|place| place.is_stub && place.is_searched)) {
        advice.push(
            "a folder of stubs, made for linking only, is on the loader's path: take it out of LD_LIBRARY_PATH".into(),
        );
    }
    advice
}

/// What is wrong, each by itself; errors of a device together, because after the first one of a GPU all that follows is refused.
fn of_failures<'a>(failed: impl Iterator<Item = &'a Tested>) -> Vec<String> {
    let mut advice = Vec::new();
    let mut ended: BTreeMap<&str, Vec<&Tested>> = BTreeMap::new();
    for tested in failed {
        if tested.error.is_some() {
            ended.entry(tested.device.as_str()).or_default().push(tested);
            continue;
        }
        advice.push(format!(
            "`{}` on {} is wrong: do not use that device for results, and report it with this output",
            tested.operation, tested.device
        ));
    }
    advice.extend(ended.into_iter().map(|(device, tested)| {
        let (count, first) = (tested.len(), tested[0]);
        format!(
            "{count} of what was tried on {device} ended in errors, `{}` first: {}; try again, and look into `nvidia-smi` and the system's log",
            first.operation,
            first.error.as_deref().unwrap_or_default()
        )
    }));
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_fails_is_told_once() {
        let tested = |operation: &str, error: Option<&str>| Tested {
            operation: operation.into(),
            device: "cuda:0".into(),
            forward: None,
            gradients: None,
            tolerance: 1e-4,
            passed: false,
            error: error.map(str::to_owned),
        };
        let lost = Some("CUDA_ERROR_ILLEGAL_ADDRESS");
        let failed = [tested("relu", None), tested("linear", lost), tested("gelu", lost)];
        let advice = of_failures(failed.iter());
        assert_eq!(advice.len(), 2, "{advice:?}");
        assert!(advice[0].starts_with("`relu` on cuda:0 is wrong"), "{advice:?}");
        assert!(
            advice[1].starts_with("2 of what was tried on cuda:0 ended in errors, `linear` first: CUDA_ERROR_ILLEGAL"),
            "{advice:?}"
        );
    }
}
