//! Where a course of APGD begins.

use mrpf_api::attack::search::{Ball, Case, TINY, length};
use mrpf_api::prelude::*;

/// The noise of an image: uniform in [-1, 1) for L-inf, standard normal for L2 and L1.
pub(super) fn noise(norm: Norm, case: &Case, streams: &Streams) -> Vec<f64> {
    let mut noise = vec![0.0; case.clean.len()];
    let mut stream = streams.child(case.index).stream();
    match norm {
        Norm::Linf => stream.fill_uniform(&mut noise, -1.0, 1.0),
        Norm::L2 | Norm::L1 => stream.fill_normal(&mut noise),
    }
    noise
}

/// The noise scaled to the surface of the ball (L1: put into the ball), cut to the range.
pub(super) fn place(ball: Ball, clean: &[f64], noise: &[f64]) -> Vec<f64> {
    let mut start = clean.to_vec();
    match ball.norm {
        Norm::L1 => ball.shorten(clean, noise, &mut start),
        norm => {
            let factor = ball.epsilon / (length(norm, noise.iter().copied()) + TINY);
            start.iter_mut().zip(noise).for_each(|(value, noise)| *value += factor * noise);
        }
    }
    start.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
    start
}
