//! The one error type of mrpf: what was found, what was expected, and what to do next.

use std::fmt;

/// Result with the error of mrpf.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for programs that must tell one failure from another.
///
/// The host maps kinds to exit codes, see `mrpf --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A plugin, layer, group or setting with that name is not known.
    UnknownName,
    /// A setting has the wrong type or a value outside its range.
    Settings,
    /// A network declaration contradicts itself (unknown input, shapes that do not fit, a name used twice).
    Declaration,
    /// A data file is missing, truncated or holds impossible values.
    Data,
    /// A file with a saved network or a saved state cannot be used.
    Checkpoint,
    /// The pruning budget cannot be met.
    Budget,
    /// A number that must be finite is not, or a gradient is missing.
    Numeric,
    /// The tensor library refused an operation.
    Tensor,
    /// A plugin broke its contract, or two plugins claim one name.
    Plugin,
    /// The user asked to stop.
    Interrupted,
    /// The operating system refused to read or write.
    Io,
    /// The device to compute on is not there, is not built in or does not work.
    Device,
}

/// A failure with its kind, its message, the steps that led to it and a hint.
///
/// Messages are lower-case fragments without a final stop. [`Error::context`] adds what was being done, outermost last;
/// the program prints the chain from the outside in.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    context: Vec<String>,
    hint: Option<String>,
}

impl Error {
    /// A failure of the given kind; `message` says what was found and what was expected.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), context: Vec::new(), hint: None }
    }

    /// An unknown name: the message lists the known ones, the nearest first.
    pub fn unknown_name<'a>(what: &str, found: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let ranked = nearest_first(found, known);
        let message = format!("unknown {what} `{found}`");
        match ranked.first() {
            None => Self::new(ErrorKind::UnknownName, message).hint(format!("no {what} is known here")),
            Some(nearest) => {
                let hint = format!("did you mean `{nearest}`? known: {}", ranked.join(", "));
                Self::new(ErrorKind::UnknownName, message).hint(hint)
            }
        }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what was being done when this happened, for example "reading data_batch_1.bin".
    #[must_use]
    pub fn context(mut self, doing: impl Into<String>) -> Self {
        self.context.push(doing.into());
        self
    }

    /// The same failure as one of another kind, where whoever passes it on knows better whose fault it is.
    #[must_use]
    pub fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// The kind, for programs.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the memory of a GPU was too small for what was asked; less at a time may fit.
    pub fn is_out_of_memory(&self) -> bool {
        self.kind == ErrorKind::Device && OUT_OF_MEMORY.iter().any(|code| self.message.contains(code))
    }

    /// The innermost message, without context and hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next, if anything is known to help.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for doing in self.context.iter().rev() {
            write!(f, "{doing}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        match error {
            // Candle attaches a backtrace when the environment asks for one; it does not belong into a message.
            candle_core::Error::WithBacktrace { inner, .. } => (*inner).into(),
            candle_core::Error::Context { inner, context } => Self::from(*inner).context(context.to_string()),
            candle_core::Error::WithPath { inner, path } => Self::from(*inner).context(path.display().to_string()),
            error => {
                let message = error.to_string();
                match of_device(&message) {
                    Some(hint) => Self::new(ErrorKind::Device, message).hint(hint),
                    None => Self::new(ErrorKind::Tensor, message),
                }
            }
        }
    }
}

/// What the driver and its libraries say when a GPU's memory is full.
const OUT_OF_MEMORY: [&str; 4] = [
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
];

/// What to do where a GPU has failed in the middle of the work, by the code that its driver or a library gave.
fn of_device(message: &str) -> Option<&'static str> {
    let says = |codes: &[&str]| codes.iter().any(|code| message.contains(code));
    if says(&OUT_OF_MEMORY) {
        return Some(
            "the memory of the GPU is full: a smaller batch needs less, and `nvidia-smi` shows who else holds some",
        );
    }
    says(&["CUDA_ERROR_", "CUDNN_STATUS_", "CUBLAS_STATUS_", "CURAND_STATUS_", "cuDNN has no "])
        .then_some("the GPU, or its driver, has failed; what was saved before can be gone on with, on any device")
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        candle_core::Error::Msg(error.to_string())
    }
}

