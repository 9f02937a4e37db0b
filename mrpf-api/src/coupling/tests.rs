//! Networks with tricky couplings, each with the groups that it must have, and the laws of surgery on all of them.

use proptest::prelude::*;

use super::*;
use crate::budget::{BudgetKind, BudgetProblem};
use crate::data::ImageShape;
use crate::network::{BatchNorm, Builder, Declaration, LayerKind, Mode, Network};
use crate::numeric::{ConvGeometry, PoolGeometry};
use crate::random::Streams;
use crate::{ErrorKind, Result};
use candle_core::{DType, Device};

/// A network and, for each group: its name, its channels, its producers, how often each channel stands on its last consumer's
/// axis, and whether it may be pruned.
struct Tricky {
    name: &'static str,
    declaration: Declaration,
    groups: Vec<(&'static str, usize, Vec<&'static str>, usize, bool)>,
}

fn start(name: &str) -> Builder {
    let mut net = Builder::new(name, ImageShape { channels: 3, height: 6, width: 6 }, 4);
    net.normalize("normalize", &[0.5; 3], &[0.25; 3]);
    net
}

fn finish(net: &mut Builder) -> Result<Declaration> {
    net.global_avg_pool("pool").linear("out", 4).finish()
}

fn tricky() -> Result<Vec<Tricky>> {
    let (same, point) = (ConvGeometry::same3(), ConvGeometry::square(1));
    let out = ("out", 4, vec!["out"], 0, false);
    let mut all = Vec::new();

    let mut net = start("chain");
    net.conv("a", 5, same, true).batch_norm("a.bn").relu("a.relu").conv("b", 6, same.stride(2), false).relu("b.relu");
    let groups = vec![("a", 5, vec!["a"], 1, true), ("b", 6, vec!["b"], 1, true), out.clone()];
    all.push(Tricky { name: "chain", declaration: finish(&mut net)?, groups });

    let mut net = start("residual");
    net.conv("stem", 5, same, false).batch_norm("stem.bn").relu("stem.relu");
    net.conv("inner", 7, same, false)
        .batch_norm("inner.bn")
        .relu("inner.relu")
        .conv("outer", 5, same, false)
        .batch_norm("outer.bn");
    net.add("sum", "stem.relu").relu("sum.relu");
    let sum = net.current();
    net.conv("down", 8, same.stride(2), false).batch_norm("down.bn");
    let down = net.current();
    net.from(&sum).conv("projection", 8, point.stride(2), false).batch_norm("projection.bn").add("sum2", &down);
    let groups = vec![
        ("stem", 5, vec!["stem", "outer"], 1, true),
        ("inner", 7, vec!["inner"], 1, true),
        ("down", 8, vec!["down", "projection"], 1, true),
        out.clone(),
    ];
    all.push(Tricky { name: "residual", declaration: finish(&mut net)?, groups });

    let mut net = start("concat");
    net.conv("a", 4, same, false).relu("a.relu").from("normalize").conv("b", 5, same, true).batch_norm("b.bn");
    net.layer("joined", LayerKind::Concat, &["a.relu", "b.bn"]).batch_norm("joined.bn").conv("c", 6, same, false);
    net.layer("again", LayerKind::Concat, &["c", "joined.bn"]);
    let groups =
        vec![("a", 4, vec!["a"], 1, true), ("b", 5, vec!["b"], 1, true), ("c", 6, vec!["c"], 1, true), out.clone()];
    all.push(Tricky { name: "concat", declaration: finish(&mut net)?, groups });

    let mut net = start("concat then add");
    net.conv("a", 4, same, false).from("normalize").conv("b", 5, same, false);
    net.layer("joined", LayerKind::Concat, &["a", "b"]).conv("c", 9, same, false).add("sum", "joined");
    // The filters of `c` tie those of `a` and `b` into one group, in whose order they come.
    let groups = vec![("a", 9, vec!["a", "b", "c"], 1, true), out.clone()];
    all.push(Tricky { name: "concat then add", declaration: finish(&mut net)?, groups });

    let mut net = start("flatten");
    net.conv("a", 5, same, false).relu("a.relu").max_pool("a.pool", PoolGeometry::square(2));
    let declaration = net.flatten("flat").linear("hidden", 6).relu("hidden.relu").linear("out", 4).finish()?;
    let groups = vec![("a", 5, vec!["a"], 9, true), ("hidden", 6, vec!["hidden"], 1, true), out.clone()];
    all.push(Tricky { name: "flatten", declaration, groups });

    let mut net = start("depthwise");
    net.conv("a", 6, point, false).batch_norm("a.bn").relu("a.relu");
    net.conv("deep", 6, same.groups(6), true).batch_norm("deep.bn").conv("b", 5, point, false);
    let groups = vec![("a", 6, vec!["a", "deep"], 1, true), ("b", 5, vec!["b"], 1, true), out.clone()];
    all.push(Tricky { name: "depthwise", declaration: finish(&mut net)?, groups });

    let mut net = start("depthwise with a multiplier");
    net.conv("a", 3, point, false)
        .conv("deep", 6, same.groups(3), false)
        .batch_norm("deep.bn")
        .conv("b", 5, point, false);
    let groups = vec![("a", 3, vec!["a", "deep"], 2, true), ("b", 5, vec!["b"], 1, true), out.clone()];
    all.push(Tricky { name: "depthwise with a multiplier", declaration: finish(&mut net)?, groups });

    let mut net = start("grouped");
    net.conv("a", 8, same, false).relu("a.relu").conv("split", 6, same.groups(2), true).batch_norm("split.bn");
    // Four places in each of two blocks; three filters in each.
    let groups = vec![("a", 4, vec!["a"], 1, true), ("split", 3, vec!["split"], 2, true), out.clone()];
    all.push(Tricky { name: "grouped", declaration: finish(&mut net)?, groups });

    let mut net = start("padding shortcut");
    net.conv("stem", 5, same, false)
        .relu("stem.relu")
        .conv("inner", 7, same.stride(2), false)
        .relu("inner.relu")
        .conv("outer", 8, same, false);
    let outer = net.current();
    net.layer("shortcut", LayerKind::PadShortcut { stride: 2, channels: 8 }, &["stem.relu"]).add("sum", &outer);
    let groups = vec![("stem", 8, vec!["stem", "outer"], 1, false), ("inner", 7, vec!["inner"], 1, true), out.clone()];
    all.push(Tricky { name: "padding shortcut", declaration: finish(&mut net)?, groups });

    let mut net = start("read twice");
    net.conv("a", 5, same, false).layer("a.gelu", LayerKind::Gelu, &["a"]).conv("b", 6, same, false);
    net.layer("b.silu", LayerKind::Silu, &["b"]).from("a.gelu").conv("c", 6, same, false).add("sum", "b.silu");
    let groups = vec![("a", 5, vec!["a"], 1, true), ("b", 6, vec!["b", "c"], 1, true), out];
    all.push(Tricky { name: "read twice", declaration: finish(&mut net)?, groups });
    Ok(all)
}

