//! Several NVIDIA GPUs, for commands that share their work among them.

use mrpf_api::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;

use super::choice::DeviceChoice;
use super::refusal::not_built_in;

/// A set of NVIDIA GPUs by their numbers, each below 64; all that there are when none is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GpuSet(u64);

impl GpuSet {
    /// Every GPU of this machine.
    pub const ALL: Self = Self(0);

    /// The numbers, ascending; empty for all.
    pub fn numbers(self) -> Vec<usize> {
        (0..64).filter(|number| self.0 >> number & 1 == 1).collect()
    }
}

impl FromStr for GpuSet {
    type Err = String;

    /// `all`, or `cuda:0,cuda:2`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut set = 0;
        for name in text.split(',') {
            let number = name.trim().strip_prefix("cuda:").and_then(|number| number.parse::<u32>().ok());
            let bit = number.and_then(|number| 1u64.checked_shl(number));
            let bit = bit.ok_or_else(|| format!("found `{name}` in a list, expected GPUs as in cuda:0,cuda:1"))?;
            if set & bit != 0 {
                return Err(format!("found {} twice", name.trim()));
            }
            set |= bit;
        }
        Ok(Self(set))
    }
}

impl fmt::Display for GpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.numbers().into_iter().map(|number| format!("cuda:{number}")).collect();
        f.write_str(if names.is_empty() { "cuda:all".to_owned() } else { names.join(",") }.as_str())
    }
}

impl DeviceChoice {
    /// The devices that are meant, each alone.
    ///
    /// # Errors
    /// [`ErrorKind::Device`] if a GPU of a list is not there, or this build has no CUDA.
    pub fn each(self) -> Result<Vec<Self>> {
        match self {
            Self::Several(_) if !cfg!(feature = "cuda") => Err(not_built_in(self)),
            Self::Several(set) => among(set, gpus()),
            one => Ok(vec![one]),
        }
    }
}

/// What to say where a command computes on one device only.
pub(super) fn one_only(choice: DeviceChoice) -> Error {
    Error::new(
        ErrorKind::Device,
        format!("--device {choice}: only `mrpf compare` computes on several devices at a time"),
    )
    .hint("name one, for example `--device cuda:0`")
}

/// The GPUs of a set, on a machine that has `there` of them.
fn among(set: GpuSet, there: usize) -> Result<Vec<DeviceChoice>> {
    let mut numbers = set.numbers();
    if let Some(missing) = numbers.iter().find(|number| **number >= there) {
        let message = format!("--device {}: there is no cuda:{missing}", DeviceChoice::Several(set));
        let hint = format!("GPUs that the driver shows, counted from 0: {there}; CUDA_VISIBLE_DEVICES may hide some");
        return Err(Error::new(ErrorKind::Device, message).hint(hint));
    }
    if numbers.is_empty() {
        // Where there is none, opening the first says why.
        numbers.extend(0..there.max(1));
    }
    Ok(numbers.into_iter().map(DeviceChoice::Cuda).collect())
}

/// How many NVIDIA GPUs the driver shows.
fn gpus() -> usize {
    #[cfg(feature = "cuda")]
    {
        use mrpf_api::candle_core::cuda_backend::cudarc::driver::CudaContext;
        // The bindings panic where there is no driver.
        let count = std::panic::catch_unwind(CudaContext::device_count);
        count.ok().and_then(std::result::Result::ok).and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
    }
    #[cfg(not(feature = "cuda"))]
    0
}

/// What a device is called where it does not matter which of several alike it is: `cuda, tf32` for `cuda:3, tf32`.
pub fn without_number(name: &str) -> String {
    let (device, rest) = name.split_once(',').map_or((name, None), |(device, rest)| (device, Some(rest)));
    let kind = device.split(':').next().unwrap_or(device);
    rest.map_or_else(|| kind.to_owned(), |rest| format!("{kind},{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for (text, numbers) in [("cuda:0,cuda:1", vec![0, 1]), ("cuda:7,cuda:2, cuda:63", vec![2, 7, 63])] {
            let choice: DeviceChoice = text.parse().expect(text);
            let DeviceChoice::Several(set) = choice else { panic!("{text} is several") };
            assert_eq!(set.numbers(), numbers);
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("cuda:all".parse(), Ok(DeviceChoice::Several(GpuSet::ALL)));
        assert_eq!(DeviceChoice::Several(GpuSet::ALL).to_string(), "cuda:all");
        for wrong in ["cuda:0,", ",cuda:0", "cuda:0,cpu", "cpu,metal", "cuda:0,1", "cuda:64,cuda:0", "cuda,cuda:1"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
        assert_eq!("cuda:1,cuda:1".parse::<DeviceChoice>(), Err("found cuda:1 twice".into()));
    }

    #[test]
    fn a_list_means_gpus_that_are_there() -> Result<()> {
        let set = |text: &str| text.parse::<GpuSet>().unwrap_or_default();
        assert_eq!(among(set("cuda:2,cuda:0"), 3)?, [0, 2].map(DeviceChoice::Cuda));
        assert_eq!(among(GpuSet::ALL, 2)?, [0, 1].map(DeviceChoice::Cuda));
        assert_eq!(among(GpuSet::ALL, 0)?, [DeviceChoice::Cuda(0)]);
        let error = among(set("cuda:2,cuda:0"), 2).expect_err("two GPUs");
        assert_eq!(error.to_string(), "--device cuda:0,cuda:2: there is no cuda:2");
        assert_eq!(DeviceChoice::Cpu.each()?, [DeviceChoice::Cpu]);
        Ok(())
    }

    #[test]
    fn a_build_without_cuda_says_so_and_other_commands_take_one() {
        let several = DeviceChoice::Several(GpuSet::ALL);
        if !cfg!(feature = "cuda") {
            let error = several.each().expect_err("no CUDA");
            assert!(error.to_string().starts_with("--device cuda:all: this build of mrpf has no CUDA"), "{error}");
        }
        let error = super::super::open(several, crate::device::Arithmetic::default()).expect_err("one at a time");
        assert!(error.to_string().contains("only `mrpf compare`"), "{error}");
    }

    #[test]
    fn devices_alike_have_one_name() {
        for (name, kind) in [("cpu", "cpu"), ("cuda:3", "cuda"), ("cuda:0, tf32", "cuda, tf32"), ("metal", "metal")] {
            assert_eq!(without_number(name), kind);
        }
    }
}
