//! Every operation and a small network in f32 on each device, against f64 on the CPU: outputs and gradients.

use mrpf_api::attack::{Ascent, Start, ThreatModel, ascend};
use mrpf_api::candle_core::{DType, Device, Tensor, Var};
use mrpf_api::context::CallContext;
use mrpf_api::data::{Batch, ImageShape};
use mrpf_api::network::{Attention, AttentionUnit, Builder, Classifier, Declaration, LayerKind, Linear, Mode, Network};
use mrpf_api::numeric::{
    ConvGeometry, InF64, PoolGeometry, Precision, Variation, VariationGround, augment, can_augment_on, is_tf32_allowed,
    loss,
};
use mrpf_api::random::Streams;
use mrpf_api::{Error, ErrorKind, Result};
use serde::Serialize;

use super::operations::{Operation, all};
use crate::device::OpenDevice;

/// An operation on a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tested {
    /// The operation.
    pub operation: String,
    /// Where it was computed.
    pub device: String,
    /// Largest difference of the output, as a share of its largest value or of 1.
    pub forward: Option<f64>,
    /// The same of the gradients.
    pub gradients: Option<f64>,
    /// What is allowed.
    pub tolerance: f64,
    /// Whether it is right.
    pub passed: bool,
    /// What the device said instead of computing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// f32 has 7 digits; sums of some hundred terms lose two of them.
const TOLERANCE: f64 = 1e-4;
/// TF32 has 3 digits.
const TOLERANCE_TF32: f64 = 2e-2;

/// What is tried of a whole network, in a type on a device.
type Whole = fn(DType, &Device, Precision) -> Result<Outcome>;

/// Output, and gradients.
type Outcome = (Tensor, Vec<Tensor>);

/// Tries everything on every device.
///
/// # Errors
/// Those of the processor in f64.
pub(super) fn run(places: &[&OpenDevice]) -> Result<Vec<Tested>> {
    let mut tested = Vec::new();
    for operation in all() {
        let exact = outcome(&operation, DType::F64, &Device::Cpu)?;
        tested.extend(
            places
                .iter()
                .map(|place| judge(operation.name, place, &exact, || outcome(&operation, DType::F32, &place.device))),
        );
    }
    let exact = varied(&Device::Cpu)?;
    tested.extend(places.iter().map(|place| judge("augment", place, &exact, || varied(&place.device))));
    let exact = drawn(DType::F64, &Device::Cpu)?;
    tested
        .extend(places.iter().map(|place| judge("random numbers", place, &exact, || drawn(DType::F32, &place.device))));
    for (name, whole) in [
        ("network, training step", (|t, d, p| training(&residual()?, t, d, p)) as Whole),
        ("network, attack", |t, d, p| attack(&residual()?, t, d, p)),
        ("mixed network, training step", |t, d, p| training(&mixed()?, t, d, p)),
        ("mixed network, attack", |t, d, p| attack(&mixed()?, t, d, p)),
    ] {
        let exact = whole(DType::F64, &Device::Cpu, Precision::F32)?;
        let in_f32 = |place: &&OpenDevice| {
            let work = || whole(DType::F32, &place.device, Precision::F32);
            match is_in_tf32(place) {
                true => judge_within(WHOLE_TF32, distance, name, place, &exact, work),
                false => judge(name, place, &exact, work),
            }
        };
        tested.extend(places.iter().map(in_f32));
        for place in places.iter().filter(|place| place.device.is_cuda() && cfg!(feature = "cudnn")) {
            for (precision, tolerance) in ROUNDED {
                let name = format!("{name}, {precision}");
                let found = judge_within(tolerance, distance, &name, place, &exact, || {
                    whole(DType::F32, &place.device, precision)
                });
                tested.push(found);
            }
        }
    }
    Ok(tested)
}

/// What a dozen layers may lose in TF32; see [`distance`].
const WHOLE_TF32: f64 = 1.5e-1;

/// Whether f32 is computed in TF32 there.
fn is_in_tf32(place: &OpenDevice) -> bool {
    place.device.is_cuda() && is_tf32_allowed()
}

/// The other types that networks are computed in on NVIDIA GPUs, with what a dozen layers may lose; see [`distance`].
const ROUNDED: [(Precision, f64); 3] =
    [(Precision::Tf32, WHOLE_TF32), (Precision::F16, 1.5e-1), (Precision::Bf16, 4e-1)];

