//! Broken allocations are found out.

use super::*;

impl Allocation for Broken {
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let groups = request.problem.groups();
        let mut solution = request.problem.solve(&|strength| vec![0.95 * strength; groups.len()])?;
        match self.how.as_str() {
            "forgets a group" => {
                solution.keep.pop();
            }
            "nothing left" => solution.keep[0] = 0,
            "out of reach" => return Err(Error::new(ErrorKind::Budget, "no ratio is in reach")),
            "boasts" => solution.achieved += 0.1,
            "always halves" => {
                solution.keep = groups.iter().map(|group| group.channels.div_ceil(2)).collect();
                solution
                    .keep
                    .iter_mut()
                    .zip(groups)
                    .filter(|(_, group)| group.frozen.is_some())
                    .for_each(|(keep, group)| *keep = group.channels);
                solution.achieved = request.problem.achieved(&solution.keep)?;
                solution.shortfall = None;
            }
            _ => {}
        }
        Ok(solution)
    }
}

#[test]
fn allocations() -> Result<()> {
    let counts = "it keeps between one and all channels of each group, and all of a frozen one";
    let budget = "the budget is met, or what stands between is said";
    assert_broken(Kind::Allocation, "broken-allocation", &[("boasts", &[budget])])?;
    for (how, law) in [
        ("forgets a group", counts),
        ("nothing left", counts),
        ("out of reach", counts),
        ("always halves", budget),
        ("always halves", "a ratio of 0 removes nothing"),
        ("always halves", "it keeps to the widths that the constraints allow"),
    ] {
        assert!(broken(Kind::Allocation, "broken-allocation", how)?.contains(&law), "{how}");
    }
    Ok(())
}