#[test]
fn each_network_has_the_groups_that_it_must_have() -> Result<()> {
    for case in tricky()? {
        let groups = channel_groups(&case.declaration)?;
        let found: Vec<_> = groups
            .iter()
            .map(|group| {
                let producers: Vec<&str> = group.producers().map(|member| member.layer.as_str()).collect();
                let places = group.consumers().last().and_then(|member| member.positions.iter().map(Vec::len).max());
                (group.name.as_str(), group.channels, producers, places.unwrap_or(0), group.frozen.is_none())
            })
            .collect();
        assert_eq!(found, case.groups, "{}", case.name);
    }
    Ok(())
}

#[test]
fn frozen_groups_say_why() -> Result<()> {
    let cases = tricky()?;
    let reason = |name: &str, group: &str| -> Result<Option<String>> {
        let case = cases.iter().find(|case| case.name == name).expect("a case");
        Ok(channel_groups(&case.declaration)?
            .into_iter()
            .find(|found| found.name == group)
            .and_then(|found| found.frozen))
    };
    assert_eq!(reason("chain", "out")?.as_deref(), Some("its channels are the classes"));
    let padded = "the padding shortcut `shortcut` ties its channels to their places";
    assert_eq!(reason("padding shortcut", "stem")?.as_deref(), Some(padded));
    Ok(())
}

#[test]
fn a_group_reads_as_numbered_lines() -> Result<()> {
    let case = tricky()?.swap_remove(0);
    let text = channel_groups(&case.declaration)?[0].to_string();
    let expected =
        "group `a`: 5 channels\n   1. 1 filter of `a`\n   2. 1 batch-norm channel of `a.bn`\n   3. 1 input of `b`";
    assert_eq!(text, expected);
    Ok(())
}

