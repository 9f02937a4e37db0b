//! How busy a GPU is while something is computed on it.

use mrpf_api::candle_core::Device;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the driver is asked: it averages over less than a second.
const EVERY: Duration = Duration::from_millis(500);

/// Watches a device from a thread of its own for as long as it lives.
///
/// NVIDIA GPUs are asked by NVML, the library behind `nvidia-smi`. Of other devices, in builds without CUDA, and where NVML is not there
/// or does not answer, it knows nothing.
#[derive(Debug, Default)]
pub struct Busy(Option<Watch>);

impl Busy {
    /// Begins to watch.
    pub fn watch(device: &Device) -> Self {
        let sample = sampler(device);
        Self(sample.and_then(|sample| Watch::start(sample, EVERY)))
    }

    /// The mean share of time so far, from 0 to 1, in which the GPU ran anything; also what other programs ran on it.
    pub fn share(&self) -> Option<f64> {
        self.0.as_ref().and_then(Watch::mean)
    }
}

/// `GPU 93 %`, of a share.
pub fn busy_text(share: f64) -> String {
    format!("GPU {:.0} %", 100.0 * share)
}

#[derive(Debug)]
struct Watch {
    seen: Arc<Mutex<Seen>>,
    // The thread ends when this does.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    sum: f64,
    count: usize,
}

impl Watch {
    /// Asks `sample` again and again until it has no answer.
    fn start(mut sample: impl FnMut() -> Option<f64> + Send + 'static, every: Duration) -> Option<Self> {
        let (stop, stopped) = channel();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = seen.clone();
        let work = move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let Some(share) = sample() else { return };
                let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner);
                seen.sum += share;
                seen.count += 1;
            }
        };
        let thread = std::thread::Builder::new().name("device watch".into()).spawn(work).ok()?;
        Some(Self { seen, stop: Some(stop), thread: Some(thread) })
    }

    fn mean(&self) -> Option<f64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.count > 0).then(|| seen.sum / seen.count as f64)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        // A thread that has panicked has nothing more to say.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Asks how busy a device is now.
type Sample = Box<dyn FnMut() -> Option<f64> + Send>;

#[cfg(feature = "cuda")]
fn sampler(device: &Device) -> Option<Sample> {
    use nvml_wrapper::Nvml;
    use std::sync::LazyLock;

    static NVML: LazyLock<Option<Nvml>> = LazyLock::new(|| Nvml::init().ok());
    let Device::Cuda(device) = device else { return None };
    // Numbers of CUDA and of NVML differ, the first hang on CUDA_VISIBLE_DEVICES.
    let bytes = device.cuda_stream().context().uuid().ok()?.bytes;
    let uuid = uuid_text(&bytes.map(|byte| byte as u8));
    NVML.as_ref()?.device_by_uuid(uuid.as_str()).ok()?.utilization_rates().ok()?;
    Some(Box::new(move || {
        let gpu = NVML.as_ref()?.device_by_uuid(uuid.as_str()).ok()?;
        Some(f64::from(gpu.utilization_rates().ok()?.gpu) / 100.0)
    }))
}

#[cfg(not(feature = "cuda"))]
fn sampler(_: &Device) -> Option<Sample> {
    None
}

/// As NVML writes it: `GPU-01234567-89ab-cdef-0123-456789abcdef`.
#[cfg(any(test, feature = "cuda"))]
fn uuid_text(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("GPU-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_not_watched() {
        assert_eq!(Busy::watch(&Device::Cpu).share(), None);
        assert_eq!(busy_text(0.934), "GPU 93 %");
    }

    #[test]
    fn the_mean_is_of_all_that_was_seen_until_there_is_no_answer() {
        let (asked, heard) = channel();
        let mut answers = [0.5, 1.0, 0.75].into_iter();
        let sample = move || {
            let answer = answers.next();
            let _ = asked.send(answer);
            answer
        };
        let watch = Watch::start(sample, Duration::from_millis(1)).expect("a thread");
        let all: Vec<Option<f64>> = heard.iter().collect();
        assert_eq!(all, [Some(0.5), Some(1.0), Some(0.75), None]);
        assert_eq!(watch.mean(), Some(0.75));
    }

    #[test]
    fn it_stops_when_nobody_wants_to_know() {
        let (asked, heard) = channel();
        drop(Watch::start(move || asked.send(()).ok().map(|()| 1.0), Duration::from_secs(3600)));
        assert!(heard.recv().is_err(), "the thread is gone, and never asked");
    }

    #[test]
    fn identities_are_written_as_the_driver_writes_them() {
        let bytes = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        assert_eq!(uuid_text(&bytes), "GPU-01234567-89ab-cdef-0123-456789abcdef");
    }
}
