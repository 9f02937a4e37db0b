use super::projection::project;
use super::*;
use crate::tests::{cx, ground, recorded, recorded_radius};

#[test]
fn the_projections_are_the_original_ones() -> Result<()> {
    let (_, _, fixture) = recorded()?;
    for norm in Norm::ALL {
        let name = recorded_radius(norm).1;
        let of = |what: &str| fixture.tensor(&format!("projection.{name}.{what}"));
        let rows = |what: &str| of(what)?.to_vec2::<f64>().map_err(Error::from);
        let (points, w, b, expected) = (rows("points")?, rows("w")?, of("b")?.to_vec1::<f64>()?, rows("change")?);
        for row in 0..points.len() {
            let change = project(norm, &points[row], &w[row], b[row]);
            let furthest = change.iter().zip(&expected[row]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(furthest < 1e-12, "{name} row {row}: {furthest}");
        }
    }
    Ok(())
}

/// Every point of every step, before it is judged.
fn follows_the_original(norm: Norm, aim: Aim, name: &str) -> Result<()> {
    let (frozen, batch, fixture) = recorded()?;
    let ground = ground(&frozen, &batch)?;
    let points = fixture.tensor(&format!("fab.{}.{name}.points", recorded_radius(norm).1))?.to_vec3::<f64>()?;
    let fab = Fab::untargeted(FabSettings::default())?;
    let courses = ground.cases.iter().enumerate().map(|(row, case)| Course::new(row, case, case.clean.clone()));
    // With a radius of zero no image leaves before the last step.
    let context = cx();
    let approach =
        Approach { cx: &context, ground: &ground, pull: fab.pull(norm), steps: points.len(), aim, epsilon: 0.0 };
    let mut compared = 0;
    let done = approach.run(courses.collect(), &mut |step, live| {
        for course in live {
            let found = course.point.iter().step_by(5).zip(&points[step][course.row]);
            let furthest = found.map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max);
            assert!(furthest < 1e-9, "{name} step {step} image {}: {furthest}", course.row);
            compared += 1;
        }
    })?;
    assert_eq!(compared, points.len() * ground.cases.len());
    assert!(done.iter().any(|course| course.nearest.is_some()));
    Ok(())
}

#[test]
fn the_points_are_the_original_ones_in_linf() -> Result<()> {
    follows_the_original(Norm::Linf, Aim::Nearest, "nearest")?;
    follows_the_original(Norm::Linf, Aim::Rank(2), "targeted")
}

#[test]
fn the_points_are_the_original_ones_in_l2() -> Result<()> {
    follows_the_original(Norm::L2, Aim::Nearest, "nearest")?;
    follows_the_original(Norm::L2, Aim::Rank(2), "targeted")
}

#[test]
fn the_points_are_the_original_ones_in_l1() -> Result<()> {
    follows_the_original(Norm::L1, Aim::Nearest, "nearest")?;
    follows_the_original(Norm::L1, Aim::Rank(2), "targeted")
}
