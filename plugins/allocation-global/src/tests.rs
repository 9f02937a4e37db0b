use mrpf_api::coupling::{channel_groups, cost};
use mrpf_api::prelude::*;
use mrpf_api::registry::make;
use mrpf_api::serde_json::{Value, json};
use mrpf_architecture_densenet as _;
use mrpf_architecture_mobilenet_v2 as _;
use mrpf_architecture_mobilevit as _;
use mrpf_architecture_resnet as _;
use mrpf_architecture_vgg as _;
use mrpf_test_support::resnet20_problem;
use proptest::prelude::*;

use crate::global::{Global, GlobalSettings};
use crate::lamp::lamp_scores;
use crate::normalise::Normaliser;
use crate::signature;

#[test]
fn the_lowest_scores_go_wherever_they_are() -> Result<()> {
    let mut net = Builder::new("test", ImageShape { channels: 3, height: 8, width: 8 }, 10);
    net.conv("a", 20, ConvGeometry::same3(), false).conv("b", 20, ConvGeometry::same3(), false);
    net.global_avg_pool("pool").linear("out", 10);
    let declaration = net.finish()?;
    let groups = channel_groups(&declaration)?;
    let problem = BudgetProblem::new(&declaration, &groups, BudgetKind::Channels, &cost(&declaration)?, 0.25)?;
    let low_in_b: Vec<f64> = (0..20).map(|i| if i < 10 { 0.1 } else { 1.0 }).collect();
    let scores = [vec![1.0; 20], low_in_b, Vec::new()];
    let request = AllocationRequest { problem: &problem, sensitivities: &[], scores: &scores };
    for normalise in [Normaliser::Mean, Normaliser::Max, Normaliser::None] {
        let solution = Global::new(GlobalSettings { normalise, max_ratio: 0.9 })?.allocate(&request)?;
        assert_eq!(solution.keep, [20, 10, 10], "{normalise:?}");
    }
    Ok(())
}

/// Two groups of 20 channels, of which the budget takes ten away.
fn keep(normalise: Normaliser, max_ratio: f64, a: Vec<f64>, b: Vec<f64>) -> Result<Vec<usize>> {
    let mut net = Builder::new("test", ImageShape { channels: 3, height: 8, width: 8 }, 10);
    net.conv("a", 20, ConvGeometry::same3(), false).conv("b", 20, ConvGeometry::same3(), false);
    net.global_avg_pool("pool").linear("out", 10);
    let declaration = net.finish()?;
    let groups = channel_groups(&declaration)?;
    let problem = BudgetProblem::new(&declaration, &groups, BudgetKind::Channels, &cost(&declaration)?, 0.25)?;
    let request = AllocationRequest { problem: &problem, sensitivities: &[], scores: &[a, b, Vec::new()] };
    Ok(Global::new(GlobalSettings { normalise, max_ratio })?.allocate(&request)?.keep[..2].to_vec())
}

#[test]
fn scores_are_compared_after_the_normalisation() -> Result<()> {
    // Group a is a hundred times as large as b and spread alike.
    let spread = |scale: f64| (0..20).map(|i| scale * f64::from(i + 1)).collect::<Vec<f64>>();
    assert_eq!(keep(Normaliser::None, 0.9, spread(100.0), spread(1.0))?, [20, 10]);
    assert_eq!(keep(Normaliser::Mean, 0.9, spread(100.0), spread(1.0))?, [15, 15]);
    assert_eq!(keep(Normaliser::Max, 0.9, spread(100.0), spread(1.0))?, [15, 15]);
    // One outlier lifts the maximum of b far more than its mean.
    let mut outlier = vec![1.0; 20];
    outlier[19] = 1000.0;
    assert_eq!(keep(Normaliser::Max, 0.9, vec![1.0; 20], outlier)?, [20, 10]);
    Ok(())
}

#[test]
fn a_group_gives_its_largest_share_at_most() -> Result<()> {
    let low = vec![0.1; 20];
    assert_eq!(keep(Normaliser::None, 0.4, vec![1.0; 20], low.clone())?, [18, 12]);
    assert_eq!(keep(Normaliser::None, 0.25, vec![1.0; 20], low)?, [15, 15]);
    Ok(())
}

