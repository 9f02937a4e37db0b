//! Operations on tokens, and what leads from maps to them and back.

use candle_core::{D, DType, Device, Tensor, Var};
use proptest::prelude::*;

use super::{distance, values};
use crate::Result;
use crate::numeric::gradient_check::{check, check_passed, normal};
use crate::numeric::{attention, fold, layer_norm, linear, resize, unfold};

/// Attention written out for one head after the other.
fn attention_by_definition(all: [&Tensor; 3], heads: usize, scale: f64) -> Result<Tensor> {
    let mut outputs = Vec::new();
    for head in 0..heads {
        let part = |x: &Tensor| -> Result<Tensor> {
            let width = x.dim(3)? / heads;
            Ok(x.narrow(3, head * width, width)?.contiguous()?)
        };
        let (queries, keys, values) = (part(all[0])?, part(all[1])?, part(all[2])?);
        let shares = (queries.matmul(&keys.t()?.contiguous()?)? * scale)?.exp()?;
        let shares = shares.broadcast_div(&shares.sum_keepdim(D::Minus1)?)?;
        outputs.push(shares.matmul(&values)?);
    }
    Ok(Tensor::cat(&outputs, 3)?)
}

fn three(dims: [usize; 3], heads: usize, widths: [usize; 2]) -> Result<[Tensor; 3]> {
    let of = |name: &str, width: usize| normal(name, &[dims[0], dims[1], dims[2], heads * width]);
    Ok([of("queries", widths[0])?, of("keys", widths[0])?, of("values", widths[1])?])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn attention_is_its_definition(
        dims in [1..=3_usize, 1..=4, 1..=9],
        heads in 1..=4_usize,
        widths in [1..=5_usize, 1..=5],
        scale in 0.1..2.0_f64,
    ) {
        let [queries, keys, values] = three(dims, heads, widths)?;
        let all = [&queries, &keys, &values];
        prop_assert!(distance(&attention(all, heads, scale)?, &attention_by_definition(all, heads, scale)?)? < 1e-12);
    }

    #[test]
    fn attention_gradients_agree_with_finite_differences(
        dims in [1..=2_usize, 1..=2, 1..=4],
        heads in 1..=3_usize,
        widths in [1..=3_usize, 1..=3],
    ) {
        let all = three(dims, heads, widths)?;
        check_passed(check(&all, |x| attention([&x[0], &x[1], &x[2]], heads, 0.7)))?;
    }

    #[test]
    fn layer_norms_have_mean_and_variance_and_gradients(rows in 1..=5_usize, channels in 2..=9_usize) {
        let (x, ones) = (normal("x", &[2, rows, channels])?, Tensor::ones(channels, DType::F64, &Device::Cpu)?);
        let y = layer_norm(&x, &ones, &ones.zeros_like()?, 0.0)?;
        prop_assert!(values(&y.mean(D::Minus1)?)?.iter().all(|mean| mean.abs() < 1e-12));
        prop_assert!(values(&y.sqr()?.mean(D::Minus1)?)?.iter().all(|variance| (variance - 1.0).abs() < 1e-9));
        let all = [x, normal("scale", &[channels])?, normal("shift", &[channels])?];
        check_passed(check(&all, |x| layer_norm(&x[0], &x[1], &x[2], 0.1)))?;
    }

    #[test]
    fn linear_layers_on_tokens_are_those_on_their_rows(tokens in 1..=4_usize, inputs in 1..=5_usize) {
        let all = [normal("x", &[2, 3, tokens, inputs])?, normal("w", &[4, inputs])?, normal("b", &[4])?];
        let rows = linear(&all[0].reshape((6 * tokens, inputs))?, &all[1], Some(&all[2]))?;
        let found = linear(&all[0], &all[1], Some(&all[2]))?;
        prop_assert_eq!(distance(&found, &rows.reshape((2, 3, tokens, 4))?)?, 0.0);
        check_passed(check(&all, |x| linear(&x[0], &x[1], Some(&x[2]))))?;
    }

    #[test]
    fn folding_undoes_unfolding(patch in [1..=3_usize, 1..=3], patches in [1..=3_usize, 1..=3], channels in 1..=3_usize) {
        let size = [0, 1].map(|axis| patch[axis] * patches[axis]);
        let x = normal("x", &[2, channels, size[0], size[1]])?;
        let tokens = unfold(&x, patch)?;
        prop_assert_eq!(tokens.dims(), [2, patch[0] * patch[1], patches[0] * patches[1], channels]);
        prop_assert_eq!(distance(&fold(&tokens, patch, size)?, &x)?, 0.0);
        check_passed(check(&[x], |x| unfold(&x[0], patch)))?;
        check_passed(check(&[tokens], |x| fold(&x[0], patch, size)))?;
    }

    #[test]
    fn resized_constants_stay_and_gradients_agree(from in [1..=5_usize, 1..=5], to in [1..=6_usize, 1..=6]) {
        let x = normal("x", &[1, 2, from[0], from[1]])?;
        let ones = resize(&x.ones_like()?, to)?;
        prop_assert!(distance(&ones, &ones.ones_like()?)? < 1e-12);
        check_passed(check(&[x], |x| resize(&x[0], to)))?;
    }
}

