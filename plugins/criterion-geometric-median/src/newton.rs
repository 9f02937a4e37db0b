//! Newton's step towards the geometric median.

use super::weiszfeld::Pull;

/// Most products with the second derivatives for one step: filters of a layer need a handful.
const MOST_PRODUCTS: usize = 30;

/// The step -H⁻¹g of the sum of distances at a place, by conjugate gradients: with u the unit vectors from the points to the place and d the
/// `distances`, g = Σu and H = Σ(I - uuᵀ)/d. The inverse is taken to three digits, or as far as the sum curves; none where a point lies
/// here or the sum curves nowhere.
pub(crate) fn newton_step(points: &[&[f64]], at: &[f64], distances: &[f64], pull: &Pull) -> Option<Vec<f64>> {
    if pull.points_here > 0.0 {
        return None;
    }
    let mut residual = pull.force.clone();
    let mut step = vec![0.0; at.len()];
    let mut direction = residual.clone();
    let mut square = dot(&residual, &residual);
    let enough = 1e-6 * square;
    let mut has_moved = false;
    for _ in 0..MOST_PRODUCTS {
        let product = second_derivatives(points, at, distances, pull.weight, &direction);
        let curvature = dot(&direction, &product);
        if curvature <= 1e-12 * pull.weight * dot(&direction, &direction) {
            break;
        }
        has_moved = true;
        let length = square / curvature;
        step.iter_mut().zip(&direction).for_each(|(step, direction)| *step += length * direction);
        residual.iter_mut().zip(&product).for_each(|(residual, product)| *residual -= length * product);
        let next = dot(&residual, &residual);
        if next <= enough {
            break;
        }
        direction
            .iter_mut()
            .zip(&residual)
            .for_each(|(direction, residual)| *direction = residual + next / square * *direction);
        square = next;
    }
    has_moved.then_some(step)
}

/// H times `direction`.
fn second_derivatives(points: &[&[f64]], at: &[f64], distances: &[f64], weight: f64, direction: &[f64]) -> Vec<f64> {
    let mut product: Vec<f64> = direction.iter().map(|direction| weight * direction).collect();
    for (point, distance) in points.iter().zip(distances) {
        let along: f64 =
            point.iter().zip(at).zip(direction).map(|((point, at), direction)| (point - at) * direction).sum();
        let factor = along / distance.powi(3);
        let terms = product.iter_mut().zip(point.iter().zip(at));
        terms.for_each(|(product, (point, at))| *product -= factor * (point - at));
    }
    product
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
