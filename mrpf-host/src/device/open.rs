//! Opens a device and tries it once.

use mrpf_api::candle_core::{DType, Device, Tensor};
use mrpf_api::device::{cuda_versions, open_cuda};
use mrpf_api::numeric::{self, ConvGeometry};
use mrpf_api::{Error, ErrorKind, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::choice::{Arithmetic, DeviceChoice};
use super::refusal::{not_built_in, refusal};
use super::several::one_only;

/// A device that works.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// For tensors.
    pub device: Device,
    /// What it is called in records: `cpu`, `cuda:0`, `metal`; with `, tf32` where that is allowed and `, deterministic` where that is
    /// asked for.
    pub name: String,
    /// What the user should know of it.
    pub notes: Vec<String>,
    /// What to do for a device that was left out.
    pub hint: Option<String>,
    /// Devices that were asked for as well and cannot be used.
    pub left_out: Vec<DeviceChoice>,
}

impl Default for OpenDevice {
    fn default() -> Self {
        let (device, name) = (Device::Cpu, DeviceChoice::Cpu.to_string());
        Self { device, name, notes: Vec::new(), hint: None, left_out: Vec::new() }
    }
}

impl OpenDevice {
    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        self.device.is_cpu()
    }
}

/// Opens the device, and settles how sums and products are computed on CUDA from now on.
///
/// # Errors
/// [`ErrorKind::Device`] if this build cannot use the device, or the device is not there or does not work; the message says what was
/// found, the hint what to do.
pub fn open(choice: DeviceChoice, arithmetic: Arithmetic) -> Result<OpenDevice> {
    let Arithmetic { tf32, deterministic } = arithmetic;
    let mut opened = match choice {
        DeviceChoice::Cpu => OpenDevice::default(),
        DeviceChoice::Auto => automatic(),
        DeviceChoice::Cuda(_) | DeviceChoice::Metal => gpu(choice)?,
        DeviceChoice::Several(_) => return Err(one_only(choice)),
    };
    if opened.device.is_cuda() {
        numeric::allow_tf32(tf32);
        if tf32 {
            opened.name.push_str(", tf32");
        }
        numeric::require_determinism(deterministic);
        if deterministic {
            opened.name.push_str(", deterministic");
        }
        if !cfg!(feature = "cudnn") {
            opened.notes.push(
                "this build has CUDA without cuDNN: convolutions go by matrix products and are slow; build with the feature `cudnn`"
                    .into(),
            );
        }
    } else {
        // The CPU gives the same bytes every time as it is.
        for (flag, is_given) in [("tf32", tf32), ("deterministic", deterministic && !opened.is_cpu())] {
            if is_given {
                opened.notes.push(format!("--{flag} changes nothing on {}", opened.name));
            }
        }
    }
    Ok(opened)
}

/// Opens the first of several devices that can be used; those before it are left out, each with a note that says why.
///
/// # Errors
/// As [`open`], for the first, if none can be used.
pub fn open_first(choices: &[DeviceChoice], arithmetic: Arithmetic) -> Result<OpenDevice> {
    first(choices, |choice| open(choice, arithmetic))
}

fn first(choices: &[DeviceChoice], open: impl Fn(DeviceChoice) -> Result<OpenDevice>) -> Result<OpenDevice> {
    let mut failures: Vec<Error> = Vec::new();
    for (at, choice) in choices.iter().enumerate() {
        match open(*choice) {
            Ok(mut opened) => {
                opened.notes.extend(failures.iter().map(|failure| format!("{failure}; going on without it")));
                opened.hint =
                    opened.hint.or_else(|| failures.iter().find_map(|failure| Some(failure.hint_text()?.to_owned())));
                opened.left_out = choices[..at].to_vec();
                return Ok(opened);
            }
            Err(failure) if failure.kind() == ErrorKind::Device => failures.push(failure),
            Err(other) => return Err(other),
        }
    }
    let none = || Error::new(ErrorKind::Device, "no device is named");
    Err(failures.into_iter().next().unwrap_or_else(none))
}

/// The first GPU that can be used; else the CPU, with a note that says why.
fn automatic() -> OpenDevice {
    let (mut reasons, mut hint) = (Vec::new(), None);
    for (choice, is_built_in) in
        [(DeviceChoice::Cuda(0), cfg!(feature = "cuda")), (DeviceChoice::Metal, cfg!(feature = "metal"))]
    {
        match is_built_in.then(|| gpu(choice)) {
            Some(Ok(opened)) => return opened,
            Some(Err(error)) => {
                reasons.push(error.to_string());
                hint = hint.or_else(|| error.hint_text().map(str::to_owned));
            }
            None => {}
        }
    }
    let why = match reasons.is_empty() {
        true => "this build has no other device".to_owned(),
        false => reasons.join("; "),
    };
    let notes = vec![format!("--device auto: computing on the CPU, because {why}")];
    OpenDevice { notes, hint, ..OpenDevice::default() }
}

