//! The interval of a difference, by drawing the experiment again from itself.

use mrpf_api::random::Streams;

/// How often it is drawn: the ends of the interval stand at the 50th values from either side.
pub const RESAMPLES: usize = 2000;

/// The 95 % percentile interval of a mean difference, `[low, high]` (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, 13.3).
///
/// `differences` is `[seed, image]`: 1 where the first method alone is right, -1 where the second alone is, else 0; every seed has the
/// same images. Each time as many seeds as there are, and as many images, are drawn with replacement: the interval counts both that
/// other seeds and that other images would have given other figures. Nothing is drawn from nothing: then it is `[0, 0]`.
///
/// All pairs draw alike, so that the interval of second less first is exactly that of first less second, turned round.
pub fn paired_bootstrap(differences: &[Vec<i8>], streams: &Streams) -> [f64; 2] {
    let (seeds, images) = (differences.len(), differences.first().map_or(0, Vec::len));
    if images == 0 {
        return [0.0, 0.0];
    }
    let mut stream = streams.child("bootstrap").stream();
    let mut means: Vec<i64> = Vec::with_capacity(RESAMPLES);
    let mut of_image = vec![0i64; images];
    for _ in 0..RESAMPLES {
        of_image.fill(0);
        for _ in 0..seeds {
            let drawn = &differences[stream.below(seeds)];
            of_image.iter_mut().zip(drawn).for_each(|(sum, &difference)| *sum += i64::from(difference));
        }
        means.push((0..images).map(|_| of_image[stream.below(images)]).sum());
    }
    means.sort_unstable();
    let outside = RESAMPLES / 40;
    [means[outside], means[RESAMPLES - 1 - outside]].map(|sum| sum as f64 / (seeds * images) as f64)
}