fn judge(name: &str, place: &OpenDevice, exact: &Outcome, work: impl Fn() -> Result<Outcome>) -> Tested {
    let tolerance = if is_in_tf32(place) { TOLERANCE_TF32 } else { TOLERANCE };
    judge_within(tolerance, difference, name, place, exact, work)
}

fn judge_within(
    tolerance: f64,
    difference: fn(&Tensor, &Tensor) -> Result<f64>,
    name: &str,
    place: &OpenDevice,
    exact: &Outcome,
    work: impl Fn() -> Result<Outcome>,
) -> Tested {
    let compared = work().and_then(|found| {
        let gradients = exact.1.iter().zip(&found.1).map(|(exact, found)| difference(exact, found));
        let gradients = gradients.collect::<Result<Vec<f64>>>()?.into_iter().fold(0.0, f64::max);
        if exact.1.len() != found.1.len() {
            return Err(Error::new(ErrorKind::Numeric, "a gradient is missing"));
        }
        Ok([difference(&exact.0, &found.0)?, gradients])
    });
    let (operation, device) = (name.to_owned(), place.name.clone());
    match compared {
        Ok([forward, gradients]) => {
            let passed = forward <= tolerance && gradients <= tolerance;
            let [forward, gradients] = [forward, gradients].map(Some);
            Tested { operation, device, forward, gradients, tolerance, passed, error: None }
        }
        Err(error) => Tested {
            operation,
            device,
            forward: None,
            gradients: None,
            tolerance,
            passed: false,
            error: Some(error.to_string()),
        },
    }
}

/// The largest difference, as a share of the largest exact value or of 1; infinite where a number is none.
fn difference(exact: &Tensor, found: &Tensor) -> Result<f64> {
    let numbers = |tensor: &Tensor| -> Result<Vec<f64>> {
        Ok(tensor.to_device(&Device::Cpu)?.in_f64()?.flatten_all()?.to_vec1()?)
    };
    let (exact, found) = (numbers(exact)?, numbers(found)?);
    if exact.len() != found.len() {
        return Ok(f64::INFINITY);
    }
    let largest = exact.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
    let off = exact.iter().zip(&found).map(|(exact, found)| (exact - found).abs());
    Ok(off.fold(0.0, |largest, off| if off.is_nan() { f64::INFINITY } else { largest.max(off) }) / largest)
}

/// The length of the difference as a share of the exact value's. Rounding turns a few ReLUs and maxima the other way, each of which
/// moves single numbers by much.
fn distance(exact: &Tensor, found: &Tensor) -> Result<f64> {
    let numbers = |tensor: &Tensor| -> Result<Tensor> { Ok(tensor.to_device(&Device::Cpu)?.in_f64()?.flatten_all()?) };
    let (exact, found) = (numbers(exact)?, numbers(found)?);
    if exact.dims() != found.dims() {
        return Ok(f64::INFINITY);
    }
    let length = |of: &Tensor| -> Result<f64> { Ok(of.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt()) };
    let share = length(&(found - &exact)?)? / length(&exact)?.max(1e-12);
    Ok(if share.is_nan() { f64::INFINITY } else { share })
}

/// The output of an operation, and the gradients of a weighted sum of it by all inputs.
fn outcome(operation: &Operation, dtype: DType, device: &Device) -> Result<Outcome> {
    let moved = |tensor: Tensor| -> Result<Tensor> { Ok(tensor.to_dtype(dtype)?.to_device(device)?) };
    let inputs = operation.numbers()?.into_iter().map(|input| Ok(Var::from_tensor(&moved(input)?)?));
    let inputs = inputs.collect::<Result<Vec<Var>>>()?;
    let tracked: Vec<Tensor> = inputs.iter().map(|input| input.as_tensor().clone()).collect();
    let out = (operation.work)(&tracked)?;
    let factors = Streams::new(0).child("factors").stream().normal(out.dims(), dtype, device)?;
    let gradients = (&out * factors)?.sum_all()?.backward()?;
    Ok((out.detach(), inputs.iter().filter_map(|input| gradients.get(input).cloned()).collect()))
}