#[test]
fn pixels_at_one_place_of_all_patches_are_one_sequence() -> Result<()> {
    let x = Tensor::arange(0.0_f64, 24.0, &Device::Cpu)?.reshape((1, 1, 4, 6))?;
    let tokens = unfold(&x, [2, 3])?;
    // The first pixels of the four patches, then their right neighbours, and so on.
    assert_eq!(values(&tokens)?[..8], [0.0, 3.0, 12.0, 15.0, 1.0, 4.0, 13.0, 16.0]);
    Ok(())
}

#[test]
fn resizing_is_pytorchs() -> Result<()> {
    // torch.nn.functional.interpolate(torch.arange(3.).view(1, 1, 1, 3), (1, 4), mode="bilinear"), and of 4 to 3.
    let row = |count: f64| -> Result<Tensor> { Ok(Tensor::arange(0.0, count, &Device::Cpu)?.reshape((1, 1, 1, ()))?) };
    assert_eq!(values(&resize(&row(3.0)?, [1, 4])?)?, [0.0, 0.625, 1.375, 2.0]);
    let found = values(&resize(&row(4.0)?, [1, 3])?)?;
    let near = found.iter().zip([1.0 / 6.0, 1.5, 17.0 / 6.0]).all(|(a, b)| (a - b).abs() < 1e-12);
    assert!(near, "{found:?}");
    Ok(())
}

#[test]
fn layer_norm_gradients_agree_across_pieces() -> Result<()> {
    let (rows, channels) = (40, 1000);
    let all = [normal("x", &[rows, channels])?, normal("scale", &[channels])?, normal("shift", &[channels])?];
    let by_shift = Var::from_tensor(&all[2])?;
    let gradients = layer_norm(&all[0], &all[1], &by_shift, 1e-5)?.sum_all()?.backward()?;
    let expected = vec![rows as f64; channels];
    assert_eq!(gradients.get(&by_shift).map(values).transpose()?, Some(expected));
    // Nobody asked for the others.
    assert!(gradients.get(&all[0]).is_none() && gradients.get(&all[1]).is_none());
    Ok(())
}

#[test]
fn attention_computes_the_gradients_that_are_asked_for() -> Result<()> {
    let all = three([2, 2, 3], 2, [2, 3])?;
    let of = |which: usize, x: &Tensor| -> Result<Tensor> {
        let each: Vec<&Tensor> = (0..3).map(|at| if at == which { x } else { &all[at] }).collect();
        attention([each[0], each[1], each[2]], 2, 0.5)
    };
    for which in 0..3 {
        check(&all[which..=which], |x| of(which, &x[0]))?;
        let x = Var::from_tensor(&all[which])?;
        let gradients = of(which, &x)?.sum_all()?.backward()?;
        let asked = |at: usize| gradients.get(&all[at]).is_some();
        assert!(gradients.get(&x).is_some() && !(0..3).any(asked), "{which}");
    }
    Ok(())
}

#[test]
fn attention_of_large_products_does_not_overflow() -> Result<()> {
    let large = Tensor::new(&[[[[300.0_f32], [-300.0]]]], &Device::Cpu)?;
    let out = values(&attention([&large, &large, &large], 1, 1.0)?)?;
    assert_eq!(out, [300.0, -300.0]);
    Ok(())
}

#[test]
fn sizes_that_do_not_fit_are_refused() -> Result<()> {
    let [queries, keys, values] = three([1, 2, 3], 2, [2, 3])?;
    assert!(attention([&queries, &keys, &values], 4, 1.0).is_err());
    assert!(attention([&queries, &values, &values], 2, 1.0).is_err());
    assert!(attention([&queries, &keys, &values.narrow(2, 0, 2)?], 2, 1.0).is_err());
    assert!(layer_norm(&queries, &normal("scale", &[3])?, &normal("shift", &[4])?, 1e-5).is_err());
    let map = normal("map", &[1, 2, 4, 6])?;
    assert!(unfold(&map, [3, 2]).is_err() && unfold(&map, [0, 2]).is_err());
    assert!(fold(&unfold(&map, [2, 2])?, [2, 2], [4, 4]).is_err());
    assert!(resize(&map, [0, 2]).is_err());
    Ok(())
}
