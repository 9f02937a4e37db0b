//! Budgets are met to one percent, or what stands between is said.

mod constraints;
mod latency;

use proptest::prelude::*;

use super::*;
use crate::coupling::tests::tricky;
use crate::coupling::{PruningPlan, channel_groups, cost, cut_declaration};
use crate::data::ImageShape;
use crate::network::{Builder, Declaration};
use crate::numeric::ConvGeometry;

/// The CIFAR ResNet with projection shortcuts, of `6 * blocks + 2` layers.
fn resnet(blocks: usize, widths: [usize; 3]) -> Result<Declaration> {
    let mut net = Builder::new("resnet", ImageShape { channels: 3, height: 32, width: 32 }, 10);
    net.normalize("normalize", &[0.5; 3], &[0.25; 3]);
    net.conv("conv1", widths[0], ConvGeometry::same3(), false).batch_norm("bn1").relu("relu1");
    for (stage, &width) in widths.iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let (name, before) = (format!("layer{}.{block}", stage + 1), net.current());
            net.conv(&format!("{name}.conv1"), width, ConvGeometry::same3().stride(stride), false);
            net.batch_norm(&format!("{name}.bn1")).relu(&format!("{name}.relu1"));
            net.conv(&format!("{name}.conv2"), width, ConvGeometry::same3(), false).batch_norm(&format!("{name}.bn2"));
            let inner = net.current();
            let mut shortcut = before.clone();
            if stride == 2 {
                net.from(&before).conv(&format!("{name}.down"), width, ConvGeometry::square(1).stride(2), false);
                shortcut = net.batch_norm(&format!("{name}.down.bn")).current();
            }
            net.from(&inner).add(&format!("{name}.add"), &shortcut).relu(&format!("{name}.relu2"));
        }
    }
    net.global_avg_pool("pool").linear("fc", 10).finish()
}

const KINDS: [BudgetKind; 4] = BudgetKind::COUNTED;

/// A problem with the declaration's own cost as its reference.
fn problem(declaration: &Declaration, kind: BudgetKind, ratio: f64) -> Result<BudgetProblem> {
    BudgetProblem::new(declaration, &channel_groups(declaration)?, kind, &cost(declaration)?, ratio)
}

/// Every group gives the same share.
fn uniform(problem: &BudgetProblem) -> Result<Solution> {
    problem.solve(&|strength| vec![strength; problem.groups().len()])
}

