//! Where a pass puts its work: on the GPU's stream to be done now, or into a graph to be done again and again.

use candle_core::cuda_backend::cudarc::driver::{self, CudaGraph, CudaStream, sys};
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::gpu::{Argument, Gpu, Grid, Launcher};
use super::memory::DeviceBuffer;
use crate::Result;
use crate::numeric::kernel::cudnn_calls::{Algorithm, Case, Handle};

/// cuDNN on one GPU, with what it has been asked before.
#[derive(Debug)]
pub(crate) struct Library {
    pub handle: Handle,
    pub algorithms: HashMap<Case, Algorithm>,
    /// Graphs hold on to the one that they were recorded with.
    pub workspace: Option<Arc<DeviceBuffer>>,
    /// What is put here while it records goes into a graph; other work of the program is on another stream and does not.
    recorder: Arc<CudaStream>,
}

// SAFETY: cuDNN's handle may move between threads as long as one uses it at a time, which the lock around the library ensures.
unsafe impl Send for Library {}

impl Library {
    pub fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        // SAFETY: all work of the program is on one stream; what the recorder takes down is later started on that one as well. Events
        // that order streams would cost at every call, and may not be waited for while recording.
        unsafe { stream.context().disable_event_tracking() };
        let recorder = stream.context().new_stream().map_err(candle_core::Error::wrap)?;
        let handle = Handle::new(stream.clone())?;
        Ok(Self { handle, algorithms: HashMap::new(), workspace: None, recorder })
    }
}

/// The GPU for one pass at a time.
pub(super) struct Queue<'a> {
    pub gpu: &'a Gpu,
    pub library: MutexGuard<'a, Library>,
    pub stream: Arc<CudaStream>,
}

impl<'a> Queue<'a> {
    fn new(gpu: &'a Gpu, is_recording: bool) -> Result<Self> {
        let mut library = gpu.library.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = if is_recording { library.recorder.clone() } else { gpu.stream.clone() };
        stream.context().bind_to_thread().map_err(candle_core::Error::wrap)?;
        library.handle.follow(stream.clone())?;
        Ok(Self { gpu, library, stream })
    }

    /// Starts a kernel.
    pub fn launch(&self, kernel: &str, grid: Grid, arguments: &[Argument]) -> Result<()> {
        self.launcher().launch(kernel, grid, arguments)
    }

    /// Where kernels are started.
    pub fn launcher(&self) -> Launcher<'_> {
        Launcher { gpu: self.gpu, stream: &self.stream }
    }
}

/// Work that was recorded: it reads and writes the same places every time.
pub(super) struct Recorded {
    graph: CudaGraph,
    _workspace: Option<Arc<DeviceBuffer>>,
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorded")
    }
}

// SAFETY: a graph may be launched from any thread as long as one does so at a time; whoever launches it holds the library's lock.
unsafe impl Send for Recorded {}
// SAFETY: as above.
unsafe impl Sync for Recorded {}

/// Work that is done again and again: at first as it comes, so that libraries choose their algorithms and memory is taken; the
/// second time it is recorded, and from then on started as a whole.
#[derive(Debug, Default)]
pub(super) enum Repeated {
    #[default]
    New,
    Known,
    Recorded(Recorded),
}

impl Repeated {
    /// Does the work that `enqueue` describes, which must be the same each time.
    pub fn run(&mut self, gpu: &Gpu, enqueue: impl FnOnce(&mut Queue<'_>) -> Result<()>) -> Result<()> {
        match self {
            Self::New => {
                enqueue(&mut Queue::new(gpu, false)?)?;
                *self = Self::Known;
                return Ok(());
            }
            Self::Known => *self = Self::Recorded(record(gpu, enqueue)?),
            Self::Recorded(_) => {}
        }
        let Self::Recorded(recorded) = self else { return Ok(()) };
        let _turn = gpu.library.lock().unwrap_or_else(PoisonError::into_inner);
        gpu.stream.context().bind_to_thread().map_err(candle_core::Error::wrap)?;
        // SAFETY: the graph is whole, for `record` checked it; what it reads and writes is held by the pass that holds it.
        let launched = unsafe { driver::result::graph::launch(recorded.graph.cu_graph_exec(), gpu.stream.cu_stream()) };
        launched.map_err(candle_core::Error::wrap)?;
        Ok(())
    }
}

fn record(gpu: &Gpu, enqueue: impl FnOnce(&mut Queue<'_>) -> Result<()>) -> Result<Recorded> {
    let mut queue = Queue::new(gpu, true)?;
    // Memory may be taken in the meantime, which is work on the other stream.
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
    queue.stream.begin_capture(mode).map_err(candle_core::Error::wrap)?;
    let done = enqueue(&mut queue);
    let graph = queue.stream.end_capture(sys::CUgraphInstantiate_flags(0));
    done?;
    let graph = graph.map_err(candle_core::Error::wrap)?;
    let graph = graph.ok_or_else(|| crate::Error::new(crate::ErrorKind::Device, "a pass was recorded as nothing"))?;
    Ok(Recorded { graph, _workspace: queue.library.workspace.clone() })
}