/// Random weights and statistics everywhere, so that nothing is zero or one by chance.
fn filled(declaration: &Declaration, seed: u64) -> Result<Network> {
    let streams = Streams::new(seed);
    let network = Network::initialise(declaration.clone(), &streams, DType::F64, &Device::Cpu)?;
    for (name, variable) in network.parameters() {
        let noise = streams.child("noise").child(name).stream().normal(variable.dims(), DType::F64, &Device::Cpu)?;
        variable.set(&(variable.as_tensor() + (noise * 0.3)?)?)?;
    }
    let mut statistics = network.statistics();
    for (name, tensor) in &mut statistics {
        *tensor =
            (&*tensor + streams.child(name).stream().uniform(tensor.dims(), 0.0, 0.7, DType::F64, &Device::Cpu)?)?;
    }
    network.set_statistics(statistics)?;
    Ok(network)
}

/// A plan that keeps a random number of random channels of every group that may be pruned.
fn random_plan(groups: &[ChannelGroup], seed: u64) -> PruningPlan {
    let mut stream = Streams::new(seed).stream();
    let keep: Vec<usize> = groups
        .iter()
        .map(|group| match group.frozen {
            Some(_) => group.channels,
            None => 1 + stream.below(group.channels),
        })
        .collect();
    let scores: Vec<Vec<f64>> =
        groups.iter().map(|group| (0..group.channels).map(|_| stream.unit()).collect()).collect();
    PruningPlan::keep_highest(groups, &scores, &keep)
}

fn difference(a: &Network, b: &Network, mode: Mode) -> Result<f64> {
    let images = Streams::new(5).stream().uniform(&[3, 3, 6, 6], 0.0, 1.0, DType::F64, &Device::Cpu)?;
    let (a, b) = (a.forward(&images, mode)?, b.forward(&images, mode)?);
    Ok((a - b)?.abs()?.max_all()?.to_scalar::<f64>()?)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn masked_equals_cut_and_costs_what_its_tensors_do(seed in any::<u64>()) {
        for case in tricky()? {
            let network = filled(&case.declaration, seed)?;
            let groups = channel_groups(&case.declaration)?;
            let plan = random_plan(&groups, seed);
            let (small, masked) = (cut(&network, &plan)?, mask(&network, &plan)?);
            for mode in [Mode::Evaluate, Mode::TrainKeepingStatistics] {
                let off = difference(&small, &masked, mode)?;
                prop_assert!(off < 1e-9, "{} {mode:?}: off by {off:e}", case.name);
            }
            let counted: usize = small.weights().values().map(candle_core::Tensor::elem_count).sum();
            prop_assert_eq!(cost(small.declaration())?.params, counted as u64, "{}", case.name);
            // The smaller network has the same groups with fewer channels, and can be pruned on.
            let again = channel_groups(small.declaration())?;
            if again.len() != groups.len() {
                // A depthwise convolution that keeps one channel is an ordinary one from then on, with filters of its own, and a
                // grouped one that keeps one channel in each block is depthwise.
                let degenerate = case.name.starts_with("depthwise") || case.name == "grouped";
                prop_assert!(degenerate && plan.keep["a"].len() == 1, "{}", case.name);
                continue;
            }
            for (group, smaller) in groups.iter().zip(&again) {
                let kept = plan.keep.get(&group.name).map_or(group.channels, Vec::len);
                prop_assert_eq!((&group.name, kept), (&smaller.name, smaller.channels), "{}", case.name);
            }
            let second = random_plan(&again, seed.wrapping_add(1));
            let (twice, at_once) = (cut(&small, &second)?, cut(&network, &plan.compose(&second))?);
            prop_assert!(difference(&twice, &at_once, Mode::Evaluate)? == 0.0, "{}: composed", case.name);
        }
    }
}

#[test]
fn a_plan_that_keeps_all_changes_nothing() -> Result<()> {
    for case in tricky()? {
        let network = filled(&case.declaration, 1)?;
        let groups = channel_groups(&case.declaration)?;
        let all = PruningPlan {
            keep: groups.iter().map(|group| (group.name.clone(), (0..group.channels).collect())).collect(),
        };
        assert_eq!(cut(&network, &all)?.to_bytes()?, network.to_bytes()?, "{}", case.name);
        assert_eq!(mask(&network, &PruningPlan::default())?.to_bytes()?, network.to_bytes()?, "{}", case.name);
    }
    Ok(())
}

