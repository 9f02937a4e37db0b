//! How fast each device does some work: an estimate in a second, `mrpf bench` measures.

use mrpf_api::Result;
use mrpf_api::candle_core::{DType, Tensor, Var};
use mrpf_api::numeric::{ConvGeometry, conv2d};
use mrpf_api::random::Streams;
use serde::Serialize;
use std::time::{Duration, Instant};

use crate::device::OpenDevice;

/// A speed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rate {
    /// The work.
    pub work: String,
    /// Where it was done.
    pub device: String,
    /// Multiplications and additions, in 1e9 a second.
    pub gflops: f64,
}

/// How long each piece of work is repeated.
const PATIENCE: Duration = Duration::from_millis(250);
// The convolution of a layer of a ResNet-18.
const BATCH: usize = 16;
const CHANNELS: usize = 64;
const SIDE: usize = 32;

/// Measures on every device that works; one that fails is left out here, the self-test says why.
pub(super) fn measure(places: &[&OpenDevice]) -> Result<Vec<Rate>> {
    Ok(places.iter().filter_map(|place| convolutions(place).ok()).flatten().collect())
}

fn convolutions(place: &OpenDevice) -> Result<Vec<Rate>> {
    let mut stream = Streams::new(0).stream();
    let mut normal = |shape: &[usize]| stream.normal(shape, DType::F32, &place.device);
    let images = normal(&[BATCH, CHANNELS, SIDE, SIDE])?;
    let weight = normal(&[CHANNELS, CHANNELS, 3, 3])?;
    let (tracked_images, tracked_weight) = (Var::from_tensor(&images)?, Var::from_tensor(&weight)?);
    let geometry = ConvGeometry::same3();
    let flops = (2 * BATCH * CHANNELS * CHANNELS * 9 * SIDE * SIDE) as f64;
    let forward = || -> Result<Tensor> { conv2d(&images, &weight, None, &geometry) };
    let both = || -> Result<Tensor> {
        let gradients = conv2d(&tracked_images, &tracked_weight, None, &geometry)?.backward()?;
        Ok(gradients.get(&tracked_weight).cloned().unwrap_or_else(|| images.clone()))
    };
    let rate = |work: &str, flops: f64, repeat: &dyn Fn() -> Result<Tensor>| -> Result<Rate> {
        let seconds = best(place, repeat)?;
        let gflops = (flops / seconds / 1e8).round() / 10.0;
        Ok(Rate { work: work.into(), device: place.name.clone(), gflops })
    };
    Ok(vec![
        rate("convolution, forward", flops, &forward)?,
        rate("convolution, with both gradients", 3.0 * flops, &both)?,
    ])
}

/// The shortest time of a repetition, the first one left out.
fn best(place: &OpenDevice, work: &dyn Fn() -> Result<Tensor>) -> Result<f64> {
    let (start, mut best, mut repetitions) = (Instant::now(), f64::INFINITY, 0);
    while repetitions < 3 || start.elapsed() < PATIENCE {
        let begin = Instant::now();
        work()?;
        place.device.synchronize()?;
        if repetitions > 0 {
            best = best.min(begin.elapsed().as_secs_f64());
        }
        repetitions += 1;
    }
    Ok(best.max(1e-9))
}
