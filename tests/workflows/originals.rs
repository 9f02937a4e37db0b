//! Every architecture beside its original's own code in PyTorch, as `tests/fixtures/architectures.py` recorded it.

use mrpf_api::coupling::cost;
use mrpf_api::prelude::*;
use mrpf_test_support::seeded::{network, outputs, uniform};
use mrpf_test_support::{Fixture, largest_difference, originals};

#[test]
fn parameters_and_multiply_accumulates_are_counted_as_pytorch_counts_them() -> Result<()> {
    for row in originals()? {
        let found = cost(&row.declaration()?)?;
        let about = format!("{} {:?} at {}", row.architecture, row.settings, row.size);
        assert_eq!((found.params, found.macs), (row.params, row.macs), "{about}");
    }
    Ok(())
}

#[test]
fn logits_and_gradients_of_the_images_are_pytorchs() -> Result<()> {
    let recorded = Fixture::load("architectures")?;
    let mut seen = Vec::new();
    for row in originals()? {
        let Some(name) = &row.recorded else { continue };
        let double = network(row.declaration()?)?;
        let shape = [1, 3, row.size, row.size];
        let images = Tensor::from_vec(uniform("images", &shape), &shape, &Device::Cpu)?;
        let expected = recorded.tensor(&format!("{name}.gradient"))?.to_vec1::<f64>()?;
        let length = expected.iter().map(|value| value * value).sum::<f64>().sqrt();
        let single = double.to_dtype(DType::F32)?;
        // In f32 a few ReLUs whose inputs are nearly zero open or close, which a gradient notices: that of the narrow MobileNet moves by 3 to
        // 16 % in f64 when its image is made brighter or darker by a millionth.
        for (network, near, gradient_near) in [(&double, 1e-9, 1e-9), (&single, 1e-4, 3e-2)] {
            let (logits, gradient) = outputs(network, &images)?;
            let scale = logits.abs()?.max_all()?.to_scalar::<f64>()?.max(1.0);
            let off = largest_difference(&logits, recorded.tensor(&format!("{name}.logits"))?)? / scale;
            assert!(off < near, "{name} {:?}: logits off by {off:e}", network.dtype());
            let squares = gradient.iter().zip(&expected).map(|(a, b)| (a - b) * (a - b));
            let off = squares.sum::<f64>().sqrt() / length;
            assert!(off < gradient_near, "{name} {:?}: gradient off by {off:e}", network.dtype());
        }
        seen.push(row.architecture);
    }
    seen.dedup();
    assert_eq!(seen, ["resnet", "preact-resnet", "wide-resnet", "vgg", "mobilenet-v2", "densenet", "mobilevit"]);
    Ok(())
}
