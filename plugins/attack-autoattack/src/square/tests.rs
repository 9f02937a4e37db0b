use super::*;
use crate::tests::{cx, ground, recorded, recorded_radius};

/// With the numbers that the original drew: the margin of every point that was tried, and the point at the end.
fn follows_the_original(norm: Norm) -> Result<()> {
    let (frozen, batch, fixture) = recorded()?;
    let (epsilon, name) = recorded_radius(norm);
    let ball = Ball { norm, epsilon };
    for row in 0..2 {
        let ground = ground(&frozen, &batch.select(&[row])?)?;
        let of = |what: &str| fixture.tensor(&format!("square.{name}.{row}.{what}"));
        let (mut draws, margins) = (of("draws")?.to_vec1::<f64>()?.into_iter(), of("margins")?.to_vec1::<f64>()?);
        let draws = Box::new(move || draws.next().expect("as many numbers as the original drew"));
        let course = Course::new(0, &ground.cases[0], ball, &ground.form, draws);
        let square = SquareAttack::new(SquareSettings { queries: margins.len() - 1, ..SquareSettings::default() })?;
        let mut lowest = f64::INFINITY;
        let mut accepted = 0;
        let done = square.run(&cx(), ball, &ground, vec![course], &mut |query, live| {
            accepted += usize::from(margins[query] < lowest);
            lowest = lowest.min(margins[query]);
            let margin = live[0].margin;
            assert!((margin - lowest).abs() < 1e-9, "{name} query {query}: {margin}, expected {lowest}");
        })?;
        assert!(accepted > 5, "{accepted}");
        let best = of("best")?.flatten_all()?.to_vec1::<f64>()?;
        let furthest = done[0].best.iter().zip(&best).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(furthest < 1e-9, "{name}: {furthest}");
    }
    Ok(())
}

#[test]
fn the_accepted_squares_are_the_original_ones() -> Result<()> {
    Norm::ALL.into_iter().try_for_each(follows_the_original)
}
