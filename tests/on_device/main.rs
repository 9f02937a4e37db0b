//! What the references recorded, computed on another device: in f64 by single operations, in f32 by the device's engine, in the
//! precisions that it has besides within what they round.
//!
//! `MRPF_TEST_DEVICE=cuda cargo test --release --features cudnn --test on_device`; without the variable everything runs on the processor.

use mrpf_api::attack::{Ascent, Norm, ascend};
use mrpf_api::candle_core::{DType, Device, Tensor, Var};
use mrpf_api::numeric::{Precision, SgdParameter, SgdStep, require_determinism, sgd_together};
use mrpf_api::prelude::*;
use mrpf_attack_gradient::{Fgsm, Keep, Pgd, PgdSettings};
use mrpf_host::device::{Arithmetic, DeviceChoice, OpenDevice, open};
use mrpf_test_support::seeded::{self, uniform};
use mrpf_test_support::{Fixture, Original, gradients_by_name, originals, resnet8, step, vgg_tiny};
use mrpf_trainer_pgd_at::{PgdAt, PgdAtSettings};
use mrpf_trainer_trades::{Trades, TradesSettings};
use std::sync::LazyLock;

/// The device of this test run, opened once: graphs and memory belong to one.
fn device() -> &'static Device {
    static DEVICE: LazyLock<OpenDevice> = LazyLock::new(|| {
        let choice = std::env::var("MRPF_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
        let choice: DeviceChoice = choice.parse().expect("MRPF_TEST_DEVICE is cpu, cuda, cuda:N or metal");
        let device = open(choice, Arithmetic::default()).expect("the device opens");
        println!("tests run on {}", device.name);
        device
    });
    &DEVICE.device
}

fn there(tensor: &Tensor, dtype: DType) -> Result<Tensor> {
    let tensor = if tensor.dtype() == DType::F64 { tensor.to_dtype(dtype)? } else { tensor.clone() };
    Ok(tensor.to_device(device())?)
}

fn here(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?)
}

/// The largest difference as a share of the largest expected value.
fn difference(found: &Tensor, expected: &Tensor) -> Result<f64> {
    let (found, expected) = (here(found)?, here(expected)?);
    let most = |tensor: Tensor| -> Result<f64> { Ok(tensor.abs()?.flatten_all()?.max(0)?.to_scalar()?) };
    Ok(most((found - &expected)?)? / most(expected)?.max(1e-12))
}

fn assert_near(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) -> Result<()> {
    let off = difference(found, expected)?;
    assert!(off < tolerance, "{what}: off by {off:e}");
    Ok(())
}

fn assert_families(what: &str, found: &Weights, expected: &Weights, tolerance: f64) -> Result<()> {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    found
        .iter()
        .try_for_each(|(name, tensor)| assert_near(&format!("{what} {name}"), tensor, &expected[name], tolerance))
}

fn moved((network, batch): (Network, Batch), dtype: DType) -> Result<(Network, Batch)> {
    let network = network.to_dtype(dtype)?.to_device(device())?;
    let images = there(&batch.images, dtype)?;
    Ok((network, Batch { images, labels: batch.labels.to_device(device())?, indices: batch.indices }))
}

/// f64 by operations, f32 by an engine where there is one.
const TYPES: [(DType, f64); 2] = [(DType::F64, 1e-9), (DType::F32, 2e-4)];

