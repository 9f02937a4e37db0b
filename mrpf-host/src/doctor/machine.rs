//! What the program is built from, and what the machine is.

use mrpf_api::device::{CudaGpu, CudaVersions, cuda_gpus, cuda_versions};
use serde::Serialize;
use std::process::{Command, Stdio};
use sysinfo::System;

use crate::device::FEATURES;

/// What is built in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Build {
    /// Version of mrpf.
    pub version: String,
    /// Version of Candle.
    pub candle: String,
    /// The compiler.
    pub compiler: String,
    /// The machine that the program is for.
    pub target: String,
    /// Features of this program that are switched on.
    pub features: Vec<String>,
}

impl Build {
    /// Of the program that runs.
    pub fn of_this_program() -> Self {
        let api = mrpf_api::export::HostBuild::of_this_copy("");
        let plugins = ("dynamic-plugins", cfg!(feature = "dynamic-plugins"));
        let features = FEATURES.into_iter().chain([plugins]).filter(|(_, is_on)| *is_on);
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            candle: api.candle,
            compiler: api.compiler,
            target: api.target,
            features: features.map(|(name, _)| name.to_owned()).collect(),
        }
    }
}

/// The processor and its memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Processor {
    /// Cores that the system tells of, hyper-threads counted.
    pub cores: usize,
    /// Threads that computations use.
    pub threads: usize,
    /// Instruction sets that the kernels choose by, where this machine has them.
    pub instructions: Vec<String>,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of it that are free.
    pub memory_free: u64,
}

impl Processor {
    /// Of this machine.
    pub fn here() -> Self {
        let [memory, memory_free] = System::new().map_or([0, 0], |mut system| {
            system.refresh_memory();
            [system.total_memory(), system.available_memory()]
        });
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads: mrpf_api::rayon::current_num_threads(),
            instructions: instructions(),
            memory,
            memory_free,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<String> {
    let known = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
    ];
    known.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<String> {
    if cfg!(target_arch = "aarch64") { vec!["neon".into()] } else { Vec::new() }
}

/// Versions of CUDA that meet in this program; none of those that are not built in or do not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// The newest CUDA that the driver serves, such as `13.0`.
    pub driver: Option<String>,
    /// The CUDA that this build is for.
    pub build: Option<String>,
    /// The CUDA of libnvrtc, which compiles kernels.
    pub compiler: Option<String>,
    /// cuDNN, such as `9.19.0`.
    pub cudnn: Option<String>,
    /// The CUDA that cuDNN is for.
    pub cudnn_for: Option<String>,
}

impl Versions {
    /// Of this program and what it was started with.
    pub fn here() -> Self {
        let CudaVersions { driver, build, compiler, cudnn, cudnn_for } = cuda_versions();
        let [driver, build, compiler, cudnn_for] = [driver, build, compiler, cudnn_for]
            .map(|version| version.map(|[major, minor]| format!("{major}.{minor}")));
        let cudnn = cudnn.map(|[major, minor, patch]| format!("{major}.{minor}.{patch}"));
        Self { driver, build, compiler, cudnn, cudnn_for }
    }
}

/// An NVIDIA GPU, as its driver tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gpu {
    /// Its number, from 0.
    pub number: String,
    /// What it is called.
    pub name: String,
    /// Its generation, such as `9.0`.
    pub compute_capability: String,
    /// Version of the driver; `nvidia-smi` knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Its memory with unit.
    pub memory: String,
    /// How much of it is free; `nvidia-smi` knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_free: Option<String>,
}

/// The GPUs by the numbers that `--device` takes.
///
/// The driver's own program is asked, where there is one: it needs no CUDA in this build and knows more. Where the driver shows programs
/// other GPUs, or in another order, because CUDA_VISIBLE_DEVICES says so or a container was not given all, what it shows counts.
pub fn gpus() -> Vec<Gpu> {
    // A driver that does not answer is told of where the device is opened.
    agreed(by_program(), cuda_gpus().unwrap_or_default())
}

fn agreed(by_program: Vec<Gpu>, shown: Vec<CudaGpu>) -> Vec<Gpu> {
    let same = |(told, shown): (&Gpu, &CudaGpu)| told.name == shown.name;
    let is_same = by_program.len() == shown.len() && by_program.iter().zip(&shown).all(same);
    if is_same || shown.is_empty() {
        return by_program;
    }
    let driver = by_program.first().and_then(|gpu| gpu.driver.clone());
    let gpu = |(number, gpu): (usize, CudaGpu)| {
        let [major, minor] = gpu.compute_capability;
        Gpu {
            number: number.to_string(),
            name: gpu.name,
            compute_capability: format!("{major}.{minor}"),
            driver: driver.clone(),
            memory: format!("{} MiB", gpu.memory >> 20),
            memory_free: None,
        }
    };
    shown.into_iter().enumerate().map(gpu).collect()
}

fn by_program() -> Vec<Gpu> {
    let asked = Command::new("nvidia-smi")
        .arg("--query-gpu=index,name,compute_cap,driver_version,memory.total,memory.free")
        .arg("--format=csv,noheader")
        .stdin(Stdio::null())
        .output();
    let Ok(answer) = asked else { return Vec::new() };
    if !answer.status.success() {
        return Vec::new();
    }
    read(&String::from_utf8_lossy(&answer.stdout))
}

/// The lines that `nvidia-smi` prints; those of another form are left out.
fn read(text: &str) -> Vec<Gpu> {
    let gpu = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [number, name, compute_capability, driver, memory, memory_free] = fields.try_into().ok()?;
        let [number, name, compute_capability] = [number, name, compute_capability].map(str::to_owned);
        let [driver, memory_free] = [driver, memory_free].map(|text| Some(text.to_owned()));
        Some(Gpu { number, name, compute_capability, driver, memory: memory.to_owned(), memory_free })
    };
    text.lines().filter_map(gpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_drivers_program_prints_is_understood() {
        let text = "0, NVIDIA H100 80GB HBM3, 9.0, 580.95.05, 81559 MiB, 81004 MiB\nNo devices were found\n";
        let gpus = read(text);
        assert_eq!(gpus.len(), 1);
        assert_eq!((gpus[0].name.as_str(), gpus[0].driver.as_deref()), ("NVIDIA H100 80GB HBM3", Some("580.95.05")));
        assert!(read("").is_empty());
    }

    #[test]
    fn numbers_are_those_that_the_driver_shows() {
        let told = read("0, Small, 8.9, 580.1, 100 MiB, 90 MiB\n1, Large, 9.0, 580.1, 200 MiB, 190 MiB\n");
        let shown = |name: &str| CudaGpu { name: name.into(), compute_capability: [9, 0], memory: 200 << 20 };
        let [small, large] = ["Small", "Large"].map(shown);
        assert_eq!(agreed(told.clone(), vec![small.clone(), large.clone()]), told);
        assert_eq!(agreed(told.clone(), Vec::new()), told);
        let turned = agreed(told, vec![large.clone(), small]);
        assert_eq!((turned[0].number.as_str(), turned[0].name.as_str(), turned.len()), ("0", "Large", 2));
        assert_eq!((turned[0].driver.as_deref(), turned[0].memory_free.as_deref()), (Some("580.1"), None));
        assert_eq!(agreed(Vec::new(), vec![large])[0].memory, "200 MiB");
    }

    #[test]
    fn the_machine_is_described() {
        let processor = Processor::here();
        assert!(processor.cores >= 1 && processor.threads >= 1 && processor.memory >= processor.memory_free);
        assert_eq!(Build::of_this_program().candle, "0.11.1");
    }
}
