//! The laws of plans, masks and cuts on all tricky networks.

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;

use super::tricky;
use crate::Result;
use crate::coupling::*;
use crate::network::{Declaration, Mode, Network};
use crate::random::Streams;

/// Random weights and statistics everywhere, so that nothing is zero or one by chance.
fn filled(declaration: &Declaration, seed: u64, dtype: DType) -> Result<Network> {
    let streams = Streams::new(seed);
    let network = Network::initialise(declaration.clone(), &streams, dtype, &Device::Cpu)?;
    for (name, variable) in network.parameters() {
        let noise = streams.child("noise").child(name).stream().normal(variable.dims(), dtype, &Device::Cpu)?;
        variable.set(&(variable.as_tensor() + (noise * 0.3)?)?)?;
    }
    let mut statistics = network.statistics();
    for (name, tensor) in &mut statistics {
        *tensor = (&*tensor + streams.child(name).stream().uniform(tensor.dims(), 0.0, 0.7, dtype, &Device::Cpu)?)?;
    }
    network.set_statistics(statistics)?;
    Ok(network)
}

/// A plan that keeps a random number of random channels, at least `least[i]`, of every group that may be pruned.
fn random_plan(groups: &[ChannelGroup], least: &[usize], seed: u64) -> PruningPlan {
    let mut stream = Streams::new(seed).stream();
    let count = |(group, &least): (&ChannelGroup, &usize)| match group.frozen {
        Some(_) => group.channels,
        None => least + stream.below(group.channels - least + 1),
    };
    let keep: Vec<usize> = groups.iter().zip(least).map(count).collect();
    let scores: Vec<Vec<f64>> =
        groups.iter().map(|group| (0..group.channels).map(|_| stream.unit()).collect()).collect();
    PruningPlan::keep_highest(groups, &scores, &keep)
}

/// The largest difference of the logits, relative to the largest logit where that is above 1.
fn difference(a: &Network, b: &Network, mode: Mode) -> Result<f64> {
    let images = Streams::new(5).stream().uniform(&[3, 3, 6, 6], 0.0, 1.0, a.dtype(), &Device::Cpu)?;
    let (a, b) = (a.forward(&images, mode)?.to_dtype(DType::F64)?, b.forward(&images, mode)?.to_dtype(DType::F64)?);
    let largest = |x: &Tensor| -> Result<f64> { Ok(x.abs()?.max_all()?.to_scalar()?) };
    Ok(largest(&(&a - &b)?)? / largest(&a)?.max(1.0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn masked_equals_cut_and_costs_what_its_tensors_do(seed in any::<u64>()) {
        for case in tricky()? {
            let groups = channel_groups(&case.declaration)?;
            let plan = random_plan(&groups, &vec![1; groups.len()], seed);
            for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-4)] {
                let network = filled(&case.declaration, seed, dtype)?;
                let (small, masked) = (cut(&network, &plan)?, mask(&network, &plan)?);
                for mode in [Mode::Evaluate, Mode::TrainKeepingStatistics] {
                    let off = difference(&small, &masked, mode)?;
                    prop_assert!(off < tolerance, "{} {dtype:?} {mode:?}: off by {off:e}", case.name);
                }
                let counted: usize = small.weights().values().map(Tensor::elem_count).sum();
                prop_assert_eq!(cost(small.declaration())?.params, counted as u64, "{}", case.name);
                prop_assert_eq!(small.declaration(), &cut_declaration(&case.declaration, &plan)?, "{}", case.name);
            }
        }
    }

    #[test]
    fn a_cut_network_has_the_same_groups_and_can_be_cut_on(seed in any::<u64>()) {
        for case in tricky()? {
            let network = filled(&case.declaration, seed, DType::F64)?;
            let groups = channel_groups(&case.declaration)?;
            let plan = random_plan(&groups, &fewest_channels(&case.declaration, &groups), seed);
            let small = cut(&network, &plan)?;
            let again = channel_groups(small.declaration())?;
            let widths = |groups: &[ChannelGroup], plan: Option<&PruningPlan>| -> Vec<(String, usize)> {
                let kept = |group: &ChannelGroup| plan.and_then(|plan| plan.keep.get(&group.name)).map(Vec::len);
                groups.iter().map(|group| (group.name.clone(), kept(group).unwrap_or(group.channels))).collect()
            };
            prop_assert_eq!(widths(&groups, Some(&plan)), widths(&again, None), "{}", case.name);
            let second = random_plan(&again, &vec![1; again.len()], seed.wrapping_add(1));
            let (twice, at_once) = (cut(&small, &second)?, cut(&network, &plan.compose(&second))?);
            prop_assert_eq!(twice.to_bytes()?, at_once.to_bytes()?, "{}: composed", case.name);
        }
    }
}

#[test]
fn a_plan_that_keeps_all_changes_nothing() -> Result<()> {
    for case in tricky()? {
        let network = filled(&case.declaration, 1, DType::F64)?;
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
fn a_cut_network_shares_no_weight_with_the_one_it_was_cut_from() -> Result<()> {
    for case in tricky()? {
        let network = filled(&case.declaration, 1, DType::F32)?;
        let groups = channel_groups(&case.declaration)?;
        let before = network.to_bytes()?;
        for plan in [PruningPlan::default(), random_plan(&groups, &vec![1; groups.len()], 2)] {
            for variable in cut(&network, &plan)?.parameters().values() {
                variable.set(&variable.zeros_like()?)?;
            }
            assert_eq!(network.to_bytes()?, before, "{}", case.name);
        }
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

#[test]
fn no_producer_of_a_joined_group_is_left_without_channels() -> Result<()> {
    let case = tricky()?.swap_remove(3);
    let groups = channel_groups(&case.declaration)?;
    // The four channels of `a` come first and score least.
    let scores = [(0..9).map(f64::from).collect(), vec![0.0; 4]];
    let plan = PruningPlan::keep_highest(&groups, &scores, &[3, 4]);
    assert_eq!(plan.keep["a"], [3, 7, 8]);
    let without = PruningPlan { keep: [("a".to_owned(), vec![6, 7, 8])].into() };
    let told = without.check(&groups).expect_err("nothing of `a`").to_string();
    assert_eq!(told, "group `a`: nothing would be left of `a`, expected at least one of its channels");
    Ok(())
}

#[test]
fn a_removed_channel_that_is_not_finite_is_gone() -> Result<()> {
    let case = tricky()?.swap_remove(0);
    let network = filled(&case.declaration, 3, DType::F64)?;
    let spoilt = &network.parameters()["a.weight"];
    let mut places = vec![1.0; 5];
    places[2] = f64::NAN;
    spoilt.set(&spoilt.broadcast_mul(&Tensor::from_vec(places, (5, 1, 1, 1), &Device::Cpu)?)?)?;
    let plan = PruningPlan { keep: [("a".to_owned(), vec![0, 1, 3, 4])].into() };
    let off = difference(&cut(&network, &plan)?, &mask(&network, &plan)?, Mode::Evaluate)?;
    assert!(off < 1e-10, "off by {off:e}");
    Ok(())
}