#[test]
fn networks_agree_with_pytorch_in_evaluation_and_in_training() -> Result<()> {
    for (name, load) in [("resnet8", resnet8 as fn() -> Result<(Network, Batch)>), ("vgg_tiny", vgg_tiny)] {
        let recorded = Fixture::load(name)?;
        for (dtype, tolerance) in TYPES {
            let (network, batch) = moved(load()?, dtype)?;
            let count = batch.len() as f64;
            // Three times, because devices do again in another way what they have done before.
            for _ in 0..3 {
                let frozen = network.freeze()?;
                let loss = |logits: &Tensor| Ok((loss::cross_entropy_per_image(logits, &batch.labels)? / count)?);
                let found = frozen.input_gradient(&batch.images, &loss)?;
                assert_near("logits", &found.logits, recorded.tensor("eval_logits")?, tolerance)?;
                assert_near("alone", &frozen.logits(&batch.images)?, recorded.tensor("eval_logits")?, tolerance)?;
                assert_near("input", &found.gradient, recorded.tensor("eval_input_gradient")?, tolerance)?;
            }
            for time in 0..3 {
                let logits = network.forward(&batch.images, Mode::Train)?;
                assert_near("training logits", &logits, recorded.tensor("train_logits")?, tolerance)?;
                let gradients = loss::cross_entropy(&logits, &batch.labels, 0.0)?.backward()?;
                let found = gradients_by_name(&network, &gradients);
                let expected = recorded.family("train_gradient");
                // A bias before a batch norm has no gradient but rounding.
                let found = found.into_iter().filter(|(name, _)| is_large(&expected[name]));
                let expected = expected.iter().filter(|(_, tensor)| is_large(tensor));
                let expected = expected.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
                assert_families(&format!("{name} {dtype:?} gradient"), &found.collect(), &expected, tolerance)?;
                if time == 0 {
                    let expected = recorded.family("train_statistics");
                    assert_families("statistics", &network.statistics(), &expected, tolerance)?;
                }
            }
        }
    }
    Ok(())
}

/// The length of the difference as a share of the expected value's: a few ReLUs whose inputs are nearly zero open or close.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let off = length(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    off / length(&mut expected.iter().copied()).max(1e-12)
}

#[test]
fn every_architecture_agrees_with_its_original() -> Result<()> {
    let recorded = Fixture::load("architectures")?;
    for original in originals()? {
        let Some(name) = &original.recorded else { continue };
        let shape = [1, 3, original.size, original.size];
        let images = there(&Tensor::from_vec(uniform("images", &shape), &shape, &Device::Cpu)?, DType::F32)?;
        let expected = recorded.tensor(&format!("{name}.gradient"))?.to_vec1::<f64>()?;
        let network = seeded::network(original.declaration()?)?.to_dtype(DType::F32)?.to_device(device())?;
        let is_taken = network.computed_in(Precision::Bf16) == Precision::Bf16;
        assert_eq!(is_taken, device().is_cuda() && cfg!(feature = "cudnn"), "{name}: whether the engine takes it");
        for _ in 0..3 {
            let (logits, gradient) = seeded::outputs(&network, &images)?;
            assert_near(name, &logits, recorded.tensor(&format!("{name}.logits"))?, 1e-4)?;
            let off = distance(&gradient, &expected);
            assert!(off < 3e-2, "{name}: gradient off by {off:e}");
        }
    }
    Ok(())
}

/// The first architectures of each name, as small as they are recorded.
fn smallest() -> Result<Vec<Original>> {
    let mut chosen: Vec<Original> = Vec::new();
    for original in originals()?.into_iter().filter(|original| original.recorded.is_some()) {
        let macs = original.macs;
        match chosen.iter_mut().find(|other| other.architecture == original.architecture) {
            Some(other) if other.macs > macs => *other = original,
            Some(_) => {}
            None => chosen.push(original),
        }
    }
    Ok(chosen)
}

#[test]
fn gradients_of_every_architecture_in_training_are_those_of_the_processor_in_f64() -> Result<()> {
    for original in smallest()? {
        let shape = [4, 3, original.size, original.size];
        let images = Tensor::from_vec(uniform("images", &shape), &shape, &Device::Cpu)?;
        let labels = Tensor::new(&[3u32, 1, 4, 1], &Device::Cpu)?;
        let exact = seeded::network(original.declaration()?)?;
        let pass = |network: &Network, images: &Tensor, labels: &Tensor| -> Result<(Tensor, Weights)> {
            let logits = network.forward(images, Mode::Train)?;
            let gradients = loss::cross_entropy(&logits, labels, 0.0)?.backward()?;
            Ok((logits.detach(), gradients_by_name(network, &gradients)))
        };
        let (expected, by_weight) = pass(&exact, &images, &labels)?;
        let network = seeded::network(original.declaration()?)?.to_dtype(DType::F32)?.to_device(device())?;
        let (images, labels) = (there(&images, DType::F32)?, labels.to_device(device())?);
        for _ in 0..3 {
            let (logits, found) = pass(&network, &images, &labels)?;
            assert_near(&original.architecture, &logits, &expected, 2e-3)?;
            assert_eq!(found.keys().collect::<Vec<_>>(), by_weight.keys().collect::<Vec<_>>());
            for (name, found) in found {
                let numbers = |tensor: &Tensor| -> Result<Vec<f64>> { Ok(here(tensor)?.flatten_all()?.to_vec1()?) };
                let (found, expected) = (numbers(&found)?, numbers(&by_weight[&name])?);
                if expected.iter().any(|value| value.abs() > 1e-9) {
                    let off = distance(&found, &expected);
                    // The processor in f32 is up to 2 % off as well: ReLUs open or close.
                    assert!(off < 5e-2, "{} {name}: off by {off:e}", original.architecture);
                }
            }
        }
    }
    Ok(())
}

