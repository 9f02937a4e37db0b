//! Where computations are done: the one place that opens a device.
//!
//! Networks, images and numbers follow the device that is opened here; files are read on the CPU and moved, and random numbers
//! are those that the CPU draws, so that they are the same everywhere. Nothing else in this crate opens a device.

mod busy;
mod choice;
mod open;
mod refusal;
mod several;

pub use busy::{Busy, busy_text};
pub use choice::{Arithmetic, DeviceChoice};
pub use open::{OpenDevice, open, open_first};
pub use several::{GpuSet, without_number};

/// The devices beside the CPU that this build has, by the names of the features that bring them.
pub const FEATURES: [(&str, bool); 3] =
    [("cuda", cfg!(feature = "cuda")), ("cudnn", cfg!(feature = "cudnn")), ("metal", cfg!(feature = "metal"))];

/// How to get a build for NVIDIA GPUs.
pub const HOW_TO_CUDA: &str = "scripts/cuda/build.sh makes a build for NVIDIA GPUs on any Linux machine; where the CUDA toolkit is installed, `cargo build --release -p mrpf-host --features cudnn` does";

/// How to get a build for Apple GPUs.
pub const HOW_TO_METAL: &str = "on a Mac, `cargo build --release -p mrpf-host --features metal` makes one";

/// The features that are built in, as words: `cuda, cudnn`, or `none`.
pub fn built_in() -> String {
    let names: Vec<&str> = FEATURES.iter().filter(|(_, is_built_in)| *is_built_in).map(|(name, _)| *name).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
