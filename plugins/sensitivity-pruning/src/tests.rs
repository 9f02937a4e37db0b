use mrpf_api::coupling::{PruningPlan, channel_groups, mask};
use mrpf_api::network::Mode;
use mrpf_api::prelude::*;
use mrpf_api::registry::make;
use mrpf_api::serde_json::{Value, json};
use mrpf_criterion_magnitude as _;
use mrpf_test_support::{resnet8, small_data};
use proptest::prelude::*;
use std::cell::Cell;

use crate::bisection::needed_width;

const NAMES: [&str; 2] = ["prune-and-measure", "score-bisection"];

fn cx() -> CallContext<'static> {
    CallContext::unwatched(Streams::new(0))
}

fn measure(name: &str, network: &Network, settings: Value) -> Result<Vec<ModuleSensitivity>> {
    make::<dyn SensitivityMetric>(name, settings)?.measure(&cx(), network, &small_data()?)
}

fn value(of: &[ModuleSensitivity], module: &str) -> f64 {
    of.iter().find(|found| found.module == module).expect("a module of that name").value
}

#[test]
fn the_damage_is_that_of_the_masked_network() -> Result<()> {
    let (network, _) = resnet8()?;
    // Clean images, so that they can be had from the data.
    let found = measure("prune-and-measure", &network, json!({ "epsilon": 0, "images": 1000, "ratio": 0.5 }))?;
    let data = small_data()?.train;
    let all = data.batch(&(0..data.len()).collect::<Vec<_>>(), network.dtype(), network.device())?;
    let loss = |network: &Network| -> Result<f64> {
        Ok(loss::cross_entropy(&network.forward(&all.images, Mode::Evaluate)?, &all.labels, 0.0)?.to_scalar()?)
    };
    let base = loss(&network)?;
    let mut pruned = 0;
    for group in channel_groups(network.declaration())?.iter().filter(|group| group.frozen.is_none()) {
        let scores = make::<dyn Criterion>("l1-norm", json!({}))?.scores(&cx(), &network, group)?;
        let plan = PruningPlan::keep_highest(std::slice::from_ref(group), &[scores], &[group.channels / 2]);
        let expected = loss(&mask(&network, &plan)?)? - base;
        for producer in group.producers() {
            let found = value(&found, &producer.layer);
            assert!((found - expected).abs() < 1e-9, "{}: {found}, expected {expected}", producer.layer);
            pruned += 1;
        }
    }
    assert_eq!((pruned, value(&found, "linear")), (found.len() - 1, 0.0));
    Ok(())
}

#[test]
fn channels_that_are_nothing_cost_nothing() -> Result<()> {
    let (network, _) = resnet8()?;
    // Half of the filters of one group give zero whatever they read.
    for name in ["conv1.weight", "bn1.weight", "bn1.bias"] {
        let tensor = network.parameter(&format!("layer3.0.{name}"))?;
        let rest = tensor.narrow(0, 8, 8)?;
        tensor.set(&Tensor::cat(&[rest.zeros_like()?, rest], 0)?)?;
    }
    let damage = measure("prune-and-measure", &network, json!({ "images": 20 }))?;
    let width = measure("score-bisection", &network, json!({ "images": 20, "threshold": 1e-6 }))?;
    assert!(value(&damage, "layer3.0.conv1").abs() < 1e-9, "{damage:?}");
    assert!(value(&damage, "layer3.0.conv2").abs() > 1e-3, "{damage:?}");
    assert!(value(&width, "layer3.0.conv1") <= 0.5, "{width:?}");
    assert!(value(&width, "layer3.0.conv2") > 0.9, "{width:?}");
    Ok(())
}

#[test]
fn at_least_one_channel_goes() -> Result<()> {
    let (network, _) = resnet8()?;
    let at = |ratio: f64| measure("prune-and-measure", &network, json!({ "images": 20, "ratio": ratio }));
    // One of the 16 channels of the last group either way.
    let name = "layer3.0.conv1";
    assert_eq!(value(&at(1e-6)?, name), value(&at(0.0625)?, name));
    assert_ne!(value(&at(1e-6)?, name), 0.0);
    Ok(())
}

