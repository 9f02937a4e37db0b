use super::*;
use crate::tests::{cx, ground, recorded, recorded_radius};
use mrpf_api::attack::project_l1;

/// Every loss and step size of every image until it is broken, and which images survive.
fn follows_the_original(norm: Norm, objective: Objective, name: &str) -> Result<()> {
    let (frozen, batch, fixture) = recorded()?;
    let ground = ground(&frozen, &batch)?;
    let (epsilon, norm_name) = recorded_radius(norm);
    let of =
        |what: &str| fixture.tensor(&format!("apgd.{norm_name}.{name}.{what}"))?.to_vec2::<f64>().map_err(Error::from);
    let (losses, sizes) = (of("losses")?, of("step_sizes")?);
    let survives = fixture.integers(&format!("apgd.{norm_name}.{name}.survives"))?;
    let noise = fixture.tensor(&format!("apgd.{norm_name}.noise"))?.flatten_from(1)?.to_vec2::<f64>()?;

    let ball = Ball { norm, epsilon };
    let plan = Plan::new(ball, losses.len(), 0.75);
    let courses = ground.cases.iter().enumerate().map(|(row, case)| {
        Course::new(row, case, case.ranking[2], start::place(ball, &case.clean, &noise[row]), &plan)
    });
    let context = cx();
    let climb = Climb { cx: &context, ground: &ground, plan: &plan, objective, gradients: 1, leave: true };
    let (mut compared, mut halved) = (0, 0);
    let done = climb.run(courses.collect(), &mut |step, live| {
        for course in live.iter().filter(|_| step > 0) {
            let (loss, row) = (course.loss_after(step - 1), course.row);
            assert!((loss - losses[step - 1][row]).abs() < 1e-7, "{name} step {step} image {row}: {loss}");
            let expected = sizes[step - 1][row];
            // The original checks after its last step too, where it changes nothing any more.
            let near = (course.step_size - expected).abs() < 1e-12 || step == losses.len();
            assert!(near, "{name} step {step} image {row}: step {} expected {expected}", course.step_size);
            halved += usize::from(expected < plan.first_step());
            compared += 1;
        }
    })?;
    let whole: Vec<usize> = done.iter().map(|course| usize::from(!course.broken)).collect();
    assert_eq!(whole, survives);
    assert!(compared > 2 * losses.len() && halved > losses.len(), "{compared} compared, {halved} with shorter steps");
    Ok(())
}

#[test]
fn losses_and_step_sizes_are_the_original_ones_in_linf() -> Result<()> {
    follows_the_original(Norm::Linf, Objective::CrossEntropy, "ce")?;
    follows_the_original(Norm::Linf, Objective::Dlr, "dlr")?;
    follows_the_original(Norm::Linf, Objective::TargetedDlr, "dlr-targeted")
}

#[test]
fn losses_and_step_sizes_are_the_original_ones_in_l2() -> Result<()> {
    follows_the_original(Norm::L2, Objective::CrossEntropy, "ce")?;
    follows_the_original(Norm::L2, Objective::Dlr, "dlr")?;
    follows_the_original(Norm::L2, Objective::TargetedDlr, "dlr-targeted")
}

#[test]
fn losses_and_step_sizes_are_the_original_ones_in_l1() -> Result<()> {
    follows_the_original(Norm::L1, Objective::CrossEntropy, "ce")?;
    follows_the_original(Norm::L1, Objective::Dlr, "dlr")?;
    follows_the_original(Norm::L1, Objective::TargetedDlr, "dlr-targeted")
}

#[test]
fn the_l1_projection_is_the_original_one() -> Result<()> {
    let (frozen, batch, fixture) = recorded()?;
    let rows = |name: &str| fixture.tensor(name)?.flatten_from(1)?.to_vec2::<f64>().map_err(Error::from);
    let (changes, expected) = (rows("l1_projection.change")?, rows("l1_projection.result")?);
    for ((case, mut change), expected) in ground(&frozen, &batch)?.cases.iter().zip(changes).zip(expected) {
        project_l1(&case.clean, &mut change, 4.0);
        assert!(change.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12));
    }
    Ok(())
}