fn is_large(tensor: &Tensor) -> bool {
    tensor.abs().and_then(|tensor| tensor.flatten_all()?.max(0)?.to_scalar::<f64>()).is_ok_and(|most| most > 1e-9)
}

/// Asserts that images are equal but for a few values, whose gradient rounding turned to the other sign.
fn assert_images(found: &Tensor, expected: &Tensor, dtype: DType) -> Result<()> {
    let off = (here(found)? - here(expected)?)?.abs()?.flatten_all()?.to_vec1::<f64>()?;
    let (count, moved) = (off.len(), off.iter().filter(|off| **off > 1e-5).count());
    let allowed = if dtype == DType::F64 { 0 } else { count / 100 };
    assert!(moved <= allowed, "{moved} of {count} values are elsewhere");
    Ok(())
}

#[test]
fn steps_of_pgd_at_and_trades_agree_with_the_originals() -> Result<()> {
    for (dtype, tolerance) in TYPES {
        let tolerance = if dtype == DType::F64 { tolerance } else { 2e-2 };
        for _ in 0..2 {
            let ((network, batch), recorded) = (moved(resnet8()?, dtype)?, Fixture::load("pgd_at")?);
            let start = there(recorded.tensor("start")?, dtype)?;
            let trainer = PgdAt::new(PgdAtSettings::default())?;
            let (found, images) = trainer.loss_from(&step(0, 0), &network, &batch, &start)?;
            assert_images(&images, recorded.tensor("adversarial")?, dtype)?;
            assert_near("loss", &found.loss, recorded.tensor("loss")?, tolerance)?;
            let gradients = gradients_by_name(&network, &found.loss.backward()?);
            assert_families("gradient", &gradients, &recorded.family("gradient"), tolerance)?;
            assert_families("statistics", &network.statistics(), &recorded.family("statistics"), tolerance)?;

            let ((network, batch), recorded) = (moved(resnet8()?, dtype)?, Fixture::load("trades")?);
            let start = (&batch.images + (there(recorded.tensor("noise")?, dtype)? * 0.001)?)?;
            let (found, images) =
                Trades::new(TradesSettings::default())?.loss_from(&step(0, 0), &network, &batch, &start)?;
            assert_images(&images, recorded.tensor("adversarial")?, dtype)?;
            assert_near("loss", &found.loss, recorded.tensor("loss")?, tolerance)?;
            let gradients = gradients_by_name(&network, &found.loss.backward()?);
            assert_families("gradient", &gradients, &recorded.family("gradient"), tolerance)?;
            assert_families("statistics", &network.statistics(), &recorded.family("statistics"), tolerance)?;
        }
    }
    Ok(())
}