fn gpu(choice: DeviceChoice) -> Result<OpenDevice> {
    let name = choice.to_string();
    let (open, number): (fn(usize) -> Result<Device>, usize) = match choice {
        DeviceChoice::Cuda(number) if cfg!(feature = "cuda") => (open_cuda, number),
        DeviceChoice::Metal if cfg!(feature = "metal") => (|number| Ok(Device::new_metal(number)?), 0),
        _ => return Err(not_built_in(choice)),
    };
    // Libraries of vendors are asked here for the first time; some of their bindings panic where a library or a symbol is missing.
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let device = open(number)?;
        try_out(&device)?;
        Ok(device)
    }));
    match tried {
        Ok(Ok(device)) => Ok(OpenDevice { device, name, ..OpenDevice::default() }),
        Ok(Err(error)) => Err(refusal(choice, &Error::to_string(&error), &cuda_versions())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(refusal(choice, text.unwrap_or("the bindings panicked"), &cuda_versions()))
        }
    }
}

/// One small convolution there and back: a driver that is too old, or a library that is missing, shows now and not after an hour.
fn try_out(device: &Device) -> Result<()> {
    let images = Tensor::ones((1, 1, 4, 4), DType::F32, device)?;
    let weight = Tensor::ones((1, 1, 3, 3), DType::F32, device)?;
    let out = numeric::conv2d(&images, &weight, None, &ConvGeometry::square(3))?;
    match out.flatten_all()?.to_vec1::<f32>()?.as_slice() {
        [9.0, 9.0, 9.0, 9.0] => Ok(()),
        other => {
            let message = format!("a convolution of ones gave {other:?}, expected four times 9");
            Err(Error::new(ErrorKind::Device, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_always_there_and_auto_says_why_it_was_taken() -> Result<()> {
        let cpu = open(DeviceChoice::Cpu, Arithmetic::default())?;
        assert!(cpu.is_cpu() && cpu.notes.is_empty() && cpu.name == "cpu");
        let auto = open(DeviceChoice::Auto, Arithmetic::default())?;
        if auto.is_cpu() {
            assert!(auto.notes[0].starts_with("--device auto: computing on the CPU, because"), "{:?}", auto.notes);
        }
        let asked = Arithmetic { tf32: true, deterministic: true };
        let asked = open(DeviceChoice::Cpu, asked)?;
        assert_eq!((asked.notes, asked.name.as_str()), (vec!["--tf32 changes nothing on cpu".to_owned()], "cpu"));
        Ok(())
    }

    #[test]
    fn of_several_the_first_that_works_is_opened_and_the_dead_before_it_are_named() -> Result<()> {
        let several = [0, 1, 2].map(DeviceChoice::Cuda);
        let where_works = |working: &'static [usize]| {
            first(&several, |choice| match choice {
                DeviceChoice::Cuda(number) if working.contains(&number) => {
                    Ok(OpenDevice { name: choice.to_string(), ..OpenDevice::default() })
                }
                _ => Err(Error::new(ErrorKind::Device, format!("--device {choice}: dead")).hint("look for Xid")),
            })
        };
        let opened = where_works(&[0, 2])?;
        assert_eq!((opened.name.as_str(), opened.left_out, opened.notes.len()), ("cuda:0", Vec::new(), 0));
        let opened = where_works(&[2])?;
        assert_eq!((opened.name.as_str(), opened.left_out.as_slice()), ("cuda:2", &several[..2]));
        assert_eq!(opened.notes, [0, 1].map(|dead| format!("--device cuda:{dead}: dead; going on without it")));
        assert_eq!(opened.hint.as_deref(), Some("look for Xid"));
        let error = where_works(&[]).expect_err("all are dead");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Device, "--device cuda:0: dead"));
        let other = first(&several, |_| Err(Error::new(ErrorKind::Io, "a disk"))).expect_err("nothing of a device");
        assert_eq!(other.kind(), ErrorKind::Io);
        Ok(())
    }

    #[test]
    fn a_device_that_is_not_built_in_is_refused_with_the_way_to_get_it() {
        for (choice, is_built_in, command) in [
            (DeviceChoice::Cuda(1), cfg!(feature = "cuda"), "--features cudnn"),
            (DeviceChoice::Metal, cfg!(feature = "metal"), "--features metal"),
        ] {
            if is_built_in {
                continue;
            }
            let error = open(choice, Arithmetic::default()).expect_err("not built in");
            assert_eq!(error.kind(), ErrorKind::Device);
            assert!(error.to_string().starts_with(&format!("--device {choice}: this build of mrpf")), "{error}");
            assert!(error.hint_text().is_some_and(|hint| hint.contains(command)), "{error:?}");
        }
    }
}
