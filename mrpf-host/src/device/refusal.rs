//! Why a device cannot be used, and what to do about it.

use mrpf_api::device::CudaVersions;
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
type Causes = [(&'static [&'static str], &'static str)];

/// Those that have one cause, whatever versions meet.
const CERTAIN: &Causes = &[
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
        &["CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"],
        "the libcuda that was found does not belong to the driver that runs: restart the machine after an update of the driver; in a container, take a libcuda of its own (a folder named `compat`) out of LD_LIBRARY_PATH",
    ),
    (
        &["CUDA_ERROR_OUT_OF_MEMORY", "ALLOC_FAILED"],
        "the GPU's memory is full: `nvidia-smi` shows who holds it; a smaller batch needs less",
    ),
    (&["CUDA_ERROR_DEVICE_UNAVAILABLE"], "another process holds the GPU for itself"),
    (
        &["CUDA_ERROR_SYSTEM_NOT_READY"],
        "the driver waits for a service of the machine: with NVSwitch, `nvidia-fabricmanager` must run",
    ),
    (
        &["CUDA_ERROR_JIT_COMPILER_NOT_FOUND"],
        "the driver's own compiler (libnvidia-ptxjitcompiler) is missing: a container gets it with NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ),
];

/// Those that follow from versions that do not go together, and from other things where they do.
const LIKELY: &Causes = &[
    (
        &["CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "CUDA_ERROR_INSUFFICIENT_DRIVER"],
        "the driver is older than the CUDA toolkit of this build: update it (CUDA 13 needs 580 or newer), or build with an older toolkit (CUDA_TOOLKIT_VERSION of scripts/cuda/home.sh)",
    ),
    (
        &["CUDA_ERROR_NO_BINARY_FOR_GPU", "CUDA_ERROR_INVALID_PTX"],
        "the kernels of this build are for another generation of GPUs: build with CUDA_COMPUTE_CAP of this one, or with 80, which all from Ampere on can use",
    ),
    (
        &[
            "CUDNN_STATUS",
            "libcudnn",
            "CUBLAS_STATUS",
            "libcublas",
            "NVRTC_ERROR",
            "CURAND_STATUS",
            "libcurand",
            "Unable to dynamically load",
            "cannot open shared object",
        ],
        "a CUDA library is missing or of another version: start the program by scripts/cuda/run.sh, which looks for them; `mrpf doctor` shows what is found",
    ),
    (
        &["CUDA_ERROR_"],
        "the driver or the GPU has failed: `nvidia-smi` and the system's log (lines with Xid) say more; often a restart of the machine helps, and --device cpu works meanwhile",
    ),
];

/// What the driver or a library said, with the hint that fits.
pub(super) fn refusal(choice: DeviceChoice, said: &str, versions: &CudaVersions) -> Error {
    let said = said.lines().next().unwrap_or_default();
    let of_cudnn = versions.cudnn.filter(|_| said.contains("CUDNN_STATUS"));
    let which = of_cudnn.map_or_else(String::new, |[major, minor, patch]| format!(" (cuDNN {major}.{minor}.{patch})"));
    let message = format!("--device {choice}: the device cannot be used: {said}{which}");
    let known = |causes: &Causes| {
        causes
            .iter()
            .find(|(codes, _)| codes.iter().any(|code| said.contains(code)))
            .map(|(_, hint)| (*hint).to_owned())
    };
    let hint = known(CERTAIN).or_else(|| of_versions(said, versions)).or_else(|| known(LIKELY));
    Error::new(ErrorKind::Device, message)
        .hint(hint.unwrap_or_else(|| "`mrpf doctor` shows what this machine has".into()))
}

/// Which of the versions does not go with the others.
fn of_versions(said: &str, versions: &CudaVersions) -> Option<String> {
    let &CudaVersions { driver, build, compiler, cudnn, cudnn_for } = versions;
    let [major, minor] = build?;
    if let Some([newest, within]) = driver.filter(|driver| *driver < [major, minor]) {
        return Some(format!(
            "the driver serves CUDA {newest}.{within} at most, and this build is for CUDA {major}.{minor}: update the driver (CUDA 13 needs \
             580 or newer), or build with an older toolkit (CUDA_TOOLKIT_VERSION of scripts/cuda/home.sh)"
        ));
    }
    if let (Some([newest, within]), Some(found)) = (driver, compiler)
        && found > [newest, within]
        && said.contains("CUDA_ERROR_UNSUPPORTED_PTX_VERSION")
    {
        let [of, point] = found;
        return Some(format!(
            "the driver serves CUDA {newest}.{within} at most, and the libnvrtc that was found is of CUDA {of}.{point}: put one of CUDA \
             {newest}.{within} before it (`pip install \"nvidia-cuda-nvrtc=={newest}.{within}.*\"`), or update the driver"
        ));
    }
    let ([release, feature, patch], [made_for, _]) = (cudnn?, cudnn_for?);
    (said.contains("CUDNN_STATUS") && made_for != major).then(|| {
        format!(
            "the cuDNN that was found, {release}.{feature}.{patch}, is for CUDA {made_for}, and this build is for CUDA {major}: put one for \
             CUDA {major} before it (`pip install nvidia-cudnn-cu{major}`); `mrpf doctor` shows where it lies"
        )
    })
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
            (r#"DriverError(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "...")"#, "restart the machine"),
            (r#"DriverError(CUDA_ERROR_JIT_COMPILER_NOT_FOUND, "...")"#, "NVIDIA_DRIVER_CAPABILITIES"),
            (r#"DriverError(CUDA_ERROR_ECC_UNCORRECTABLE, "...")"#, "Xid"),
            ("something new", "mrpf doctor"),
        ] {
            let error = refusal(DeviceChoice::Cuda(0), said, &CudaVersions::default());
            assert_eq!(error.kind(), ErrorKind::Device);
            assert_eq!(error.to_string(), format!("--device cuda:0: the device cannot be used: {said}"));
            assert!(error.hint_text().is_some_and(|hint| hint.contains(advice)), "{said}: {error:?}");
        }
    }

    #[test]
    fn versions_that_do_not_go_together_are_named() {
        let fits = CudaVersions {
            driver: Some([13, 0]),
            build: Some([13, 0]),
            compiler: Some([13, 0]),
            cudnn: Some([9, 19, 0]),
            cudnn_for: Some([13, 0]),
        };
        let hint = |said: &str, versions: &CudaVersions| {
            refusal(DeviceChoice::Cuda(0), said, versions).hint_text().unwrap_or_default().to_owned()
        };
        let (blas, cudnn) = ("CublasError(CUBLAS_STATUS_NOT_INITIALIZED)", "CudnnError(CUDNN_STATUS_NOT_INITIALIZED)");
        for said in [blas, cudnn] {
            assert!(hint(said, &fits).starts_with("a CUDA library is missing"));
            let old = CudaVersions { driver: Some([12, 8]), ..fits };
            assert!(
                hint(said, &old).starts_with("the driver serves CUDA 12.8 at most, and this build is for CUDA 13.0")
            );
        }
        let newer = CudaVersions { compiler: Some([13, 2]), ..fits };
        let said = "DriverError(CUDA_ERROR_UNSUPPORTED_PTX_VERSION)";
        assert!(hint(said, &newer).contains("the libnvrtc that was found is of CUDA 13.2"));
        assert!(hint(said, &fits).starts_with("the driver is older than the CUDA toolkit"));
        let other = CudaVersions { cudnn: Some([9, 1, 0]), cudnn_for: Some([12, 8]), ..fits };
        assert!(
            hint(cudnn, &other)
                .starts_with("the cuDNN that was found, 9.1.0, is for CUDA 12, and this build is for CUDA 13")
        );
        assert!(hint(blas, &other).starts_with("a CUDA library is missing"));
        let message = refusal(DeviceChoice::Cuda(0), cudnn, &other).to_string();
        assert!(message.ends_with("CudnnError(CUDNN_STATUS_NOT_INITIALIZED) (cuDNN 9.1.0)"), "{message}");
        assert!(hint("CUDA_ERROR_NO_DEVICE", &other).contains("sees no GPU"));
    }
}