#[test]
fn a_group_needs_no_more_where_more_is_allowed() -> Result<()> {
    let (network, _) = resnet8()?;
    let at = |threshold: f64| measure("score-bisection", &network, json!({ "images": 20, "threshold": threshold }));
    let (strict, loose, anything) = (at(0.01)?, at(0.1)?, at(1e6)?);
    for ((strict, loose), anything) in strict.iter().zip(&loose).zip(&anything) {
        assert!((0.0..=1.0).contains(&strict.value) && loose.value <= strict.value, "{strict:?} {loose:?}");
        assert!(anything.value < 1e-4, "{anything:?}");
    }
    assert!(strict.iter().any(|module| module.value > 0.9), "{strict:?}");
    Ok(())
}

#[test]
fn neither_hangs_on_the_batch() -> Result<()> {
    let (network, _) = resnet8()?;
    for name in NAMES {
        let at = |batch: usize| measure(name, &network, json!({ "images": 20, "batch": batch }));
        for (whole, part) in at(64)?.iter().zip(&at(7)?) {
            assert!((whole.value - part.value).abs() < 1e-9, "{name}: {whole:?} {part:?}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_needed_width_is_where_a_loss_that_rises_evenly_passes_the_threshold(
        channels in 2..200usize,
        fewest in 1..3usize,
        steps in 1..9usize,
        slope in 0.01..5.0f64,
        share in 0.01..0.99f64,
    ) {
        // The loss rises by the slope with each channel that goes.
        let threshold = slope * share * (channels - fewest.min(channels - 1)) as f64;
        let fewest = fewest.min(channels - 1);
        let asked = Cell::new(0);
        let found = needed_width(channels, fewest, steps, threshold, |keep| {
            asked.set(asked.get() + 1);
            Ok(slope * (channels - keep) as f64)
        })?;
        let expected = channels as f64 - threshold / slope;
        prop_assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
        prop_assert!(asked.get() <= steps + channels.ilog2() as usize + 1, "{} widths", asked.get());
    }
}

#[test]
fn a_loss_that_falls_again_does_not_hide_where_it_rose() -> Result<()> {
    // Between 80 and 60 of 100 channels the loss is high, and below it is low again.
    let hump = |keep: usize| Ok(if (60..80).contains(&keep) { 1.0 } else { 0.0 });
    let found = needed_width(100, 1, 4, 0.5, hump)?;
    assert!((79.0..=80.0).contains(&found), "{found}");
    // Nothing that it sees passes the threshold: a fifth of it at the narrowest.
    assert_eq!(needed_width(100, 2, 4, 0.5, |keep| Ok(if keep == 2 { 0.1 } else { 0.0 }))?, 0.4);
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    for (name, settings, message) in [
        ("prune-and-measure", json!({ "ratio": 1 }), "ratio 1, expected a share above 0 and below 1"),
        ("prune-and-measure", json!({ "criterion": "l1-nrom" }), "unknown criterion `l1-nrom`"),
        ("prune-and-measure", json!({ "images": 0 }), "images 0, batch 128, expected at least 1 of each"),
        ("score-bisection", json!({ "threshold": 0 }), "threshold 0, expected a number above 0"),
        ("score-bisection", json!({ "widths": 0 }), "widths 0, expected at least 1"),
        ("score-bisection", json!({ "criterion": "none" }), "unknown criterion `none`"),
    ] {
        let error = make::<dyn SensitivityMetric>(name, settings).err().map(|error| error.to_string());
        assert!(error.as_ref().is_some_and(|text| text.contains(message)), "{error:?}");
    }
}

#[test]
fn the_laws_of_metrics_are_kept() -> Result<()> {
    NAMES.into_iter().try_for_each(|name| mrpf_api::conformance::require(Kind::Sensitivity, name))
}
