//! Every architecture under every allocation: budgets are met to one percent or it is said why not, and constraints hold.

use mrpf_api::budget::{BudgetKind, BudgetProblem, Constraints, Solution, TOLERANCE};
use mrpf_api::coupling::{Cost, PruningPlan, channel_groups, cost, cut_declaration, fewest_channels};
use mrpf_api::prelude::*;
use mrpf_api::registry::registrations;
use mrpf_host::experiment::PluginChoice;
use proptest::prelude::*;

use crate::pruning::{declare, small};

/// A small form of every architecture, wide enough that a channel is a small share.
fn architectures() -> Result<Vec<(&'static str, Declaration)>> {
    let forms = |name: &str| -> Vec<(&str, serde_json::Value)> {
        match name {
            "resnet" => vec![("depth", 20.into()), ("width", 8.into())],
            "preact-resnet" => vec![("depth", 18.into()), ("width", 8.into())],
            "wide-resnet" => vec![("depth", 10.into()), ("widen", 2.into()), ("width", 8.into())],
            "vgg" => vec![("depth", 11.into()), ("width", 8.into())],
            "mobilenet-v2" => vec![("width", 0.25.into()), ("divisor", 1.into())],
            "densenet" => vec![("depth", 22.into()), ("growth", 6.into())],
            "mobilevit" => vec![("width", 0.25.into())],
            _ => Vec::new(),
        }
    };
    let all = registrations().into_iter().filter(|plugin| plugin.kind() == Kind::Architecture);
    all.map(|plugin| Ok((plugin.name, declare(&small(plugin.name, &forms(plugin.name)), 16)?))).collect()
}

fn allocations() -> Vec<&'static str> {
    let all = registrations().into_iter().filter(|plugin| plugin.kind() == Kind::Allocation);
    all.map(|plugin| plugin.name).collect()
}

/// Sensitivities and scores that differ from group to group and channel to channel.
fn scores(groups: &[ChannelGroup], seed: usize) -> (Vec<Option<f64>>, Vec<Vec<f64>>) {
    let uneven = |at: usize, period: usize| 0.1 + ((at * (7 + 2 * seed)) % period) as f64 / period as f64;
    let sensitivities =
        groups.iter().enumerate().map(|(at, group)| group.producers().next().is_some().then(|| uneven(at, 13)));
    let scores = groups.iter().map(|group| match group.frozen {
        Some(_) => Vec::new(),
        None => (0..group.channels).map(|channel| uneven(channel, 31)).collect(),
    });
    (sensitivities.collect(), scores.collect())
}

/// What the allocation answers; `None` if the ratio is said to be out of reach.
fn answer(allocation: &str, problem: &BudgetProblem, seed: usize) -> Result<Option<Solution>> {
    let (sensitivities, scores) = scores(problem.groups(), seed);
    let request = AllocationRequest { problem, sensitivities: &sensitivities, scores: &scores };
    match PluginChoice::named(allocation).make::<dyn Allocation>()?.allocate(&request) {
        Ok(solution) => Ok(Some(solution)),
        Err(error) if error.kind() == ErrorKind::Budget => Ok(None),
        Err(error) => Err(error),
    }
}

/// The network that these counts leave.
fn cut(declaration: &Declaration, groups: &[ChannelGroup], keep: &[usize], seed: usize) -> Result<Declaration> {
    let filled: Vec<Vec<f64>> = groups
        .iter()
        .zip(scores(groups, seed).1)
        .map(|(group, scores)| match scores.is_empty() {
            true => vec![0.0; group.channels],
            false => scores,
        })
        .collect();
    cut_declaration(declaration, &PruningPlan::keep_highest(groups, &filled, keep))
}

