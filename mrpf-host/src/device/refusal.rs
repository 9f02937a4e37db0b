//! Why a device cannot be used, and what to do about it.

use mrpf_api::{Error, ErrorKind};

use super::choice::DeviceChoice;
use super::{HOW_TO_CUDA, HOW_TO_METAL, built_in};

/// The build has nothing for the device.
pub(super) fn not_built_in(choice: DeviceChoice) -> Error {
    let (what, how) = match choice {
        DeviceChoice::Metal => ("Metal", HOW_TO_METAL),
        _ => ("CUDA", HOW_TO_CUDA),
    };
    let message =
        format!("--device {choice}: this build of mrpf has no {what} (features of devices built in: {})", built_in());
    Error::new(ErrorKind::Device, message).hint(how)
}

/// Codes of the CUDA driver and its libraries, and what helps. Names as in cuda.h and cudnn.h.
const CAUSES: [(&[&str], &str); 8] = [
    (
        &["CUDA_ERROR_STUB_LIBRARY"],
        "a stub libcuda, made for linking only, is found before the driver's: take the `stubs` folder out of LD_LIBRARY_PATH",
    ),
    (
        &["CUDA_ERROR_NO_DEVICE"],
        "the driver sees no GPU: `nvidia-smi` shows what is there; CUDA_VISIBLE_DEVICES may hide it, and a container must be given its GPUs",
    ),
    (
        &["CUDA_ERROR_INVALID_DEVICE"],
        "there is no GPU of that number; they are counted from 0, and `mrpf doctor` lists them",
    ),
    (
        &["CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "CUDA_ERROR_INSUFFICIENT_DRIVER"],
        "the driver is older than the CUDA toolkit of this build: update it (CUDA 13 needs 580 or newer), or build with an older toolkit (CUDA_TOOLKIT_VERSION of scripts/cuda/home.sh)",
    ),
    (
        &["CUDA_ERROR_NO_BINARY_FOR_GPU", "CUDA_ERROR_INVALID_PTX", "CUDA_ERROR_JIT_COMPILER_NOT_FOUND"],
        "the kernels of this build are for another generation of GPUs: build with CUDA_COMPUTE_CAP of this one, or with 80, which all from Ampere on can use",
    ),
    (
        &["CUDA_ERROR_OUT_OF_MEMORY", "ALLOC_FAILED"],
        "the GPU's memory is full: `nvidia-smi` shows who holds it; a smaller batch needs less",
    ),
    (
        &[
            "CUDNN_STATUS",
            "libcudnn",
            "CUBLAS_STATUS",
            "libcublas",
            "libcurand",
            "Unable to dynamically load",
            "cannot open shared object",
        ],
        "a CUDA library is missing or of another version: start the program by scripts/cuda/run.sh, which looks for them; `mrpf doctor` shows what is found",
    ),
    (&["CUDA_ERROR_DEVICE_UNAVAILABLE"], "another process holds the GPU for itself"),
];

/// What the driver or a library said, with the hint that fits.
pub(super) fn refusal(choice: DeviceChoice, said: &str) -> Error {
    let said = said.lines().next().unwrap_or_default();
    let message = format!("--device {choice}: the device cannot be used: {said}");
    let known = CAUSES.iter().find(|(codes, _)| codes.iter().any(|code| said.contains(code)));
    let hint = known.map_or("`mrpf doctor` shows what this machine has", |(_, hint)| hint);
    Error::new(ErrorKind::Device, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_that_is_known_has_its_own_advice() {
        for (said, advice) in [
            (r#"DriverError(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected")"#, "nvidia-smi"),
            (r#"DriverError(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal")"#, "counted from 0"),
            (r#"DriverError(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "...")"#, "580 or newer"),
            (r#"DriverError(CUDA_ERROR_NO_BINARY_FOR_GPU, "...")"#, "CUDA_COMPUTE_CAP"),
            (r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#, "a smaller batch"),
            (r#"CudnnError(CUDNN_STATUS_NOT_INITIALIZED)"#, "scripts/cuda/run.sh"),
            (r#"DriverError(CUDA_ERROR_STUB_LIBRARY, "stub")"#, "LD_LIBRARY_PATH"),
            ("something new", "mrpf doctor"),
        ] {
            let error = refusal(DeviceChoice::Cuda(0), said);
            assert_eq!(error.kind(), ErrorKind::Device);
            assert_eq!(error.to_string(), format!("--device cuda:0: the device cannot be used: {said}"));
            assert!(error.hint_text().is_some_and(|hint| hint.contains(advice)), "{said}: {error:?}");
        }
    }
}
