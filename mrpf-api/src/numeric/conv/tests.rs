//! The convolution against a reference by definition, against finite differences, and against Candle's.

use candle_core::{DType, Device, Tensor, Var};
use proptest::prelude::*;
use std::cell::Cell;

use super::{conv2d, elsewhere};
use crate::Result;
use crate::numeric::ConvGeometry;
use crate::numeric::gradient_check::{check, check_passed, normal};

thread_local! {
    /// How often this thread has begun a gradient by a convolution's weight.
    pub(crate) static WEIGHT_GRADIENTS: Cell<usize> = const { Cell::new(0) };
}

pub(crate) fn count_weight_gradient() {
    WEIGHT_GRADIENTS.set(WEIGHT_GRADIENTS.get() + 1);
}

/// A convolution to try.
#[derive(Debug, Clone)]
struct Case {
    images: [usize; 4],
    outputs: usize,
    geometry: ConvGeometry,
    bias: bool,
}

impl Case {
    fn weight(&self) -> [usize; 4] {
        let ConvGeometry { kernel, groups, .. } = self.geometry;
        [self.outputs, self.images[1] / groups, kernel[0], kernel[1]]
    }

    /// Images, weight and bias (whether used or not), normal values in f64.
    fn tensors(&self) -> Result<[Tensor; 3]> {
        Ok([normal("images", &self.images)?, normal("weight", &self.weight())?, normal("bias", &[self.outputs])?])
    }
}

prop_compose! {
    fn any_case()(
        batch in 1..=3_usize,
        groups in 1..=3_usize,
        per_group in [1..=3_usize, 1..=6_usize],
        size in [1..=7_usize, 1..=7_usize],
        kernel in [1..=3_usize, 1..=3_usize],
        stride in [1..=3_usize, 1..=3_usize],
        padding in [0..=2_usize, 0..=2_usize],
        bias: bool,
    ) -> Case {
        let size = [0, 1].map(|axis| size[axis].max(kernel[axis].saturating_sub(2 * padding[axis])));
        let images = [batch, groups * per_group[0], size[0], size[1]];
        let geometry = ConvGeometry { kernel, stride, padding, groups };
        Case { images, outputs: groups * per_group[1], geometry, bias }
    }
}

/// Sizes at which maps are cut, images share a tile, blocks have remainders, and channels are divided.
fn large_cases() -> Vec<Case> {
    let same = ConvGeometry::same3();
    let case = |images, outputs, geometry| Case { images, outputs, geometry, bias: true };
    vec![
        case([1, 3, 45, 37], 5, same),
        case([1, 40, 40, 40], 130, same),
        case([5, 6, 24, 24], 7, same),
        case([9, 34, 7, 7], 70, same.stride(2)),
        case([17, 8, 9, 5], 12, same.groups(2)),
        case([40, 33, 6, 6], 10, ConvGeometry::square(1)),
        case([2, 12, 30, 30], 9, ConvGeometry::square(1)),
        case([3, 10, 31, 29], 10, same.groups(10)),
        case([3, 10, 31, 29], 20, same.groups(10).stride(2)),
        case([2, 1, 33, 33], 6, ConvGeometry::square(7).stride(2).padding(3)),
    ]
}

/// The definition, in f64: seven loops.
fn reference(case: &Case, images: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let ([batch, channels, height, width], [outputs, per_group, rows, columns]) = (case.images, case.weight());
    let ConvGeometry { stride, padding, groups, .. } = case.geometry;
    let side = |size: usize, axis: usize| (size + 2 * padding[axis] - case.geometry.kernel[axis]) / stride[axis] + 1;
    let (out_height, out_width) = (side(height, 0), side(width, 1));
    let mut out = Vec::new();
    for n in 0..batch {
        for o in 0..outputs {
            for y in 0..out_height {
                for x in 0..out_width {
                    let mut sum = if case.bias { bias[o] } else { 0.0 };
                    for i in 0..per_group {
                        for row in 0..rows {
                            for column in 0..columns {
                                let at = (y * stride[0] + row, x * stride[1] + column);
                                let inside = |at: usize, axis: usize, size: usize| {
                                    at.checked_sub(padding[axis]).filter(|at| *at < size)
                                };
                                let (Some(at_y), Some(at_x)) = (inside(at.0, 0, height), inside(at.1, 1, width)) else {
                                    continue;
                                };
                                let channel = o / (outputs / groups) * per_group + i;
                                sum += images[((n * channels + channel) * height + at_y) * width + at_x]
                                    * weight[((o * per_group + i) * rows + row) * columns + column];
                            }
                        }
                    }
                    out.push(sum);
                }
            }
        }
    }
    out
}