#[test]
fn what_is_asked_goes_to_one_percent_or_it_is_said() -> Result<()> {
    let (mut met, mut all) = (0, 0);
    for (name, declaration) in architectures()? {
        let (groups, dense) = (channel_groups(&declaration)?, cost(&declaration)?);
        for kind in BudgetKind::COUNTED {
            for allocation in allocations() {
                for ratio in [0.1, 0.3, 0.5, 0.7] {
                    let about = format!("{name} by {allocation}, {ratio} of the {}", kind.name());
                    let problem = BudgetProblem::new(&declaration, &groups, kind, &dense, ratio)?;
                    all += 1;
                    let Some(solution) = answer(allocation, &problem, 0)? else {
                        println!("{about}: out of reach");
                        continue;
                    };
                    let left = cost(&cut(&declaration, &groups, &solution.keep, 0)?)?;
                    let figure = |cost: &Cost| kind.of(cost).unwrap_or(0) as f64;
                    let gone = 1.0 - figure(&left) / figure(&dense);
                    assert!(
                        (gone - solution.achieved).abs() < 1e-9,
                        "{about}: {gone} is gone, not {}",
                        solution.achieved
                    );
                    match solution.shortfall {
                        None => assert!((gone - ratio).abs() <= TOLERANCE, "{about}: {gone}"),
                        Some(why) => {
                            assert!((gone - ratio).abs() > TOLERANCE && why.contains(kind.name()), "{about}: {why}");
                            println!("{about}: {why}");
                            continue;
                        }
                    }
                    met += 1;
                }
            }
        }
    }
    assert!(met * 20 >= all * 19, "{met} of {all} budgets are met");
    Ok(())
}

#[test]
fn bytes_are_those_of_the_saved_tensors() -> Result<()> {
    for (name, declaration) in architectures()? {
        let network = Network::initialise(declaration, &Streams::new(0), DType::F32, &Device::Cpu)?;
        let tensors = network.weights().into_iter().chain(network.statistics());
        let saved: usize = tensors.map(|(_, tensor)| tensor.elem_count() * tensor.dtype().size_in_bytes()).sum();
        assert_eq!(cost(network.declaration())?.bytes, saved as u64, "{name}");
    }
    Ok(())
}

fn constraints() -> impl Strategy<Value = Constraints> {
    let multiple = prop::sample::select(vec![1usize, 2, 4, 8]);
    let ceiling = prop::sample::select(vec![1.0f64, 1.0, 0.9, 0.75]);
    (multiple, 0.0..0.75f64, ceiling, any::<bool>()).prop_map(|(multiple, floor, ceiling, first)| {
        let keep = if first { vec!["*1*conv1".to_owned()] } else { Vec::new() };
        Constraints { multiple, floor, ceiling, keep }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_allocation_obeys_the_constraints(
        constraints in constraints(),
        kind in prop::sample::select(BudgetKind::COUNTED.to_vec()),
        ratio in 0.05..0.6f64,
        seed in 0..5usize,
    ) {
        let mut answered = 0;
        for (name, declaration) in architectures()? {
            let (groups, dense) = (channel_groups(&declaration)?, cost(&declaration)?);
            let matched = |group: &ChannelGroup| {
                let own = group.members.iter().filter(|member| member.role != Role::Input);
                own.clone().any(|member| member.layer.ends_with("conv1") && member.layer[..member.layer.len() - 5].contains('1'))
            };
            let keeps = !constraints.keep.is_empty() && groups.iter().any(matched);
            let constraints = Constraints { keep: constraints.keep.iter().filter(|_| keeps).cloned().collect(), ..constraints.clone() };
            let limits = match constraints.limits(&declaration, &groups) {
                Ok(limits) => limits,
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::Budget);
                    continue;
                }
            };
            let problem = BudgetProblem::new(&declaration, &groups, kind, &dense, ratio)?.within(&limits);
            for allocation in allocations() {
                let Some(solution) = answer(allocation, &problem, seed)? else { continue };
                answered += 1;
                let left = channel_groups(&cut(&declaration, &groups, &solution.keep, seed)?)?;
                for ((group, fewest), left) in groups.iter().zip(fewest_channels(&declaration, &groups)).zip(left) {
                    let (all, kept) = (group.channels as f64, left.channels);
                    let least = fewest.max((constraints.floor * all - 1e-9).ceil() as usize);
                    let about = format!("{name} by {allocation}: {kept} of {all} channels of `{}`, {constraints:?}", group.name);
                    if group.frozen.is_some() || (keeps && matched(group)) {
                        prop_assert_eq!(kept, group.channels, "{}", about);
                        continue;
                    }
                    prop_assert!(kept >= least.max(1), "{}", about);
                    prop_assert!(kept % constraints.multiple == 0 || kept == group.channels, "{}", about);
                    prop_assert!(kept as f64 <= constraints.ceiling * all + 1e-9 || kept == least, "{}", about);
                }
            }
        }
        prop_assert!(answered > 0 || constraints.ceiling < 1.0 || constraints.floor > 0.3);
    }
}