#[test]
fn equal_scores_do_not_remove_more_than_was_asked() -> Result<()> {
    let kept = keep(Normaliser::Mean, 0.9, vec![1.0; 20], vec![1.0; 20])?;
    assert_eq!(kept.iter().sum::<usize>(), 30);
    Ok(())
}

const NAMES: [&str; 3] = ["global", "isomorphic", "lamp-global"];

/// Scores without a pattern that a group's width or place would show.
fn scattered(problem: &BudgetProblem, seed: usize) -> Vec<Vec<f64>> {
    let score = |group: usize, channel: usize| ((group * 31 + channel * 17 + seed * 13) % 97) as f64 + 1.0;
    let of_group = |(at, group): (usize, &ChannelGroup)| match group.frozen {
        Some(_) => Vec::new(),
        None => (0..group.channels).map(|channel| score(at, channel)).collect(),
    };
    problem.groups().iter().enumerate().map(of_group).collect()
}

fn allocate(name: &str, problem: &BudgetProblem, scores: &[Vec<f64>]) -> Result<Solution> {
    let request = AllocationRequest { problem, sensitivities: &[], scores };
    make::<dyn Allocation>(name, json!({}))?.allocate(&request)
}

#[test]
fn every_tenth_of_a_resnet_is_met_to_one_percent() -> Result<()> {
    for name in NAMES {
        for tenth in 1..=9 {
            let ratio = f64::from(tenth) / 10.0;
            let problem = resnet20_problem(ratio)?;
            let solution = allocate(name, &problem, &scattered(&problem, 0))?;
            assert!((problem.achieved(&solution.keep)? - ratio).abs() <= 0.01, "{name} {ratio}: {solution:?}");
        }
    }
    Ok(())
}

/// The budget of a network for 32x32 images, by the name and settings of its architecture.
fn problem_of(architecture: &str, settings: Value, kind: BudgetKind, ratio: f64) -> Result<BudgetProblem> {
    let input = ImageShape { channels: 3, height: 32, width: 32 };
    let request = ArchitectureRequest { input, classes: 10, mean: vec![0.5; 3], std: vec![0.25; 3] };
    let declaration = make::<dyn Architecture>(architecture, settings)?.declare(&request)?;
    BudgetProblem::new(&declaration, &channel_groups(&declaration)?, kind, &cost(&declaration)?, ratio)
}