/// Images that are moved beyond their edges, mirrored and blanked; on devices that leave this to the CPU, made there.
fn varied(device: &Device) -> Result<Outcome> {
    let device = if can_augment_on(device) { device } else { &Device::Cpu };
    let data = Tensor::from_iter((0..5 * 3 * 7 * 9u32).map(|at| (at * 37 % 256) as u8), device)?;
    let data = data.reshape((5, 3, 7, 9))?;
    let variations: Vec<Variation> = (0..10)
        .map(|at| Variation {
            image: at % 5,
            down: 3 * at as isize - 14,
            right: 11 - 2 * at as isize,
            mirrored: at % 2 == 1,
            blank: [at % 4..at % 7 + 1, at % 3..at % 9 + 1].map(|part| part.start.min(part.end)..part.end),
        })
        .collect();
    let precision = Precision::default();
    let made = [false, true].map(|reflects| {
        let ground = VariationGround { full_scale: 255, reflects, fill: &[0.25, 0.5, 0.75], precision };
        augment(&data, &variations, &ground)
    });
    let [black, reflected] = made;
    Ok((Tensor::cat(&[black?, reflected?], 0)?, Vec::new()))
}

/// Numbers of three images, each from a stream of its own: as they come, and from the normal distribution.
fn drawn(dtype: DType, device: &Device) -> Result<Outcome> {
    let (streams, like) = (Streams::new(2), Tensor::zeros(1, dtype, device)?);
    let (indices, shape) = ([0, 7, 70_000], [3, 40, 41]);
    let uniform = streams.uniform_per_image(&indices, &shape, -1.0, 1.0, &like)?;
    Ok((Tensor::cat(&[uniform, streams.normal_per_image(&indices, &shape, &like)?], 0)?, Vec::new()))
}

/// Images of the networks here.
const IMAGES: ImageShape = ImageShape { channels: 3, height: 16, width: 16 };

/// A small residual network, at widths such as pruning leaves.
fn residual() -> Result<Declaration> {
    let mut net = Builder::new("self-test", IMAGES, 10);
    net.normalize("normalize", &[0.5; 3], &[0.25; 3]).conv("stem", 13, ConvGeometry::same3(), false);
    net.batch_norm("stem.norm").relu("stem.relu");
    net.conv("a", 16, ConvGeometry::same3(), false).batch_norm("a.norm").relu("a.relu");
    net.conv("b", 13, ConvGeometry::same3(), false).batch_norm("b.norm").add("sum", "stem.relu").relu("sum.relu");
    net.conv("c", 30, ConvGeometry::same3().stride(2), false).batch_norm("c.norm").relu("c.relu");
    net.conv("d", 21, ConvGeometry::same3(), true).relu("d.relu").max_pool("pool", PoolGeometry::square(2));
    net.batch_norm("pool.norm").global_avg_pool("mean").linear("hidden", 19).relu("hidden.relu").linear("classes", 10);
    net.finish()
}

/// What other architectures are made of: depthwise convolutions, joined channels, means of windows, tokens.
fn mixed() -> Result<Declaration> {
    let mut net = Builder::new("self-test", IMAGES, 10);
    net.normalize("normalize", &[0.5; 3], &[0.25; 3]).conv("stem", 13, ConvGeometry::same3(), false);
    net.batch_norm("stem.norm").relu6("stem.relu");
    net.conv("a", 13, ConvGeometry::same3().groups(13), false).batch_norm("a.norm").relu6("a.relu");
    net.conv("b", 13, ConvGeometry::square(1), true).add("sum", "stem.relu").concat("join", &["a.relu", "stem.relu"]);
    net.conv("c", 39, ConvGeometry::same3().stride(2).groups(39), true).relu6("c.relu");
    net.avg_pool("pool", PoolGeometry::square(2)).layer(
        "short",
        LayerKind::PadShortcut { stride: 2, channels: 43 },
        &["pool"],
    );
    net.resize("resize", [4, 6]).conv("in", 12, ConvGeometry::square(1), false).silu("in.silu");
    net.unfold("unfold", 2).layer_norm("norm");
    // Without a bias: that of the keys has no gradient but rounding.
    let projection = LayerKind::Linear(Linear { in_features: 12, out_features: 12, bias: false });
    for name in ["query", "key", "value"] {
        net.layer(name, projection.clone(), &["norm"]);
    }
    let attention = LayerKind::Attention(Attention::new(12, 3, AttentionUnit::Width));
    net.layer("attention", attention, &["query", "key", "value"]).linear("project", 12).add("more", "unfold");
    net.linear("wide", 21).layer("gelu", LayerKind::Gelu, &["wide"]).linear("narrow", 12).add("most", "more");
    net.fold("fold", 2, [4, 6]).flatten("flat").linear("hidden", 19).relu6("hidden.relu").linear("classes", 10);
    net.finish()
}

