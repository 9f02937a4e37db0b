//! What `--device` takes.

use std::fmt;
use std::str::FromStr;

use super::several::GpuSet;

/// Where to compute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor, by the kernels of this project.
    #[default]
    Cpu,
    /// The NVIDIA GPU of that number.
    Cuda(usize),
    /// The GPU of a Mac.
    Metal,
    /// The first GPU that this build can use, else the CPU.
    Auto,
    /// Several NVIDIA GPUs.
    Several(GpuSet),
}

/// What is asked of sums and products on an NVIDIA GPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arithmetic {
    /// Products of f32 may be rounded to 10 bits.
    pub tf32: bool,
    /// The same bytes every time.
    pub deterministic: bool,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbered = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match (text, numbered) {
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            ("metal", _) => Ok(Self::Metal),
            ("auto", _) => Ok(Self::Auto),
            ("cuda:all", _) => Ok(Self::Several(GpuSet::ALL)),
            (_, Some(number)) => Ok(Self::Cuda(number)),
            (list, None) if list.contains(',') => Ok(Self::Several(list.parse()?)),
            _ => Err("expected cpu, cuda, cuda:N with the number of a GPU, metal or auto".into()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
            Self::Auto => f.write_str("auto"),
            Self::Several(set) => set.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for choice in [DeviceChoice::Cpu, DeviceChoice::Cuda(0), DeviceChoice::Cuda(13), DeviceChoice::Metal] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for wrong in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:one", "cuda 0", "cpu:0"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }
}