/// Adds context to results.
pub trait Context<T> {
    /// Says what was being done, should this be a failure.
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.into().context(doing()))
    }
}

/// The names ordered by their likeness to `found`, the nearest first; equally near ones alphabetically.
pub fn nearest_first<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // Slips of the finger first, counted; what is further away by how much it has in common.
    const SLIPS: usize = 2;
    let far = |name: &str| strsim::osa_distance(found, name).min(SLIPS + 1);
    let mut names: Vec<&str> = known.into_iter().collect();
    names.sort_by(|a, b| {
        let (near_a, near_b) = (strsim::jaro_winkler(found, a), strsim::jaro_winkler(found, b));
        far(a).cmp(&far(b)).then_with(|| near_b.total_cmp(&near_a)).then_with(|| a.cmp(b))
    });
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_nearer_than_a_shared_letter() {
        assert_eq!(nearest_first("pdg", ["apgd-dlr", "apgd-t", "fgsm", "pgd"])[0], "pgd");
        assert_eq!(nearest_first("wide", ["vgg", "mobilevit", "wide-resnet"])[0], "wide-resnet");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_known_one() {
        let error = Error::unknown_name("trainer", "trade", ["pgd-at", "standard", "trades"]);
        assert_eq!(error.to_string(), "unknown trainer `trade`");
        assert_eq!(error.hint_text(), Some("did you mean `trades`? known: trades, standard, pgd-at"));
    }

    #[test]
    fn a_refusal_of_candle_is_one_line() {
        let tensor = candle_core::Tensor::zeros((2, 3), candle_core::DType::F32, &candle_core::Device::Cpu);
        let refused = tensor.and_then(|tensor| tensor.matmul(&tensor).map_err(candle_core::Error::bt));
        let message = Error::from(refused.expect_err("the shapes do not fit")).to_string();
        assert!(message.starts_with("shape mismatch in matmul") && message.lines().count() == 1, "{message}");
    }

    #[test]
    fn a_gpu_that_fails_is_told_from_a_wrong_shape() {
        let wrapped = |text: &str| candle_core::Error::Msg(text.into()).bt();
        let full = Error::from(wrapped(r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#));
        assert_eq!(full.kind(), ErrorKind::Device);
        assert!(full.hint_text().is_some_and(|hint| hint.contains("smaller batch")), "{full:?}");
        assert!(full.is_out_of_memory());
        // Candle carries errors of ours as text.
        assert!(Error::from(candle_core::Error::from(full.context("step 3"))).is_out_of_memory());
        for lost in ["ILLEGAL_ADDRESS", "ECC_UNCORRECTABLE", "LAUNCH_FAILED", "UNKNOWN", "LAUNCH_TIMEOUT", "ASSERT"] {
            let lost = Error::from(wrapped(&format!(r#"DriverError(CUDA_ERROR_{lost}, "...")"#)));
            assert_eq!((lost.kind(), lost.is_out_of_memory()), (ErrorKind::Device, false), "{lost}");
        }
        let lost = Error::from(wrapped("CudnnError(CUDNN_STATUS_EXECUTION_FAILED)"));
        assert!(lost.hint_text().is_some_and(|hint| hint.contains("gone on with, on any device")), "{lost:?}");
        assert_eq!(Error::from(wrapped("shape mismatch")).kind(), ErrorKind::Tensor);
    }

    #[test]
    fn context_reads_from_the_outside_in() {
        let error =
            Error::new(ErrorKind::Data, "label 12, expected 0 to 9").context("record 7").context("reading a.bin");
        assert_eq!(error.to_string(), "reading a.bin: record 7: label 12, expected 0 to 9");
    }
}