/// Checks f32 and f64 against the definition. Winograd's filtering loses about 3e-6 of the largest output in f32.
fn check_forward(case: &Case) -> Result<()> {
    let tensors = case.tensors()?;
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
        let converted = tensors.iter().map(|tensor| tensor.to_dtype(dtype)).collect::<Result<Vec<_>, _>>()?;
        let values = |at: usize| converted[at].to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        let expected = reference(case, &values(0)?, &values(1)?, &values(2)?);
        let tolerance = tolerance * expected.iter().fold(1.0, |largest, value| value.abs().max(largest));
        let bias = case.bias.then_some(&converted[2]);
        let found = conv2d(&converted[0], &converted[1], bias, &case.geometry)?;
        assert_eq!(found.dtype(), dtype);
        let found = found.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        assert_eq!(found.len(), expected.len());
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() <= tolerance, "{case:?} {dtype:?} at {at}: {found}, expected {expected}");
        }
    }
    Ok(())
}

/// Output and all gradients of a fixed loss.
fn with_gradients(
    tensors: &[Tensor; 3],
    convolution: impl Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let variables = tensors.iter().map(Var::from_tensor).collect::<Result<Vec<_>, _>>()?;
    let out = convolution(&variables[0], &variables[1], &variables[2])?;
    let weights = normal("loss", out.dims())?.to_dtype(out.dtype())?;
    let gradients = (&out * weights)?.sum_all()?.backward()?;
    let mut all = vec![out.detach()];
    all.extend(variables.iter().filter_map(|variable| gradients.get(variable).cloned()));
    Ok(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_convolution_agrees_with_the_definition(case in any_case()) {
        check_forward(&case)?;
    }

    #[test]
    fn gradients_agree_with_finite_differences(case in any_case()) {
        let tensors = case.tensors()?;
        let used = if case.bias { 3 } else { 2 };
        check_passed(check(&tensors[..used], |x| conv2d(&x[0], &x[1], x.get(2), &case.geometry)))?;
    }
}

#[test]
fn large_convolutions_agree_with_the_definition() -> Result<()> {
    large_cases().iter().try_for_each(check_forward)
}

#[test]
fn large_gradients_agree_with_those_of_other_devices() -> Result<()> {
    for case in large_cases() {
        let tensors = case.tensors()?;
        let own = with_gradients(&tensors, |x, w, b| conv2d(x, w, Some(b), &case.geometry))?;
        let candle = with_gradients(&tensors, |x, w, b| elsewhere::conv2d(x, w, Some(b), &case.geometry))?;
        assert_eq!((own.len(), candle.len()), (4, 4));
        for (own, candle) in own.iter().zip(&candle) {
            let difference = (own - candle)?.abs()?.max_all()?.to_scalar::<f64>()?;
            assert!(difference < 1e-10, "{case:?}: {difference}");
        }
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result<()> {
    for case in large_cases() {
        let tensors = case.tensors()?;
        let tensors =
            [tensors[0].to_dtype(DType::F32)?, tensors[1].to_dtype(DType::F32)?, tensors[2].to_dtype(DType::F32)?];
        let bits = |threads: usize| -> Result<Vec<Vec<u32>>> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.map_err(|error| crate::Error::new(crate::ErrorKind::Io, error.to_string()))?;
            let all = pool.install(|| with_gradients(&tensors, |x, w, b| conv2d(x, w, Some(b), &case.geometry)))?;
            let bits = |tensor: &Tensor| -> Result<Vec<u32>> {
                Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
            };
            all.iter().map(bits).collect()
        };
        let one = bits(1)?;
        assert!(one == bits(2)? && one == bits(3)?, "{case:?}");
    }
    Ok(())
}

#[test]
fn strided_inputs_are_read_as_they_are_seen() -> Result<()> {
    let (images, weight) = (normal("images", &[2, 5, 6, 3])?, normal("weight", &[4, 3, 3, 3])?);
    let geometry = ConvGeometry::same3();
    let copied = images.transpose(1, 3)?.contiguous()?;
    let expected = conv2d(&copied, &weight, None, &geometry)?;
    let found = conv2d(&images.transpose(1, 3)?, &weight, None, &geometry)?;
    assert_eq!((found - expected)?.abs()?.max_all()?.to_scalar::<f64>()?, 0.0);
    check(&[images, weight], |x| conv2d(&x[0].transpose(1, 3)?, &x[1], None, &geometry))
}

#[test]
fn an_untracked_weight_costs_no_gradient() -> Result<()> {
    let case = Case { images: [2, 4, 6, 6], outputs: 8, geometry: ConvGeometry::same3(), bias: true };
    let [images, weight, bias] = case.tensors()?;
    let gradients = |images: &Tensor, weight: &Tensor| -> Result<_> {
        let before = WEIGHT_GRADIENTS.get();
        let gradients = conv2d(images, weight, Some(&bias), &case.geometry)?.sum_all()?.backward()?;
        let has = |tensor| gradients.get(tensor).is_some();
        Ok((has(images), has(weight), has(&bias), WEIGHT_GRADIENTS.get() - before))
    };
    let (variable_images, variable_weight) = (Var::from_tensor(&images)?, Var::from_tensor(&weight)?);
    assert_eq!(gradients(&variable_images, &weight)?, (true, false, false, 0));
    assert_eq!(gradients(&variable_images, &variable_weight.as_detached_tensor())?, (true, false, false, 0));
    assert_eq!(gradients(&images, &variable_weight)?, (false, true, false, 1));
    Ok(())
}

#[test]
fn what_is_not_a_number_reaches_the_output() -> Result<()> {
    for groups in [1, 4] {
        let weight = Tensor::ones((4, 4 / groups, 3, 3), DType::F32, &Device::Cpu)?;
        for bad in [f32::NAN, f32::INFINITY] {
            let images = Tensor::full(bad, (1, 4, 5, 5), &Device::Cpu)?;
            let out = conv2d(&images, &weight, None, &ConvGeometry::same3().groups(groups))?;
            let out = out.flatten_all()?.to_vec1::<f32>()?;
            assert!(out.iter().all(|out| out.to_bits() == bad.to_bits() || (out.is_nan() && bad.is_nan())));
        }
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let images = normal("images", &[1, 4, 5, 5])?;
    let refused = |weight: &[usize], bias: &[usize], geometry: ConvGeometry| -> Result<bool> {
        let (weight, bias) = (normal("weight", weight)?, normal("bias", bias)?);
        Ok(conv2d(&images, &weight, Some(&bias), &geometry).is_err())
    };
    let geometry = ConvGeometry::square(3);
    assert!(!refused(&[2, 4, 3, 3], &[2], geometry)?);
    assert!(refused(&[2, 4, 3, 3], &[3], geometry)?, "bias of another size");
    assert!(refused(&[2, 3, 3, 3], &[2], geometry)?, "filters of another depth");
    assert!(refused(&[2, 4, 3, 2], &[2], geometry)?, "a kernel of another size");
    assert!(refused(&[2, 4, 3], &[2], geometry)?, "a weight with three axes");
    assert!(refused(&[2, 4, 3, 3], &[2], geometry.groups(3))?, "groups that do not divide");
    assert!(refused(&[2, 4, 3, 3], &[2], geometry.stride(0))?, "stride zero");
    assert!(refused(&[2, 4, 7, 7], &[2], ConvGeometry::square(7))?, "a kernel larger than the image");
    Ok(())
}