#[test]
fn attacks_agree_with_torchattacks() -> Result<()> {
    let recorded = Fixture::load("attacks")?;
    for (dtype, _) in TYPES {
        let (network, batch) = moved(resnet8()?, dtype)?;
        let (frozen, cx) = (network.freeze()?, CallContext::unwatched(Streams::new(5)));
        let pgd = |step_size: Option<Fraction>| {
            Pgd::new(PgdSettings { steps: 10, step_size, keep: Keep::Last, ..PgdSettings::default() })
        };
        let linf = ThreatModel::default();
        let start = there(recorded.tensor("linf_start")?, dtype)?;
        let found = pgd(None)?.attack_from(&cx, &frozen, &linf, &batch, &start)?;
        assert_images(&found.images, recorded.tensor("linf_images")?, dtype)?;
        let l2 = ThreatModel { norm: Norm::L2, epsilon: Fraction::from(0.5) };
        let start = there(recorded.tensor("l2_start")?, dtype)?;
        let found = pgd(Some(Fraction::from(0.1)))?.attack_from(&cx, &frozen, &l2, &batch, &start)?;
        assert_images(&found.images, recorded.tensor("l2_images")?, dtype)?;
        assert_images(&Fgsm.attack(&cx, &frozen, &linf, &batch)?.images, recorded.tensor("fgsm_images")?, dtype)?;
    }
    Ok(())
}

#[test]
fn random_numbers_and_steps_of_attacks_are_the_same_bits_as_on_the_processor() -> Result<()> {
    let shape = [3, 5, 7];
    let like = Tensor::zeros(1, DType::F32, device())?;
    let near = Tensor::zeros(1, DType::F32, &Device::Cpu)?;
    let streams = Streams::new(11).child("start");
    let draw = |like: &Tensor| streams.uniform_per_image(&[4, 0, 1_000_003], &shape, -0.03, 0.07, like);
    let (found, expected) = (draw(&like)?, draw(&near)?);
    let numbers = |tensor: &Tensor| -> Result<Vec<f32>> { Ok(tensor.flatten_all()?.to_vec1()?) };
    assert_eq!(numbers(&found)?, numbers(&expected)?);

    let mut stream = Streams::new(12).stream();
    let clean = stream.uniform(&[2, 3, 4, 4], 0.0, 1.0, DType::F32, &Device::Cpu)?;
    let images = (&clean + stream.uniform(&[2, 3, 4, 4], -0.03, 0.03, DType::F32, &Device::Cpu)?)?;
    let gradient = stream.normal(&[2, 3, 4, 4], DType::F32, &Device::Cpu)?.relu()?;
    let ascent = Ascent { threat: ThreatModel::default(), step_size: 0.007, steps: 1, start: Default::default() };
    let [far_clean, far_images, far_gradient] = [&clean, &images, &gradient].map(|tensor| there(tensor, DType::F32));
    let found = ascent.step(&far_clean?, &far_images?, &far_gradient?)?;
    assert_eq!(numbers(&found)?, numbers(&ascent.step(&clean, &images, &gradient)?)?);
    Ok(())
}

#[test]
fn normal_numbers_are_those_of_the_processor() -> Result<()> {
    let [far, near] = [device(), &Device::Cpu].map(|device| Tensor::zeros(1, DType::F32, device));
    let (far, near) = (far?, near?);
    let indices: Vec<usize> = (0..40).map(|at| at * at * 31).collect();
    let (mut count, mut from_tails, mut off) = (0, 0, 0);
    // Some fit into what a kernel looks at at a time, some do not; enough for all ways that a number can come about.
    for shape in
        [&[3usize, 32, 32] as &[usize], &[1], &[7, 9], &[2, 1021], &[3, 683], &[2049], &[5, 37, 41], &[3, 64, 65]]
    {
        let streams = Streams::new(13).child(shape.len());
        let numbers = |like: &Tensor| -> Result<Vec<f32>> {
            let drawn = streams.normal_per_image(&indices, shape, like)?;
            assert_eq!((drawn.dim(0)?, &drawn.dims()[1..]), (indices.len(), shape));
            Ok(drawn.flatten_all()?.to_vec1()?)
        };
        for (found, expected) in numbers(&far)?.into_iter().zip(numbers(&near)?) {
            let steps = found.to_bits().abs_diff(expected.to_bits());
            assert!(steps == 0 || steps == 1 && expected.abs() > 3.65, "{found:e} instead of {expected:e}");
            (count, off) = (count + 1, off + steps);
            from_tails += usize::from(expected.abs() > 3.66);
        }
    }
    assert!(count > 1_000_000 && from_tails > 100, "{from_tails} of {count} numbers are from the tails");
    assert!(off < 3, "{off} numbers differ by their last digit");
    Ok(())
}

