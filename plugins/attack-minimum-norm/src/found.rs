//! The nearest misclassified point that is known of an image.

use mrpf_api::attack::search::{Ball, Ground};

/// A point and its distance from the clean image.
pub(crate) type Nearest = Option<(Vec<f64>, f64)>;

/// Whether a misclassified point within the ball is known.
pub(crate) fn is_broken(nearest: &Nearest, ball: Ball) -> bool {
    nearest.as_ref().is_some_and(|(_, distance)| *distance <= ball.epsilon)
}

/// What a search gives back: the points within the ball, the clean images where there is none.
pub(crate) fn images(ground: &Ground<'_>, nearest: impl Iterator<Item = Nearest>, ball: Ball) -> Vec<Vec<f64>> {
    let image = |(case, nearest): (&mrpf_api::attack::search::Case, Nearest)| match nearest {
        Some((point, distance)) if distance <= ball.epsilon => point,
        _ => case.clean.clone(),
    };
    ground.cases.iter().zip(nearest).map(image).collect()
}
