//! The size of the square as the queries go on.

use mrpf_api::prelude::Norm;

/// The iterations after which the share is halved, and halved again.
const HALVINGS: [usize; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];

/// Share of the image's area that the square has at an iteration, from `first` on; `rescaled` is the number of iterations to which
/// the schedule, made for 10,000, is stretched.
pub(super) fn share(iteration: usize, first: f64, rescaled: Option<usize>) -> f64 {
    let iteration = match rescaled {
        Some(all) => (iteration as f64 / all as f64 * 10_000.0) as usize,
        None => iteration,
    };
    let halvings = HALVINGS.iter().filter(|&&end| iteration > end).count();
    first / 2_f64.powi(halvings as i32)
}

/// Side of the square in pixels; in L2 and L1 odd and at least 3.
pub(super) fn side(norm: Norm, share: f64, height: usize, width: usize) -> usize {
    let side = (share * (height * width) as f64).sqrt().round_ties_even() as usize;
    let side = match norm {
        Norm::Linf => side.max(1),
        Norm::L2 | Norm::L1 => side.max(3) | 1,
    };
    side.min(height).min(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_square_shrinks_as_the_original_does() {
        let at =
            |size| [0, 11, 51, 201, 501, 1001, 2001, 4001].map(|i| side(Norm::Linf, share(i, 0.8, None), size, size));
        assert_eq!(at(32), [29, 20, 14, 10, 7, 5, 4, 3]);
        assert_eq!(at(64), [57, 40, 29, 20, 14, 10, 7, 5]);
        assert_eq!(share(10, 0.8, None), 0.8);
        assert_eq!(share(6, 0.8, Some(5000)), 0.4);
        assert_eq!(side(Norm::L2, share(4001, 0.8, None), 32, 32), 3);
    }
}
