//! What GPUs compute, checked on the CPU: every operation composed of Candle's, against finite differences and against the kernels.

use candle_core::{DType, Tensor, Var};
use proptest::prelude::*;

use super::{distance, distinct, off_zero};
use crate::data::ImageShape;
use crate::network::{Builder, Classifier, Mode, Network};
use crate::numeric::conv::tests::WEIGHT_GRADIENTS;
use crate::numeric::gradient_check::{check, check_passed, normal};
use crate::numeric::kernel::by_composition;
use crate::numeric::{
    ConvGeometry, PoolGeometry, attention, avg_pool2d, batch_norm_eval, batch_norm_train, conv2d, fold, gelu,
    global_avg_pool, layer_norm, linear, loss, max_pool2d, normalize, pad_shortcut, relu, relu6, resize, silu, unfold,
};
use crate::random::Streams;
use crate::{Error, ErrorKind, Result};

/// An operation on some inputs.
type Operation<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// Output and gradients by all inputs.
fn outcome(inputs: &[Tensor], operation: Operation<'_>) -> Result<Vec<Tensor>> {
    let variables = inputs.iter().map(|input| Ok(Var::from_tensor(input)?)).collect::<Result<Vec<_>>>()?;
    let tracked: Vec<Tensor> = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
    let out = operation(&tracked)?;
    let gradients = (&out * normal("weights of the sum", out.dims())?.to_dtype(out.dtype())?)?.sum_all()?.backward()?;
    let missing = || Error::new(ErrorKind::Numeric, "an input has no gradient");
    let by = variables.iter().map(|variable| gradients.get(variable).cloned().ok_or_else(missing));
    std::iter::once(Ok(out.detach())).chain(by).collect()
}

