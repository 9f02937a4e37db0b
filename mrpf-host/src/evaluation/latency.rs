//! How long the network takes on this machine.

use mrpf_api::Result;
use mrpf_api::candle_core::Tensor;
use mrpf_api::context::CallContext;
use mrpf_api::network::{Classifier, Network};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Instant;

/// A measured time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Images in a pass.
    pub batch: usize,
    /// Median time of a pass, in milliseconds.
    pub median_ms: f64,
}

/// Images in a pass.
pub const LATENCY_BATCH: usize = 64;
/// Passes that are counted, after as many warm-up passes as bring caches and clocks up.
const PASSES: usize = 15;
const WARM_UP: usize = 3;

/// Median time of a forward pass in evaluation mode with batch norm folded, as the network would be used.
pub fn measure_latency(cx: &CallContext<'_>, network: &Network) -> Result<Latency> {
    Ok(Latency { batch: LATENCY_BATCH, median_ms: median_pass_ms(cx, network, WARM_UP, PASSES)? })
}

/// Median time in milliseconds of `passes` passes of [`LATENCY_BATCH`] images, after some that do not count; one at least, in which it is
/// found how many images a GPU has room for.
pub fn median_pass_ms(cx: &CallContext<'_>, network: &Network, warm_up: usize, passes: usize) -> Result<f64> {
    let frozen = network.freeze()?;
    let input = network.declaration().input;
    let images = Tensor::full(0.5f32, (LATENCY_BATCH, input.channels, input.height, input.width), network.device())?
        .to_dtype(network.dtype())?;
    let mut times = Vec::with_capacity(passes);
    for pass in 0..warm_up + passes {
        let start = Instant::now();
        let mut parts = cx.parts(LATENCY_BATCH, LATENCY_BATCH, || frozen.release_memory());
        // Reading the result makes sure that the pass has really ended, on any device.
        let logits = |part: Range<usize>| -> Result<Vec<Vec<f32>>> {
            Ok(frozen.logits(&images.narrow(0, part.start, part.len())?)?.to_vec2()?)
        };
        while parts.next_part(logits)?.is_some() {}
        if pass >= warm_up {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times.get(passes / 2).copied().unwrap_or(0.0))
}