/// The share that cutting these widths really removes; the scores prefer channels at random places.
fn measured(declaration: &Declaration, problem: &BudgetProblem, keep: &[usize], reference: &Cost) -> Result<f64> {
    let scores: Vec<Vec<f64>> =
        problem.groups().iter().map(|group| (0..group.channels).map(|at| (7 * at % 5) as f64).collect()).collect();
    let plan = PruningPlan::keep_highest(problem.groups(), &scores, keep);
    let left = cost(&cut_declaration(declaration, &plan)?)?;
    let figure = |cost: &Cost| problem.kind().of(cost).unwrap_or(0) as f64;
    Ok(1.0 - figure(&left) / figure(reference))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn budgets_are_met_or_the_shortfall_is_said(ratio in 0.0..0.99f64, kind in prop::sample::select(&KINDS[..])) {
        for case in tricky()? {
            let problem = problem(&case.declaration, kind, ratio)?;
            match uniform(&problem) {
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::Budget);
                    prop_assert!(problem.achieved(&problem.fewest)? < ratio, "{}: {error}", case.name);
                }
                Ok(solution) => {
                    let near = (solution.achieved - ratio).abs() <= TOLERANCE;
                    prop_assert!(near != solution.shortfall.is_some(), "{}: {solution:?}", case.name);
                    prop_assert_eq!(solution.achieved, problem.achieved(&solution.keep)?);
                    for ((group, keep), &fewest) in problem.groups().iter().zip(&solution.keep).zip(&problem.fewest) {
                        prop_assert!((fewest..=group.channels).contains(keep), "{}: {solution:?}", case.name);
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_solver_counts_is_what_the_cut_network_costs(
        shares in prop::collection::vec(0.0..1.0f64, 8),
        kind in prop::sample::select(&KINDS[..]),
    ) {
        for case in tricky()?.into_iter().filter(|case| !case.name.contains("conca")) {
            let problem = problem(&case.declaration, kind, 0.5)?;
            let keep: Vec<usize> = problem.groups().iter().zip(&shares).map(|(group, share)| match group.frozen {
                Some(_) => group.channels,
                None => 1 + (share * group.channels as f64) as usize,
            }).collect();
            let counted = problem.achieved(&keep)?;
            let real = measured(&case.declaration, &problem, &keep, &cost(&case.declaration)?)?;
            prop_assert!((counted - real).abs() < 1e-12, "{}: counted {counted}, {real} is gone", case.name);
        }
    }

    #[test]
    fn a_narrower_group_never_costs_more(
        shares in prop::collection::vec(0.0..1.0f64, 8),
        kind in prop::sample::select(&KINDS[..]),
    ) {
        for case in tricky()? {
            let problem = problem(&case.declaration, kind, 0.5)?;
            let width = |(group, share): (&ChannelGroup, &f64)| 1 + (share * group.channels as f64) as usize;
            let keep: Vec<usize> = problem.groups().iter().zip(&shares).map(width).collect();
            for at in (0..keep.len()).filter(|&at| keep[at] > 1) {
                let mut narrower = keep.clone();
                narrower[at] -= 1;
                prop_assert!(problem.achieved(&narrower)? >= problem.achieved(&keep)?, "{} {keep:?} {at}", case.name);
            }
        }
    }
}

#[test]
fn a_network_of_any_width_meets_every_tenth() -> Result<()> {
    for (blocks, widths) in [(18, [16, 32, 64]), (18, [4, 5, 6]), (3, [16, 32, 64])] {
        let declaration = resnet(blocks, widths)?;
        for (kind, tenth) in KINDS.into_iter().flat_map(|kind| (1..=8).map(move |tenth| (kind, tenth))) {
            let problem = problem(&declaration, kind, f64::from(tenth) / 10.0)?;
            let solution = uniform(&problem)?;
            assert_eq!(solution.shortfall, None, "{widths:?} {kind:?} {tenth}");
            let real = measured(&declaration, &problem, &solution.keep, &cost(&declaration)?)?;
            assert!((real - solution.achieved).abs() < 1e-12, "{real} {solution:?}");
        }
    }
    Ok(())
}

#[test]
fn nothing_goes_when_nothing_has_to() -> Result<()> {
    let declaration = resnet(1, [8, 8, 8])?;
    let none = uniform(&problem(&declaration, BudgetKind::Macs, 0.0)?)?;
    assert_eq!((none.achieved, none.shortfall), (0.0, None));
    assert!(none.keep.iter().zip(channel_groups(&declaration)?).all(|(&keep, group)| keep == group.channels));
    Ok(())
}

#[test]
fn rounds_refer_to_the_dense_network() -> Result<()> {
    let dense = resnet(2, [16, 32, 64])?;
    let groups = channel_groups(&dense)?;
    let first = problem(&dense, BudgetKind::Macs, 0.3)?;
    let scores: Vec<Vec<f64>> = groups.iter().map(|group| vec![0.0; group.channels]).collect();
    let small = cut_declaration(&dense, &PruningPlan::keep_highest(&groups, &scores, &uniform(&first)?.keep))?;
    let of_dense =
        |ratio| BudgetProblem::new(&small, &channel_groups(&small)?, BudgetKind::Macs, &cost(&dense)?, ratio);
    let further = uniform(&of_dense(0.6)?)?;
    assert!((further.achieved - 0.6).abs() <= TOLERANCE, "{further:?}");
    let already = uniform(&of_dense(0.1)?)?;
    assert!(already.keep.iter().zip(channel_groups(&small)?).all(|(&keep, group)| keep == group.channels));
    let told = already.shortfall.unwrap_or_default();
    assert!(told.starts_with("10.0 % of the macs were to go, ") && told.ends_with(" % had gone before"), "{told}");
    Ok(())
}

#[test]
fn what_cannot_be_met_is_refused_with_what_can() -> Result<()> {
    let declaration = resnet(1, [8, 8, 8])?;
    for ratio in [1.0, -0.1, 1.5, f64::NAN] {
        let error = problem(&declaration, BudgetKind::Macs, ratio).expect_err("outside the range");
        let message = format!("pruning ratio {ratio}, expected the share to remove: at least 0 and below 1");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Settings, message));
    }
    let half = problem(&declaration, BudgetKind::Channels, 0.8)?;
    let error = half.solve(&|strength| vec![0.5 * strength; half.groups().len()]).expect_err("half at most");
    assert_eq!(error.to_string(), "the budget asks to remove 80.0 % of the channels, at most 50.0 % can go");
    let floor = problem(&declaration, BudgetKind::Channels, 0.2)?;
    let solution = floor.solve(&|strength| vec![0.5 + 0.5 * strength; floor.groups().len()])?;
    let told = "20.0 % of the channels were to go, 50.0 % is the least that the allocation takes";
    assert_eq!(solution.shortfall.as_deref(), Some(told));
    Ok(())
}

#[test]
fn an_allocation_that_breaks_its_contract_is_named() -> Result<()> {
    let problem = problem(&resnet(1, [8, 8, 8])?, BudgetKind::Macs, 0.5)?;
    let groups = problem.groups().len();
    let short = problem.solve(&|_| vec![0.5]).expect_err("one ratio");
    let message = format!("1 ratios, expected one for each of {groups} groups");
    assert_eq!((short.kind(), short.to_string()), (ErrorKind::Plugin, message));
    let undefined = problem.solve(&|_| vec![f64::NAN; groups]).expect_err("no number");
    let message = "ratio NaN for group `conv1`, expected a share from 0 to 1";
    assert_eq!((undefined.kind(), undefined.to_string().as_str()), (ErrorKind::Plugin, message));
    assert!(problem.achieved(&[1]).is_err());
    Ok(())
}