fn network(declaration: &Declaration, dtype: DType, device: &Device, precision: Precision) -> Result<Network> {
    let network = Network::initialise(declaration.clone(), &Streams::new(0).child("self-test"), dtype, device)?;
    network.set_precision(precision);
    Ok(network)
}

fn batch(dtype: DType, device: &Device) -> Result<Batch> {
    let images = Streams::new(1).stream().uniform(&[8, 3, 16, 16], 0.0, 1.0, dtype, device)?;
    let labels = Tensor::from_iter((0..8u32).map(|image| image * 3 % 10), device)?;
    Ok(Batch { images, labels, indices: (0..8).collect() })
}

/// Logits in training mode, the gradients by all parameters and the images, and the running statistics after it.
///
/// The third time counts: devices do what they have seen before in another way.
fn training(declaration: &Declaration, dtype: DType, device: &Device, precision: Precision) -> Result<Outcome> {
    let (network, batch) = (network(declaration, dtype, device, precision)?, batch(dtype, device)?);
    let images = Var::from_tensor(&batch.images)?;
    let mut last = None;
    for _ in 0..3 {
        let logits = network.forward(&images, Mode::Train)?;
        // A hundredfold, so that differences are told beside values of about 1.
        let gradients = (loss::cross_entropy(&logits, &batch.labels, 0.0)? * 100.0)?.backward()?;
        let by_weight = network.parameters().values().filter_map(|variable| gradients.get(variable).cloned());
        last = Some((logits.detach(), by_weight.chain(gradients.get(&images).cloned()).collect::<Vec<Tensor>>()));
    }
    let (logits, mut found) = last.ok_or_else(|| Error::new(ErrorKind::Numeric, "no gradients"))?;
    found.extend(network.statistics().into_values());
    Ok((logits, found))
}

/// Logits of attacked images, and the input gradient there. Steps go along the gradient, not its sign, which the last digit could turn.
fn attack(declaration: &Declaration, dtype: DType, device: &Device, precision: Precision) -> Result<Outcome> {
    let (network, batch) = (network(declaration, dtype, device, precision)?, batch(dtype, device)?);
    let frozen = network.freeze()?;
    let threat = ThreatModel { norm: mrpf_api::attack::Norm::L2, ..ThreatModel::default() };
    let ascent = Ascent { threat, step_size: 0.01, steps: 3, start: Start::Clean };
    let labels = batch.labels.clone();
    let loss = |logits: &Tensor| Ok((loss::cross_entropy_per_image(logits, &labels)? * 100.0)?);
    let cx = CallContext::unwatched(Streams::new(0));
    let images = ascend(&cx, &frozen, &batch.images, &batch.images, &ascent, &loss)?;
    let at = frozen.input_gradient(&images, &loss)?;
    Ok((at.logits, vec![at.gradient, images]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_that_is_wrong_is_found() -> Result<()> {
        let place = OpenDevice::default();
        let mut operations = all();
        let name = operations[0].name;
        let exact = outcome(&operations[0], DType::F64, &place.device)?;
        let right = judge(name, &place, &exact, || outcome(&operations[0], DType::F32, &place.device));
        assert!(right.passed && right.forward.is_some_and(|off| off > 0.0), "{right:?}");
        let work = std::mem::replace(&mut operations[0].work, Box::new(|x| Ok(x[0].clone())));
        operations[0].work = Box::new(move |x| Ok((work(x)? * 1.001)?));
        let wrong = judge(name, &place, &exact, || outcome(&operations[0], DType::F32, &place.device));
        assert!(!wrong.passed && wrong.forward.is_some_and(|off| off > 1e-4), "{wrong:?}");
        let failing = judge(name, &place, &exact, || Err(Error::new(ErrorKind::Device, "lost")));
        assert!(!failing.passed && failing.error.as_deref() == Some("lost"));
        Ok(())
    }

    #[test]
    fn what_is_not_a_number_is_infinitely_wrong() -> Result<()> {
        let one = Tensor::new(&[1.0f64, 2.0], &Device::Cpu)?;
        assert_eq!(difference(&one, &Tensor::new(&[1.0f32, f32::NAN], &Device::Cpu)?)?, f64::INFINITY);
        assert_eq!(difference(&one, &Tensor::new(&[1.0f32], &Device::Cpu)?)?, f64::INFINITY);
        assert_eq!(difference(&one, &Tensor::new(&[1.0f32, 1.0], &Device::Cpu)?)?, 0.5);
        Ok(())
    }
}