fn architectures() -> [(&'static str, Value); 5] {
    [
        ("resnet", json!({ "depth": 20 })),
        ("vgg", json!({ "depth": 11 })),
        ("mobilenet-v2", json!({})),
        ("densenet", json!({ "depth": 40 })),
        ("mobilevit", json!({})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_budget_of_every_architecture_is_met(
        name in prop::sample::select(NAMES.to_vec()),
        (architecture, settings) in prop::sample::select(architectures().to_vec()),
        kind in prop::sample::select(vec![BudgetKind::Macs, BudgetKind::Params, BudgetKind::Channels]),
        ratio in 0.0..0.7f64,
        seed in 0..97usize,
    ) {
        let problem = problem_of(architecture, settings, kind, ratio)?;
        let solution = match allocate(name, &problem, &scattered(&problem, seed)) {
            // Layers that must stay whole may hold more than the budget leaves.
            Err(error) if error.kind() == ErrorKind::Budget => return Ok(()),
            other => other?,
        };
        prop_assert!((problem.achieved(&solution.keep)? - ratio).abs() <= 0.01, "{solution:?}");
        prop_assert!(solution.shortfall.is_none());
    }

    #[test]
    fn lamp_keeps_the_order_of_scores_and_what_a_group_is_scaled_by(
        scores in prop::collection::vec(-2.0..5.0f64, 1..40),
        scale in 1e-6..1e6f64,
        power in 0.5..3.0f64,
    ) {
        let lamp = lamp_scores(&scores, power);
        prop_assert!(lamp.iter().all(|value| (0.0..=1.0).contains(value)), "{lamp:?}");
        prop_assert_eq!(lamp.iter().copied().fold(0.0, f64::max), 1.0);
        for i in 0..scores.len() {
            for j in 0..scores.len() {
                prop_assert!(scores[i] >= scores[j] || lamp[i] <= lamp[j], "{scores:?} {lamp:?}");
            }
        }
        let scaled: Vec<f64> = scores.iter().map(|score| score * scale).collect();
        for (scaled, value) in lamp_scores(&scaled, power).iter().zip(&lamp) {
            prop_assert!((scaled - value).abs() < 1e-9, "{scaled} {value}");
        }
    }
}

#[test]
fn lamp_is_the_share_of_what_is_left_by_hand() {
    // 1/(1+4+9), 9/9, 4/(4+9).
    for (found, expected) in lamp_scores(&[1.0, 3.0, 2.0], 2.0).into_iter().zip([1.0 / 14.0, 1.0, 4.0 / 13.0]) {
        assert!((found - expected).abs() < 1e-15, "{found}, expected {expected}");
    }
    // Equal scores: the first in order shares with the second.
    assert_eq!(lamp_scores(&[2.0, 2.0], 1.0), [0.5, 1.0]);
    assert_eq!(lamp_scores(&[0.0, 0.0], 2.0), [0.0, 0.0]);
}

#[test]
fn lamp_takes_more_of_a_group_whose_scores_are_spread() -> Result<()> {
    let mut net = Builder::new("test", ImageShape { channels: 3, height: 8, width: 8 }, 10);
    net.conv("a", 20, ConvGeometry::same3(), false).conv("b", 20, ConvGeometry::same3(), false);
    net.global_avg_pool("pool").linear("out", 10);
    let declaration = net.finish()?;
    let groups = channel_groups(&declaration)?;
    let problem = BudgetProblem::new(&declaration, &groups, BudgetKind::Channels, &cost(&declaration)?, 0.25)?;
    // In a every channel holds a twentieth; in b one holds nearly all.
    let spread: Vec<f64> = (0..20).map(|at| if at == 7 { 10.0 } else { 0.1 }).collect();
    let solution = allocate("lamp-global", &problem, &[vec![1.0; 20], spread, Vec::new()])?;
    assert_eq!(solution.keep, [20, 10, 10]);
    Ok(())
}

/// Three convolutions in a row; the last is read by a linear layer and so is built differently.
fn three_in_a_row(ratio: f64) -> Result<BudgetProblem> {
    let mut net = Builder::new("test", ImageShape { channels: 3, height: 8, width: 8 }, 10);
    for name in ["a", "b", "c"] {
        net.conv(name, 20, ConvGeometry::same3(), false);
    }
    net.global_avg_pool("pool").linear("out", 10);
    let declaration = net.finish()?;
    let groups = channel_groups(&declaration)?;
    BudgetProblem::new(&declaration, &groups, BudgetKind::Channels, &cost(&declaration)?, ratio)
}

#[test]
fn only_groups_that_are_built_alike_compete() -> Result<()> {
    let problem = three_in_a_row(0.3)?;
    let signatures: Vec<String> =
        problem.groups().iter().map(|group| signature(problem.declaration(), group)).collect::<Result<_>>()?;
    assert_eq!(signatures[0], "(conv2d weight 0)(conv2d weight 1)");
    assert_eq!(signatures[0], signatures[1]);
    assert_eq!(signatures[2], "(conv2d weight 0)(linear weight 1)");
    // Group a is low beside b; c is spread as evenly as can be, and lower than all without a normaliser.
    let scores = [vec![0.5; 20], vec![1.0; 20], vec![0.01; 20], Vec::new()];
    let keep = |name: &str| -> Result<Vec<usize>> {
        let request = AllocationRequest { problem: &problem, sensitivities: &[], scores: &scores };
        let settings = json!({ "normalise": "none" });
        Ok(make::<dyn Allocation>(name, settings)?.allocate(&request)?.keep[..3].to_vec())
    };
    assert_eq!(keep("global")?, [20, 20, 2]);
    assert_eq!(keep("isomorphic")?, [8, 20, 14]);
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    for name in NAMES {
        let error = make::<dyn Allocation>(name, json!({ "max_ratio": 1.5 })).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains("max_ratio 1.5, expected a share above 0 and at most 1")));
    }
    let error = make::<dyn Allocation>("lamp-global", json!({ "power": 0 })).err().map(|error| error.to_string());
    assert!(error.is_some_and(|text| text.contains("power 0, expected a number above 0")));
}

#[test]
fn the_laws_of_allocations_are_kept() -> Result<()> {
    NAMES.into_iter().try_for_each(|name| mrpf_api::conformance::require(Kind::Allocation, name))
}
