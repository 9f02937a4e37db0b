//! Constraints hold whatever the budget asks for.

use super::*;

/// The share of each group that goes grows at its own pace.
fn uneven(problem: &BudgetProblem, paces: &[f64]) -> Result<Solution> {
    let groups = problem.groups().len();
    problem.solve(&|strength| (0..groups).map(|at| strength.powf(paces[at % paces.len()])).collect())
}

/// Whether `keep` of a group's channels obey, told apart from how the problem lists its widths.
fn obeys(constraints: &Constraints, group: &ChannelGroup, fewest: usize, keep: usize) -> bool {
    let (all, share) = (group.channels, keep as f64 / group.channels as f64);
    if group.frozen.is_some() || constraints.keep.contains(&group.name) {
        return keep == all;
    }
    keep >= fewest.max(1)
        && (keep.is_multiple_of(constraints.multiple) || keep == all)
        && share >= constraints.floor - 1e-9
        // Where no whole number lies between floor and ceiling, the floor counts.
        && (share <= constraints.ceiling + 1e-9 || keep == fewest.max((constraints.floor * all as f64 - 1e-9).ceil() as usize))
}

fn constraints() -> impl Strategy<Value = Constraints> {
    let keep = prop::sample::subsequence(vec!["a", "stem", "inner", "layer2.0.conv1"], 0..3);
    (1..5usize, 0.0..0.7f64, 0.7..1.0f64, keep, any::<bool>()).prop_map(|(multiple, floor, ceiling, keep, whole)| {
        let ceiling = if whole { 1.0 } else { ceiling };
        Constraints { multiple, floor, ceiling, keep: keep.into_iter().map(str::to_owned).collect() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_width_obeys_in_every_round(
        asked in constraints(),
        ratios in prop::array::uniform2(0.0..0.9f64),
        paces in prop::array::uniform4(0.3..3.0f64),
        kind in prop::sample::select(&KINDS[..]),
    ) {
        let mut cases: Vec<Declaration> = tricky()?.into_iter().map(|case| case.declaration).collect();
        cases.push(resnet(1, [8, 12, 20])?);
        let mut solved = 0;
        for dense in cases {
            let dense_groups = channel_groups(&dense)?;
            let has = |name: &String| dense_groups.iter().any(|group| group.name == *name);
            let constraints = Constraints { keep: asked.keep.iter().filter(|name| has(name)).cloned().collect(), ..asked.clone() };
            let limits = match constraints.limits(&dense, &dense_groups) {
                Ok(limits) => limits,
                Err(error) => {
                    prop_assert!(error.to_string().contains("of which none is a multiple of"), "{error}");
                    continue;
                }
            };
            let reference = cost(&dense)?;
            let fewest = fewest_channels(&dense, &dense_groups);
            let mut declaration = dense.clone();
            for ratio in [ratios[0].min(ratios[1]), ratios[0].max(ratios[1])] {
                let groups = channel_groups(&declaration)?;
                let problem = BudgetProblem::new(&declaration, &groups, kind, &reference, ratio)?.within(&limits);
                let solution = match uneven(&problem, &paces) {
                    Ok(solution) => solution,
                    Err(error) => {
                        prop_assert_eq!(error.kind(), ErrorKind::Budget);
                        continue;
                    }
                };
                solved += 1;
                problem.check(&solution.keep)?;
                let near = (solution.achieved - ratio).abs() <= TOLERANCE;
                prop_assert!(near != solution.shortfall.is_some(), "{:?}", solution);
                let scores: Vec<Vec<f64>> =
                    groups.iter().map(|group| (0..group.channels).map(|at| (5 * at % 7) as f64).collect()).collect();
                declaration = cut_declaration(&declaration, &PruningPlan::keep_highest(&groups, &scores, &solution.keep))?;
                let left = channel_groups(&declaration)?;
                for ((group, fewest), left) in dense_groups.iter().zip(&fewest).zip(&left) {
                    prop_assert_eq!(&group.name, &left.name);
                    prop_assert!(
                        obeys(&constraints, group, *fewest, left.channels),
                        "{} of {} channels of `{}` within {:?}", left.channels, group.channels, group.name, constraints
                    );
                }
            }
        }
        prop_assert!(solved > 0 || asked.floor > 0.2 || ratios[0].min(ratios[1]) > 0.2);
    }

    #[test]
    fn the_nearest_width_is_the_nearest(mut allowed in prop::collection::btree_set(1..40usize, 1..8), kept in 0.0..45.0f64) {
        let last = allowed.pop_last().unwrap_or(1);
        let allowed: Vec<usize> = allowed.into_iter().chain([last]).collect();
        let found = search::nearest_width(&allowed, kept);
        let far = |width: usize| (width as f64 - kept).abs();
        prop_assert!(allowed.contains(&found) && allowed.iter().all(|&other| far(found) <= far(other)));
    }
}

fn limits(constraints: &Constraints) -> Result<Limits> {
    let declaration = resnet(1, [8, 12, 20])?;
    constraints.limits(&declaration, &channel_groups(&declaration)?)
}

fn told(constraints: Constraints) -> (String, Option<String>) {
    let error = limits(&constraints).expect_err("not allowed");
    (error.to_string(), error.hint_text().map(str::to_owned))
}

#[test]
fn patterns_that_match_nothing_are_answered_with_the_nearest_layers() {
    let usual = Constraints::default;
    let (message, hint) = told(Constraints { keep: vec!["layer1.*".into(), "layer4.0.conv*".into()], ..usual() });
    assert_eq!(message, "unknown layer with channels `layer4.0.conv*`");
    assert!(hint.as_ref().is_some_and(|hint| hint.starts_with("did you mean `layer1.0.conv1`?")), "{hint:?}");
    let (message, _) = told(Constraints { keep: vec!["relu*".into()], ..usual() });
    assert_eq!(message, "unknown layer with channels `relu*`");
    let (message, _) = told(Constraints { keep: vec!["layer[".into()], ..usual() });
    assert!(
        message.starts_with("keep `layer[`, expected the name of a layer with `*`, `?` and `[...]`: "),
        "{message}"
    );
}

#[test]
fn constraints_out_of_range_and_contradictions_are_refused() {
    let usual = Constraints::default;
    for (wrong, message) in [
        (Constraints { multiple: 0, ..usual() }, "multiple 0, expected at least 1"),
        (
            Constraints { floor: 1.5, ..usual() },
            "floor 1.5, expected the share of channels that stays at least, from 0 to 1",
        ),
        (
            Constraints { ceiling: 0.0, ..usual() },
            "ceiling 0, expected the share that stays at most, above 0 and at most 1",
        ),
        (Constraints { floor: 0.8, ceiling: 0.5, ..usual() }, "floor 0.8, expected at most the ceiling, 0.5"),
        (
            Constraints { multiple: 16, ceiling: 0.7, ..usual() },
            "group `conv1` of 8 channels may keep 1 to 5, of which none is a multiple of 16",
        ),
    ] {
        assert_eq!(told(wrong).0, message);
    }
}

#[test]
fn what_the_constraints_take_and_what_they_leave_is_said() -> Result<()> {
    let declaration = resnet(1, [8, 12, 20])?;
    let tight = Constraints { ceiling: 0.5, ..Constraints::default() };
    let solution = uniform(&problem(&declaration, BudgetKind::Channels, 0.1)?.within(&limits(&tight)?))?;
    let told = "10.0 % of the channels were to go, 50.0 % is the least that the constraints take";
    assert_eq!(solution.shortfall.as_deref(), Some(told));
    let stiff = Constraints { floor: 0.75, ..Constraints::default() };
    let error =
        uniform(&problem(&declaration, BudgetKind::Channels, 0.5)?.within(&limits(&stiff)?)).expect_err("a quarter");
    assert_eq!(error.to_string(), "the budget asks to remove 50.0 % of the channels, at most 25.0 % can go");
    assert!(error.hint_text().is_some_and(|hint| hint.ends_with("or loosen the constraints")));
    let coarse = Constraints { multiple: 8, keep: vec!["layer2*".into()], ..Constraints::default() };
    let solution = uniform(&problem(&declaration, BudgetKind::Params, 0.35)?.within(&limits(&coarse)?))?;
    let told = solution.shortfall.unwrap_or_default();
    assert!(told.ends_with(" is the nearest that was found within the constraints"), "{told}");
    Ok(())
}
