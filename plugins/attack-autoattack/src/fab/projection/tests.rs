use super::*;
use mrpf_api::attack::search::length;
use proptest::prelude::*;

proptest! {
    /// The change ends on the hyperplane if that can be reached, stays in the range, and no other point of the hyperplane that was
    /// drawn is nearer.
    #[test]
    fn the_projection_is_on_the_hyperplane_and_no_point_of_it_is_nearer(
        parts in prop::collection::vec((0.0..=1.0f64, prop_oneof![Just(0.0), -1.0..1.0f64], 0.0..=1.0f64), 1..12),
        norm in prop::sample::select(Norm::ALL.to_vec()),
        beyond in prop::bool::weighted(0.2),
    ) {
        let point: Vec<f64> = parts.iter().map(|part| part.0).collect();
        let w: Vec<f64> = parts.iter().map(|part| part.1).collect();
        // A hyperplane through a point of the range, or beyond all of them.
        let witness: Vec<f64> = parts.iter().map(|part| part.2).collect();
        let b = dot(&w, &witness) + if beyond { 100.0 } else { 0.0 };
        let change = project(norm, &point, &w, b);
        let found: Vec<f64> = point.iter().zip(&change).map(|(value, change)| value + change).collect();
        prop_assert!(found.iter().all(|value| (-1e-9..=1.0 + 1e-9).contains(value)), "{found:?}");
        if beyond {
            let reached = point.iter().zip(&w).map(|(&value, &w)| if w > 0.0 { w } else { 0.0 * value }).sum::<f64>();
            prop_assert!((dot(&w, &found) - reached).abs() < 1e-6, "as far as it goes");
        } else {
            prop_assert!((dot(&w, &found) - b).abs() < 1e-6, "{} is not {b}", dot(&w, &found));
            let other = length(norm, point.iter().zip(&witness).map(|(point, witness)| witness - point));
            prop_assert!(length(norm, change.iter().copied()) <= other + 1e-6);
        }
    }
}
