use candle_core::{Device, Tensor, Var};
use proptest::prelude::*;

use super::{distance, distinct, values};
use crate::Result;
use crate::numeric::gradient_check::{check, check_passed, normal};
use crate::numeric::{PoolGeometry, avg_pool2d, global_avg_pool, max_pool2d, pad_shortcut};

prop_compose! {
    /// Any pooling that fits: overlapping or not, padded or not, on odd sizes.
    fn any_pool()(
        kernel in [1..=4_usize, 1..=4_usize],
        stride in [1..=3_usize, 1..=3_usize],
        padding in [0..=2_usize, 0..=2_usize],
        extra in [0..=5_usize, 0..=5_usize],
        maps in [1..=2_usize, 1..=3_usize],
    ) -> (PoolGeometry, [usize; 4]) {
        let padding = [0, 1].map(|axis| padding[axis].min(kernel[axis] / 2));
        let side = |axis: usize| (kernel[axis] - 2 * padding[axis]).max(1) + extra[axis];
        (PoolGeometry { kernel, stride, padding }, [maps[0], maps[1], side(0), side(1)])
    }
}

/// The windows' values with `None` for padding, by definition.
fn windows(x: &Tensor, pool: &PoolGeometry) -> Result<Vec<Vec<Option<f64>>>> {
    let (batch, channels, height, width) = x.dims4()?;
    let (out_height, out_width) = pool.output_size(height, width)?;
    let all = values(x)?;
    let mut windows = Vec::new();
    for map in 0..batch * channels {
        for (row, column) in (0..out_height).flat_map(|row| (0..out_width).map(move |column| (row, column))) {
            let inside =
                |at: usize, axis: usize, size: usize| at.checked_sub(pool.padding[axis]).filter(|at| *at < size);
            let mut window = Vec::new();
            for tap in 0..pool.kernel[0] * pool.kernel[1] {
                let y = inside(row * pool.stride[0] + tap / pool.kernel[1], 0, height);
                let x = inside(column * pool.stride[1] + tap % pool.kernel[1], 1, width);
                window.push(y.zip(x).map(|(y, x)| all[(map * height + y) * width + x]));
            }
            windows.push(window);
        }
    }
    Ok(windows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn poolings_agree_with_the_definition((pool, shape) in any_pool()) {
        // Below zero, so that padding taken for zeros would win.
        let x = distinct("x", &shape)?.affine(1.0, -100.0)?;
        let windows = windows(&x, &pool)?;
        let largest = |window: &Vec<Option<f64>>| window.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        prop_assert_eq!(values(&max_pool2d(&x, &pool)?)?, windows.iter().map(largest).collect::<Vec<_>>());
        for (found, window) in values(&avg_pool2d(&x, &pool)?)?.iter().zip(&windows) {
            prop_assert!((found - window.iter().flatten().sum::<f64>() / window.len() as f64).abs() < 1e-10);
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences((pool, shape) in any_pool()) {
        check_passed(distinct("x", &shape).and_then(|x| check(&[x], |x| max_pool2d(&x[0], &pool))))?;
        check_passed(normal("x", &shape).and_then(|x| check(&[x], |x| avg_pool2d(&x[0], &pool))))?;
    }

    #[test]
    fn the_composed_poolings_of_other_devices_are_the_same_functions((pool, shape) in any_pool()) {
        use crate::numeric::pool::{composed_avg_pool2d, composed_max_pool2d};
        let x = distinct("x", &shape)?;
        prop_assert!(distance(&composed_max_pool2d(&x, &pool)?, &max_pool2d(&x, &pool)?)? == 0.0);
        prop_assert!(distance(&composed_avg_pool2d(&x, &pool)?, &avg_pool2d(&x, &pool)?)? < 1e-12);
        check_passed(check(std::slice::from_ref(&x), |x| composed_max_pool2d(&x[0], &pool)))?;
        check_passed(check(&[x], |x| composed_avg_pool2d(&x[0], &pool)))?;
    }

    #[test]
    fn the_shortcut_takes_every_nth_pixel(
        stride in 1..=3_usize,
        size in [1..=5_usize, 1..=5_usize],
        added in 0..=3_usize,
    ) {
        let x = normal("x", &[2, 3, size[0], size[1]])?;
        let y = pad_shortcut(&x, stride, 3 + added)?;
        let [height, width] = size.map(|size| size.div_ceil(stride));
        prop_assert_eq!(y.dims(), &[2, 3 + added, height, width]);
        let (x_values, y_values) = (values(&x)?, values(&y)?);
        for (at, y) in y_values.iter().enumerate() {
            let (row, column, channel) = (at / width % height, at % width, at / width / height % (3 + added));
            let image = at / width / height / (3 + added);
            let source = ((image * 3 + channel) * size[0] + row * stride) * size[1] + column * stride;
            prop_assert_eq!(*y, if channel < 3 { x_values[source] } else { 0.0 });
        }
        check_passed(check(&[x], |x| pad_shortcut(&x[0], stride, 3 + added)))?;
    }
}

#[test]
fn the_first_of_equal_values_gets_the_gradient() -> Result<()> {
    let x =
        Var::from_tensor(&Tensor::new(&[[[[1.0_f64, 2.0, 2.0], [2.0, 0.0, 2.0], [0.0, 0.0, 0.0]]]], &Device::Cpu)?)?;
    let pool = PoolGeometry { kernel: [2, 2], stride: [1, 1], padding: [0, 0] };
    let gradients = max_pool2d(&x, &pool)?.sum_all()?.backward()?;
    let gradient = gradients.get(&x).map(values).transpose()?;
    assert_eq!(gradient, Some(vec![0.0, 2.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]));
    Ok(())
}

#[test]
fn what_is_not_a_number_wins() -> Result<()> {
    let x = Tensor::new(&[[[[1.0_f32, f32::NAN], [3.0, f32::INFINITY]]]], &Device::Cpu)?;
    assert!(values(&max_pool2d(&x, &PoolGeometry::square(2))?)?[0].is_nan());
    assert!(values(&avg_pool2d(&x, &PoolGeometry::square(2))?)?[0].is_nan());
    let lowest = Tensor::full(f32::NEG_INFINITY, (1, 1, 2, 2), &Device::Cpu)?;
    assert_eq!(values(&max_pool2d(&lowest, &PoolGeometry::square(2))?)?, [f64::NEG_INFINITY]);
    Ok(())
}

#[test]
fn the_global_mean_is_the_mean_of_each_map() -> Result<()> {
    let x = normal("x", &[2, 3, 4, 5])?;
    let found = values(&global_avg_pool(&x)?)?;
    for (found, map) in found.iter().zip(values(&x)?.chunks(20)) {
        assert!((found - map.iter().sum::<f64>() / 20.0).abs() < 1e-12);
    }
    check(&[x], |x| global_avg_pool(&x[0]))
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let x = normal("x", &[1, 3, 4, 4])?;
    assert!(max_pool2d(&x, &PoolGeometry::square(5)).is_err());
    assert!(avg_pool2d(&x, &PoolGeometry { kernel: [2, 2], stride: [2, 2], padding: [2, 0] }).is_err());
    assert!(pad_shortcut(&x, 2, 2).is_err(), "fewer channels than there are");
    assert!(pad_shortcut(&x, 0, 3).is_err(), "stride zero");
    Ok(())
}