#[test]
fn a_step_of_the_optimiser_for_all_parameters_is_that_for_each() -> Result<()> {
    let mut stream = Streams::new(3).stream();
    let mut normal = |shape: &[usize]| stream.normal(shape, DType::F32, &Device::Cpu);
    let shapes: [&[usize]; 3] = [&[4, 3, 3, 3], &[7], &[300, 129]];
    let all: Vec<[Tensor; 3]> =
        shapes.iter().map(|shape| Ok([normal(shape)?, normal(shape)?, normal(shape)?])).collect::<Result<_>>()?;
    let far: Vec<(Var, Tensor, Tensor)> = all
        .iter()
        .map(|[w, g, v]| Ok((Var::from_tensor(&there(w, DType::F32)?)?, there(g, DType::F32)?, there(v, DType::F32)?)))
        .collect::<Result<_>>()?;
    for (nesterov, is_first) in [(false, true), (false, false), (true, false)] {
        let step = SgdStep { gradient_scale: 0.5, momentum: 0.9, nesterov, learning_rate: 0.1 };
        let before: Vec<Tensor> = far.iter().map(|(w, ..)| here(w.as_tensor())).collect::<Result<_>>()?;
        let parameters: Vec<SgdParameter<'_>> = far
            .iter()
            .map(|(weight, gradient, velocity)| SgdParameter {
                weight,
                gradient,
                velocity: (!is_first).then_some(velocity),
                decay: 0.01,
            })
            .collect();
        let Some(velocities) = sgd_together(&parameters, step)? else {
            assert!(!(device().is_cuda() && cfg!(feature = "cudnn")), "a GPU does all at once");
            println!("skipped: this device does each parameter by itself");
            return Ok(());
        };
        for (((weight, gradient, velocity), before), found) in far.iter().zip(before).zip(velocities) {
            let direction = ((here(gradient)? * 0.5)? + (&before * 0.01)?)?;
            let moved = if is_first { direction.clone() } else { ((here(velocity)? * 0.9)? + &direction)? };
            assert_near("velocity", &found, &moved, 1e-6)?;
            let along = if nesterov { (direction + (&moved * 0.9)?)? } else { moved };
            assert_near("weight", weight.as_tensor(), &(before - (along * 0.1)?)?, 1e-6)?;
        }
    }
    Ok(())
}

#[test]
fn a_pass_in_fewer_digits_stays_near_and_two_passes_are_the_same_bytes() -> Result<()> {
    require_determinism(true);
    let expected = Fixture::load("resnet8")?;
    for (precision, tolerance) in
        [(Precision::F32, 1e-4), (Precision::Tf32, 2e-2), (Precision::F16, 2e-2), (Precision::Bf16, 1e-1)]
    {
        let once = || -> Result<(Vec<f32>, Vec<f32>)> {
            let (network, batch) = moved(resnet8()?, DType::F32)?;
            network.set_precision(precision);
            let ascent =
                Ascent { threat: ThreatModel::default(), step_size: 0.007, steps: 5, start: Default::default() };
            let loss = |logits: &Tensor| loss::cross_entropy_per_image(logits, &batch.labels);
            let cx = CallContext::unwatched(Streams::new(0));
            let frozen = network.freeze()?;
            let start = ascent.starting_images(&cx, &batch)?;
            let images = ascend(&cx, &frozen, &batch.images, &start, &ascent, &loss)?;
            let mut weights = Vec::new();
            for _ in 0..3 {
                let logits = network.forward(&images, Mode::Train)?;
                let gradients = loss::cross_entropy(&logits, &batch.labels, 0.0)?.backward()?;
                for variable in network.parameters().values() {
                    let gradient = gradients.get(variable).expect("a gradient");
                    variable.set(&(variable.as_detached_tensor() - (gradient * 0.1)?)?)?;
                }
            }
            for variable in network.parameters().values() {
                weights.extend(variable.flatten_all()?.to_vec1::<f32>()?);
            }
            assert_near("logits", &frozen.logits(&batch.images)?, expected.tensor("eval_logits")?, tolerance)?;
            Ok((images.flatten_all()?.to_vec1()?, weights))
        };
        assert!(once()? == once()?, "{precision}: another run gives other bytes");
    }
    Ok(())
}