#[test]
fn plans_that_do_not_fit_are_refused() -> Result<()> {
    let case = tricky()?.swap_remove(0);
    let groups = channel_groups(&case.declaration)?;
    for (group, keep, message) in [
        ("a", vec![], "group `a`: no channel would be left, expected at least one"),
        ("a", vec![1, 0], "group `a`: its kept channels are not in ascending order"),
        ("a", vec![0, 5], "group `a`: channel 5 of 5"),
        ("out", vec![0], "group `out`: cannot be pruned: its channels are the classes"),
        ("aa", vec![0], "unknown channel group `aa`"),
    ] {
        let plan = PruningPlan { keep: [(group.to_owned(), keep)].into() };
        assert_eq!(plan.check(&groups).err().map(|error| error.to_string()).as_deref(), Some(message));
        assert!(cut_declaration(&case.declaration, &plan).is_err());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn budgets_are_met_or_the_shortfall_is_said(
        ratio in 0.0..0.97f64,
        kind in prop::sample::select(vec![BudgetKind::Macs, BudgetKind::Params, BudgetKind::Channels]),
    ) {
        for case in tricky()? {
            let groups = channel_groups(&case.declaration)?;
            let dense = cost(&case.declaration)?;
            let problem = BudgetProblem::new(&case.declaration, &groups, kind, &dense, ratio)?;
            let whole: Vec<usize> = groups.iter().map(|group| group.channels).collect();
            prop_assert_eq!(problem.achieved(&whole)?, 0.0, "{}", case.name);
            match problem.solve(&|strength| vec![strength; groups.len()]) {
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Budget),
                Ok(solution) => {
                    let near = (solution.achieved - ratio).abs() <= 0.01;
                    prop_assert!(near || solution.shortfall.is_some(), "{}: {solution:?}", case.name);
                    let plan = PruningPlan {
                        keep: groups.iter().zip(&solution.keep).map(|(group, &keep)| (group.name.clone(), typical_channels(group, keep))).collect(),
                    };
                    let cut = cost(&cut_declaration(&case.declaration, &plan)?)?;
                    let measured = 1.0 - kind.of(&cut) as f64 / kind.of(&dense) as f64;
                    prop_assert!((measured - solution.achieved).abs() < 1e-12, "{}: {measured} {solution:?}", case.name);
                }
            }
        }
    }
}

#[test]
fn no_producer_of_a_joined_group_is_left_without_channels() -> Result<()> {
    let case = tricky()?.swap_remove(3);
    let groups = channel_groups(&case.declaration)?;
    // The four channels of `a` come first and score least.
    let scores = [(0..9).map(f64::from).collect(), vec![0.0; 4]];
    let plan = PruningPlan::keep_highest(&groups, &scores, &[3, 4]);
    assert_eq!(plan.keep["a"], [3, 6, 7, 8]);
    let without = PruningPlan { keep: [("a".to_owned(), vec![6, 7, 8])].into() };
    let told = without.check(&groups).expect_err("nothing of `a`").to_string();
    assert_eq!(told, "group `a`: nothing would be left of `a`, expected at least one of its channels");
    Ok(())
}

#[test]
fn declarations_that_contradict_themselves_are_refused() {
    let kinds = LayerKind::BatchNorm(BatchNorm::new(7));
    let cases: [(&str, Result<Declaration>); 4] = [
        ("layer `bn`: reads [3, 6, 6], expected 7 channels", start("x").layer("bn", kinds, &["normalize"]).finish()),
        (
            "layer `a`: reads `nowhere`, which no earlier layer has",
            start("x").layer("a", LayerKind::Relu, &["nowhere"]).finish(),
        ),
        ("layer `normalize`: the name is used twice", start("x").relu("normalize").finish()),
        ("the last layer gives [3], expected the logits [4]", start("x").global_avg_pool("pool").finish()),
    ];
    for (message, found) in cases {
        let error = found.expect_err(message);
        assert_eq!((error.to_string().as_str(), error.kind()), (message, ErrorKind::Declaration));
    }
}
