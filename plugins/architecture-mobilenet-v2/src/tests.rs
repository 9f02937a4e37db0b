//! Names, counts, groups, and answers to settings that do not fit.

use super::*;
use mrpf_api::coupling::{channel_groups, cost};

fn declare(settings: MobileNetV2Settings, size: usize, classes: usize) -> Result<Declaration> {
    let input = ImageShape { channels: 3, height: size, width: size };
    let request = ArchitectureRequest { input, classes, mean: vec![0.5; 3], std: vec![0.25; 3] };
    MobileNetV2::new(settings)?.declare(&request)
}

#[test]
fn the_counts_are_the_published_ones() -> Result<()> {
    // For CIFAR as in chenyaofo's pytorch-cifar-models: 2.24 M parameters and 87.98 M multiply-accumulates; 0.70 and 27.97 at half
    // the width. For ImageNet torchvision's 3,504,872 parameters and 0.30 GFLOPS.
    let of = |form, width, size, classes| -> Result<_> {
        cost(&declare(MobileNetV2Settings { form, width, ..Default::default() }, size, classes)?)
    };
    let whole = of(Form::Cifar, 1.0, 32, 10)?;
    assert_eq!((whole.params, whole.macs), (2_236_682, 87_976_448));
    let half = of(Form::Cifar, 0.5, 32, 10)?;
    assert!(
        (half.params as f64 / 1e6 - 0.70).abs() < 0.005 && (half.macs as f64 / 1e6 - 27.97).abs() < 0.01,
        "{half:?}"
    );
    let large = of(Form::Imagenet, 1.0, 224, 1000)?;
    assert_eq!(large.params, 3_504_872);
    assert!((large.macs as f64 / 1e9 - 0.30).abs() < 0.005, "{large:?}");
    Ok(())
}

#[test]
fn a_depthwise_convolution_is_pruned_with_what_it_reads() -> Result<()> {
    let groups = channel_groups(&declare(MobileNetV2Settings::default(), 32, 10)?)?;
    let made_by = |name: &str| -> Vec<&str> {
        let group = groups.iter().find(|group| group.name == name);
        group.into_iter().flat_map(|group| group.producers()).map(|member| member.layer.as_str()).collect()
    };
    assert_eq!(made_by("features.0.0"), ["features.0.0", "features.1.conv.0.0"]);
    assert_eq!(made_by("features.3.conv.0.0"), ["features.3.conv.0.0", "features.3.conv.1.0"]);
    // Two blocks of 24 channels, of which the second adds its input.
    assert_eq!(made_by("features.2.conv.2"), ["features.2.conv.2", "features.3.conv.2"]);
    // A stage of 24, 32, 64, 96, 160 channels each; 16, 320 and 1280 by themselves; one inside each of 16 blocks; the stem.
    assert_eq!(groups.iter().filter(|group| group.frozen.is_none()).count(), 5 + 3 + 16 + 1);
    Ok(())
}

#[test]
fn widths_are_rounded_as_by_the_authors() -> Result<()> {
    let net = |width, divisor| MobileNetV2::new(MobileNetV2Settings { width, divisor, ..Default::default() });
    // 24 * 0.35 = 8.4 and 8 is not a tenth less; 16 * 0.75 = 12 rounds up; 18 is nearest to 16, which is more than a tenth less.
    for (channels, width, divisor, expected) in
        [(24, 0.35, 8, 8), (16, 0.75, 8, 16), (18, 1.0, 8, 24), (32, 0.05, 8, 8), (32, 0.1, 1, 3)]
    {
        assert_eq!(net(width, divisor)?.channels(channels, width), expected, "{channels} times {width}");
    }
    Ok(())
}

#[test]
fn small_images_give_logits() -> Result<()> {
    for (form, size) in [(Form::Cifar, 4), (Form::Cifar, 7), (Form::Imagenet, 4), (Form::Imagenet, 33)] {
        let declaration = declare(MobileNetV2Settings { form, width: 0.1, divisor: 1 }, size, 7)?;
        let network = Network::initialise(declaration, &Streams::new(0), DType::F32, &Device::Cpu)?;
        let images = Tensor::zeros((2, 3, size, size), DType::F32, &Device::Cpu)?;
        assert_eq!(network.forward(&images, Mode::Evaluate)?.dims(), [2, 7], "{form:?} {size}");
    }
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    for (width, divisor, message) in [
        (0.0, 8, "width 0, expected 0.01 to 4"),
        (f64::NAN, 8, "width NaN, expected 0.01 to 4"),
        (1.0, 0, "divisor 0, expected 1 to 64"),
    ] {
        let settings = MobileNetV2Settings { width, divisor, ..Default::default() };
        assert_eq!(MobileNetV2::new(settings).expect_err(message).to_string(), message);
    }
}
