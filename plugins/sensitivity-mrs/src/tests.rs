use mrpf_api::prelude::*;
use mrpf_api::registry::make;
use mrpf_api::serde_json::{Value, json};

use mrpf_test_support::{Fixture, Warnings, resnet8, small_data};

use super::*;

fn settings(mode: AscentMode) -> ModuleAscent {
    ModuleAscent {
        mode,
        radius: 0.1,
        steps: 10,
        learning_rate: 1.0,
        projection: None,
        batch: 8,
        memory: 1 << 30,
        early_stop: 0.0,
    }
}

fn cx() -> CallContext<'static> {
    CallContext::unwatched(Streams::new(0))
}

fn measured(settings: &ModuleAscent) -> Result<Vec<f64>> {
    measured_in(&cx(), settings)
}

fn measured_in(cx: &CallContext<'_>, settings: &ModuleAscent) -> Result<Vec<f64>> {
    let ((network, _), recorded) = (resnet8()?, Fixture::load("mrs")?);
    let (set, order) = (recorded.batch()?, recorded.integers("order")?);
    let orders: Vec<Vec<usize>> = order.chunks(set.len()).map(<[usize]>::to_vec).collect();
    let modules: Vec<_> = network.declaration().modules().map(|layer| layer.name.clone()).collect();
    let frozen = network.freeze()?;
    modules.iter().map(|module| rise_of_module(cx, &network, &frozen, module, &set, &orders, settings)).collect()
}

#[test]
fn every_mode_agrees_with_its_reference_for_every_module() -> Result<()> {
    let recorded = Fixture::load("mrs")?;
    for (mode, name) in
        [(AscentMode::Strict, "strict"), (AscentMode::RiftCode, "rift_code"), (AscentMode::RiftAlg1, "rift_alg1")]
    {
        let expected = recorded.tensor(name)?.to_vec1::<f64>()?;
        let found = measured(&settings(mode))?;
        assert_eq!(found.len(), expected.len());
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() < 1e-7, "{name}, module {at}: {found} against {expected}");
        }
    }
    Ok(())
}

#[test]
fn where_a_gpu_has_room_for_few_images_every_mode_gives_the_same_and_says_so_once() -> Result<()> {
    let images = Fixture::load("mrs")?.batch()?.len();
    for mode in [AscentMode::Strict, AscentMode::RiftCode, AscentMode::RiftAlg1] {
        // All images in one batch, whose way back shares the pass of its loss, and in several, each a step of the modes after RiFT.
        for batch in [8, 1000] {
            let settings = ModuleAscent { batch, ..settings(mode) };
            let expected = measured(&settings)?;
            for room in [1000, 5, 3, 1] {
                // Batches are halved until they fit.
                let usual = batch.min(images);
                let most = std::iter::successors(Some(usual), |most| Some(most / 2)).find(|most| *most <= room);
                let told = most.filter(|most| *most < usual);
                let warnings = Warnings::default();
                let found = measured_in(&cx().short_of_memory(room).watched_by(&warnings), &settings)?;
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-9, "{mode:?}, {room}: {found}, expected {expected}");
                }
                let warnings = warnings.told();
                let said = |most| match most {
                    1 => "the GPU's memory is full: from now on images go through one by one".into(),
                    most => format!("the GPU's memory is full: from now on images go through at most {most} at a time"),
                };
                assert_eq!(warnings, told.map(said).into_iter().collect::<Vec<String>>(), "{mode:?}, {room}");
            }
        }
    }
    let full = measured_in(&cx().short_of_memory(0), &settings(AscentMode::Strict)).expect_err("no room");
    assert!(full.is_out_of_memory() && full.hint_text().is_some_and(|hint| hint.contains("one image")), "{full:?}");
    Ok(())
}

#[test]
fn a_ball_of_no_size_has_no_sensitivity_and_a_larger_one_never_less() -> Result<()> {
    let at = |radius| measured(&ModuleAscent { radius, ..settings(AscentMode::Strict) });
    let (none, small, large) = (at(0.0)?, at(0.02)?, at(0.1)?);
    for i in 0..none.len() {
        assert_eq!(none[i], 0.0);
        assert!(small[i] >= 0.0 && large[i] >= small[i], "{small:?} {large:?}");
    }
    Ok(())
}

#[test]
fn strict_does_not_see_the_scale_of_a_weight_that_batch_norm_undoes() -> Result<()> {
    let ((network, _), recorded) = (resnet8()?, Fixture::load("mrs")?);
    let set = recorded.batch()?;
    let value = |network: &Network| {
        let frozen = network.freeze()?;
        rise_of_module(&cx(), network, &frozen, "layer2.0.conv1", &set, &[], &settings(AscentMode::Strict))
    };
    let before = value(&network)?;
    // Ten times the weight, ten times its running mean and deviation; epsilon is made small beside the variance.
    let weight = network.parameter("layer2.0.conv1.weight")?;
    weight.set(&(weight.as_tensor() * 10.0)?)?;
    let mut statistics = network.statistics();
    let mean = (&statistics["layer2.0.bn1.running_mean"] * 10.0)?;
    let variance = (&statistics["layer2.0.bn1.running_var"] * 100.0)?;
    statistics.insert("layer2.0.bn1.running_mean".into(), mean);
    statistics.insert("layer2.0.bn1.running_var".into(), variance);
    network.set_statistics(statistics)?;
    let after = value(&network)?;
    assert!((after - before).abs() < 1e-4 * before, "{before} {after}");
    Ok(())
}