/// The composition has the gradient that its values have, and is the same function as the kernel.
fn holds(inputs: &[Tensor], operation: Operation<'_>) -> Result<()> {
    by_composition(|| check(inputs, operation))?;
    let (kernel, composed) = (outcome(inputs, operation)?, by_composition(|| outcome(inputs, operation))?);
    for (kernel, composed) in kernel.iter().zip(&composed) {
        let off = distance(kernel, composed)?;
        if off > 1e-10 {
            return Err(Error::new(ErrorKind::Numeric, format!("kernel and composition differ by {off}")));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn convolutions_agree(
        kernel in prop::array::uniform2(1..4usize),
        stride in 1..4usize,
        padding in prop::array::uniform2(0..5usize),
        [groups, inputs, outputs] in prop::array::uniform3(1..3usize),
        size in prop::array::uniform2(4..8usize),
        batch in 1..3usize,
    ) {
        let geometry = ConvGeometry { kernel, stride: [stride; 2], padding, groups };
        let outcome = || {
            let images = normal("images", &[batch, groups * inputs, size[0], size[1]])?;
            let weight = normal("weight", &[groups * outputs, inputs, kernel[0], kernel[1]])?;
            let bias = normal("bias", &[groups * outputs])?;
            holds(&[images, weight, bias], &|x| conv2d(&x[0], &x[1], Some(&x[2]), &geometry))
        };
        check_passed(outcome())?;
    }

    #[test]
    fn poolings_agree(
        kernel in prop::array::uniform2(1..4usize),
        stride in prop::array::uniform2(1..4usize),
        padded in prop::array::uniform2(any::<bool>()),
        size in prop::array::uniform2(3..7usize),
    ) {
        let padding = [0, 1].map(|axis| if padded[axis] { kernel[axis] / 2 } else { 0 });
        let geometry = PoolGeometry { kernel, stride, padding };
        let outcome = || {
            let x = distinct("x", &[2, 2, size[0], size[1]])?;
            holds(std::slice::from_ref(&x), &|x| max_pool2d(&x[0], &geometry))?;
            holds(&[x], &|x| avg_pool2d(&x[0], &geometry))
        };
        check_passed(outcome())?;
    }
}

#[test]
fn all_other_operations_agree() -> Result<()> {
    let (x, rows) = (off_zero("x", &[2, 3, 4, 6])?, normal("rows", &[4, 5])?);
    let (scale, shift) = (normal("scale", &[3])?, normal("shift", &[3])?);
    let (mean, variance) = (normal("mean", &[3])?, (normal("variance", &[3])?.abs()? + 0.5)?);
    let one = std::slice::from_ref(&x);
    let norm = [x.clone(), scale, shift];
    holds(&norm, &|x| Ok(batch_norm_train(&x[0], &x[1], &x[2], 1e-5)?.0))?;
    holds(&norm, &|x| batch_norm_eval(&x[0], &x[1], &x[2], &mean, &variance, 1e-5))?;
    holds(one, &|x| normalize(&x[0], &[0.1, 0.2, 0.3], &[0.5, 1.0, 2.0]))?;
    for activation in [relu, relu6, silu, gelu] {
        holds(&[(&x * 3.0)?], &|x| activation(&x[0]))?;
    }
    holds(&[rows, normal("weight", &[3, 5])?, normal("bias", &[3])?], &|x| linear(&x[0], &x[1], Some(&x[2])))?;
    holds(&[normal("tokens", &[2, 2, 3, 5])?, normal("weight", &[4, 5])?], &|x| linear(&x[0], &x[1], None))?;
    holds(one, &|x| resize(&x[0], [5, 3]))?;
    holds(one, &|x| unfold(&x[0], [2, 3]))?;
    holds(one, &|x| pad_shortcut(&x[0], 2, 5))?;
    holds(one, &|x| global_avg_pool(&x[0]))?;
    let tokens = normal("tokens", &[2, 6, 4, 3])?;
    holds(std::slice::from_ref(&tokens), &|x| fold(&x[0], [2, 3], [4, 6]))?;
    holds(&[tokens.clone(), normal("s", &[3])?, normal("t", &[3])?], &|x| layer_norm(&x[0], &x[1], &x[2], 1e-5))?;
    let heads = [normal("q", &[2, 2, 3, 4])?, normal("k", &[2, 2, 3, 4])?, normal("v", &[2, 2, 3, 6])?];
    holds(&heads, &|x| attention([&x[0], &x[1], &x[2]], 2, 0.5))
}

/// A network that the engine knows: a residual block, and batch norm behind convolutions.
fn network(dtype: DType) -> Result<Network> {
    let mut net = Builder::new("test", ImageShape { channels: 3, height: 8, width: 8 }, 5);
    net.normalize("normalize", &[0.4; 3], &[0.3; 3]).conv("stem", 8, ConvGeometry::same3(), false);
    net.batch_norm("stem.norm").relu("stem.relu");
    net.conv("a", 8, ConvGeometry::same3(), false).batch_norm("a.norm").relu("a.relu");
    net.conv("b", 8, ConvGeometry::same3(), false).batch_norm("b.norm").add("sum", "stem.relu").relu("sum.relu");
    net.conv("down", 12, ConvGeometry::same3().stride(2), true).relu("down.relu");
    net.max_pool("pool", PoolGeometry::square(2)).global_avg_pool("mean").linear("classes", 5);
    let network = Network::initialise(net.finish()?, &Streams::new(3), DType::F64, &candle_core::Device::Cpu)?;
    network.forward(&images()?, Mode::Train)?;
    network.to_dtype(dtype)
}

fn images() -> Result<Tensor> {
    Streams::new(4).stream().uniform(&[6, 3, 8, 8], 0.0, 1.0, DType::F64, &candle_core::Device::Cpu)
}

/// Logits and gradients of training, of an attack, and of a measurement of one module's weight; all in f64.
fn everything(dtype: DType) -> Result<Vec<Tensor>> {
    let (network, images) = (network(dtype)?, images()?.to_dtype(dtype)?);
    let labels = Tensor::new(&[0u32, 1, 2, 3, 4, 0], &candle_core::Device::Cpu)?;
    let mut found = Vec::new();
    for mode in [Mode::Train, Mode::Evaluate] {
        let logits = network.forward(&images, mode)?;
        let gradients = loss::cross_entropy(&logits, &labels, 0.1)?.backward()?;
        found.push(logits.detach());
        found.extend(network.parameters().values().filter_map(|variable| gradients.get(variable).cloned()));
    }
    found.extend(network.statistics().into_values());
    let frozen = network.freeze()?;
    let at = frozen.input_gradient(&images, &|logits| loss::cross_entropy_per_image(logits, &labels))?;
    found.extend([at.gradient, at.logits, at.loss]);
    let weight = Var::from_tensor(&network.parameter("b.weight")?.as_detached_tensor())?;
    // With what comes before the module kept, and computed anew.
    for memory in [1 << 20, 0] {
        let logits = frozen.suffix("b", &images, memory)?.logits(&weight, &[0, 2, 3, 5])?;
        let gradients = logits.sqr()?.sum_all()?.backward()?;
        found.push(logits.detach());
        found.extend(gradients.get(&weight).cloned());
    }
    found.into_iter().map(|tensor| Ok(tensor.to_dtype(DType::F64)?)).collect()
}

#[test]
fn whole_networks_agree_with_the_engine() -> Result<()> {
    let exact = everything(DType::F64)?;
    assert_eq!(exact.len(), 2 * (1 + 13) + 6 + 3 + 2 * 2, "a gradient is missing");
    let engine = everything(DType::F32)?;
    let [wide, narrow] = [DType::F64, DType::F32].map(|dtype| by_composition(|| everything(dtype)));
    for (others, tolerance) in [(engine, 1e-4), (wide?, 1e-9), (narrow?, 1e-4)] {
        assert_eq!(exact.len(), others.len());
        for (at, (exact, other)) in exact.iter().zip(&others).enumerate() {
            let largest = distance(exact, &exact.zeros_like()?)?.max(1.0);
            let off = distance(exact, other)? / largest;
            assert!(off < tolerance, "result {at} is off by {off:e}, where {tolerance:e} is allowed");
        }
    }
    Ok(())
}

#[test]
fn what_is_not_tracked_gets_no_gradient() -> Result<()> {
    let (rows, weight) = (normal("rows", &[4, 5])?, normal("weight", &[3, 5])?);
    let (images, filters) = (normal("images", &[2, 3, 6, 6])?, normal("filters", &[4, 3, 3, 3])?);
    by_composition(|| {
        for (x, w, operation) in [
            (rows, weight, (|x, w| linear(x, w, None)) as fn(&Tensor, &Tensor) -> Result<Tensor>),
            (images, filters, |x, w| conv2d(x, w, None, &ConvGeometry::same3())),
        ] {
            let (x_variable, w_variable) = (Var::from_tensor(&x)?, Var::from_tensor(&w)?);
            let attack = operation(&x_variable, &w)?.sum_all()?.backward()?;
            assert!(attack.get(&x_variable).is_some() && attack.get(&w).is_none());
            let first_layer = operation(&x, &w_variable)?.sum_all()?.backward()?;
            assert!(first_layer.get(&w_variable).is_some() && first_layer.get(&x).is_none());
        }
        Ok(())
    })
}

#[test]
fn attacks_by_composition_compute_no_gradient_of_a_convolutions_weight() -> Result<()> {
    let (network, images) = (network(DType::F64)?, images()?);
    by_composition(|| {
        let frozen = network.freeze()?;
        assert!(!frozen.has_engine());
        let before = WEIGHT_GRADIENTS.get();
        frozen.input_gradient(&images, &|logits| Ok(logits.sum(1)?))?;
        assert_eq!(WEIGHT_GRADIENTS.get(), before);
        network.forward(&images, Mode::Train)?.sum_all()?.backward()?;
        assert_eq!(WEIGHT_GRADIENTS.get() - before, 4);
        Ok(())
    })
}
