//! The arguments that say where to compute.

use clap::Args;

use crate::device::{Arithmetic, DeviceChoice};

/// Where to compute.
#[derive(Debug, Clone, Copy, Args)]
pub struct DeviceArgs {
    /// Where to compute: cpu, cuda, cuda:N for the GPU of that number, metal, or auto for the first GPU that this build can use; `mrpf
    /// compare` also takes cuda:0,cuda:1 and cuda:all. Results of different devices differ in their last digits.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceChoice,
    /// On CUDA, let products of f32 be computed in TF32: faster, with 3 digits in place of 7.
    #[arg(long)]
    pub tf32: bool,
    /// On CUDA, take only algorithms that give the same bytes every time on the same GPU with the same libraries. cuDNN then goes without
    /// some of its fastest ones, so that training takes longer, by how much depends on the network.
    #[arg(long)]
    pub deterministic: bool,
}

impl DeviceArgs {
    /// What is asked of sums and products.
    pub fn arithmetic(&self) -> Arithmetic {
        Arithmetic { tf32: self.tf32, deterministic: self.deterministic }
    }
}

/// What to examine.
#[derive(Debug, Clone, Copy, Args)]
pub struct DoctorArgs {
    /// The device to try beside the processor: cuda, cuda:N, metal, or auto for the first GPU that this build can use; cuda:all or a list
    /// as in cuda:0,cuda:1 for several.
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// On CUDA, try products of f32 in TF32.
    #[arg(long)]
    pub tf32: bool,
    /// On CUDA, try only algorithms that give the same bytes every time.
    #[arg(long)]
    pub deterministic: bool,
    /// Threads for computations; all cores when not given.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}