#[test]
fn in_f32_neither_the_engine_nor_its_memory_changes_what_is_measured() -> Result<()> {
    let ((network, _), recorded) = (resnet8()?, Fixture::load("mrs")?);
    let set = recorded.batch()?;
    let orders: Vec<Vec<usize>> =
        (0..3).map(|pass| (0..set.len()).map(|at| (at * 5 + pass) % set.len()).collect()).collect();
    let single = network.to_dtype(DType::F32)?;
    let single_set = set.clone().with_images(set.images.to_dtype(DType::F32)?);
    let (frozen, exact) = (single.freeze()?, network.freeze()?);
    for module in network.declaration().modules() {
        for mode in [AscentMode::Strict, AscentMode::RiftCode] {
            let settings = ModuleAscent { steps: 3, batch: 5, ..settings(mode) };
            let expected = rise_of_module(&cx(), &network, &exact, &module.name, &set, &orders, &settings)?;
            let at = |memory, batch| {
                let settings = ModuleAscent { memory, batch, ..settings.clone() };
                rise_of_module(&cx(), &single, &frozen, &module.name, &single_set, &orders, &settings)
            };
            let found = at(1 << 30, 5)?;
            assert!((found - expected).abs() < 1e-3 * expected.abs().max(0.1), "{} {found} {expected}", module.name);
            // Room for none of the images, and for two or so of them.
            assert_eq!([at(0, 5)?, at(100_000, 5)?], [found; 2], "{}", module.name);
        }
    }
    Ok(())
}

#[test]
fn an_ascent_that_may_end_early_finds_no_more() -> Result<()> {
    let whole = measured(&settings(AscentMode::Strict))?;
    let early = measured(&ModuleAscent { early_stop: 0.2, ..settings(AscentMode::Strict) })?;
    assert!(
        early.iter().zip(&whole).all(|(early, whole)| early <= whole && *early > 0.5 * whole),
        "{early:?} {whole:?}"
    );
    assert_ne!(early, whole);
    Ok(())
}

#[test]
fn measuring_leaves_the_network_as_it_was() -> Result<()> {
    let ((network, _), recorded) = (resnet8()?, Fixture::load("mrs")?);
    let bytes = network.to_bytes()?;
    rise_of_module(
        &cx(),
        &network,
        &network.freeze()?,
        "conv1",
        &recorded.batch()?,
        &[],
        &settings(AscentMode::Strict),
    )?;
    assert_eq!(network.to_bytes()?, bytes);
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |settings| Mrs::new(settings).err().map(|error| error.to_string());
    let radius = refused(MrsSettings { radius: -0.1, ..MrsSettings::default() });
    assert_eq!(radius.as_deref(), Some("radius -0.1, expected a share of at least 0"));
    assert!(refused(MrsSettings { steps: 0, ..MrsSettings::default() }).is_some());
}

#[test]
fn mrc_is_the_criticality_of_the_reference_code() -> Result<()> {
    let recorded = Fixture::load("mrs")?;
    for (mode, name) in [(MrcMode::RiftCode, "rift_code"), (MrcMode::RiftAlg1, "rift_alg1")] {
        // The reference was recorded in batches of 8.
        let metric = Mrc::new(MrcSettings { mode, batch: 8, ..MrcSettings::default() })?;
        let (found, expected) = (measured(&metric.ascent())?, recorded.tensor(name)?.to_vec1::<f64>()?);
        assert_eq!(found.len(), expected.len());
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() < 1e-7, "{name}, module {at}: {found} against {expected}");
        }
    }
    Ok(())
}

fn metric(name: &str, settings: Value) -> Result<Vec<f64>> {
    let found = make::<dyn SensitivityMetric>(name, settings)?.measure(&cx(), &resnet8()?.0, &small_data()?)?;
    Ok(found.into_iter().map(|module| module.value).collect())
}

#[test]
fn mrc_is_mrs_in_the_mode_of_the_code_on_all_test_images() -> Result<()> {
    let as_mrc = json!({
        "mode": "rift-code", "split": "test", "images": 20, "attack_step_size": "2/225", "steps": 2, "batch": 6,
    });
    let (mrc, mrs) = (metric("mrc", json!({ "steps": 2, "batch": 6 }))?, metric("mrs", as_mrc)?);
    assert_eq!(mrc, mrs);
    assert_ne!(mrc, metric("mrc", json!({ "steps": 2, "batch": 6, "split": "train" }))?);
    Ok(())
}

#[test]
fn clean_sensitivity_is_mrs_with_an_attack_that_may_do_nothing() -> Result<()> {
    let few = json!({ "images": 20, "steps": 3 });
    let clean = metric("clean-sensitivity", few.clone())?;
    assert_eq!(clean, metric("mrs", json!({ "images": 20, "steps": 3, "epsilon": 0 }))?);
    assert_ne!(clean, metric("mrs", few)?);
    Ok(())
}

#[test]
fn the_batch_changes_nothing_where_all_images_make_a_step() -> Result<()> {
    for name in ["mrs", "clean-sensitivity"] {
        let at = |batch: usize| metric(name, json!({ "images": 20, "steps": 3, "batch": batch }));
        let (whole, parts) = (at(64)?, at(7)?);
        for (whole, part) in whole.iter().zip(&parts) {
            assert!((whole - part).abs() < 1e-9 * whole.abs().max(1.0), "{name}: {whole} {part}");
        }
    }
    Ok(())
}

#[test]
fn the_laws_of_metrics_are_kept() -> Result<()> {
    ["mrs", "mrc", "clean-sensitivity"]
        .into_iter()
        .try_for_each(|name| mrpf_api::conformance::require(Kind::Sensitivity, name))
}
