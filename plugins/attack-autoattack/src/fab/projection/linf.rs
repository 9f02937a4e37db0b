//! L-inf: every value moves by the same amount, or to the face of the range if that is nearer.

use super::{last_that, way_to_face};

/// `above` is `w . point - b`, not negative: the weighted sum of the amounts that is wanted.
pub(super) fn project(point: &[f64], w: &[f64], above: f64) -> Vec<f64> {
    let count = point.len();
    let room: Vec<f64> = point.iter().zip(w).map(|(&value, &w)| way_to_face(value, w).abs()).collect();
    let mut by_room: Vec<usize> = (0..count).collect();
    by_room.sort_by(|&a, &b| room[b].total_cmp(&room[a]));
    // Sums over the values with the most room: of the weights, and of what the values contribute at their faces.
    let (mut weights, mut at_faces) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut weight, mut at_face) = (0.0, 0.0);
    for &at in &by_room {
        weight += w[at].abs();
        at_face += w[at].abs() * room[at];
        weights.push(weight);
        at_faces.push(at_face);
    }
    if count == 0 || weight == 0.0 {
        return vec![0.0; count];
    }
    let least_room = room[by_room[count - 1]];
    let amount = if above < weight * least_room {
        above / weight
    } else if above < at_face {
        // What is reached when all with at least the room of number `place` move by that room, and the others to their faces.
        let reached = |place: usize| at_face - at_faces[place] + weights[place] * room[by_room[place]];
        let place = last_that(count - 1, |place| above < reached(place));
        ((above - at_face + at_faces[place]) / weights[place]).max(0.0)
    } else {
        f64::INFINITY
    };
    let moved = |(&value, &w): (&f64, &f64)| {
        let way = way_to_face(value, w);
        if w == 0.0 { 0.0 } else { way.abs().min(amount).copysign(way) }
    };
    point.iter().zip(w).map(moved).collect()
}
