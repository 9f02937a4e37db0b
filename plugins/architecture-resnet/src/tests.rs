//! Names, counts, groups, and answers to settings that do not fit.

use super::*;
use mrpf_api::coupling::{channel_groups, cost};

fn declare(depth: usize, shortcut: Shortcut) -> Result<Declaration> {
    let input = ImageShape { channels: 3, height: 32, width: 32 };
    let request = ArchitectureRequest { input, classes: 10, mean: vec![0.5; 3], std: vec![0.25; 3] };
    ResNet::new(ResNetSettings { depth, shortcut, ..ResNetSettings::default() })?.declare(&request)
}

#[test]
fn costs_are_those_that_pytorch_counts() -> Result<()> {
    let rows: Vec<mrpf_api::serde_json::Value> =
        mrpf_api::serde_json::from_str(include_str!("../../../tests/fixtures/counts.json")).expect("a list");
    let mut seen = 0;
    for row in rows.iter().filter(|row| row["architecture"] == "resnet") {
        let shortcut = if row["shortcut"] == "padding" { Shortcut::Padding } else { Shortcut::Projection };
        let found = cost(&declare(row["depth"].as_u64().expect("a number") as usize, shortcut)?)?;
        assert_eq!((Some(found.params), Some(found.macs)), (row["params"].as_u64(), row["macs"].as_u64()), "{row}");
        seen += 1;
    }
    assert_eq!(seen, 12);
    Ok(())
}

#[test]
fn the_published_parameter_counts_hold() -> Result<()> {
    for (depth, params) in [(18, 11_173_962), (20, 272_474), (56, 855_770), (50, 23_520_842)] {
        assert_eq!(cost(&declare(depth, Shortcut::Projection)?)?.params, params, "depth {depth}");
    }
    Ok(())
}

#[test]
fn a_stage_is_one_group_and_each_block_has_one_inside() -> Result<()> {
    let groups = channel_groups(&declare(20, Shortcut::Projection)?)?;
    let free: Vec<_> = groups.iter().filter(|group| group.frozen.is_none()).collect();
    assert_eq!(free.len(), 3 + 9);
    let stream = free.iter().find(|group| group.name == "conv1").expect("the stem's group");
    let producers: Vec<_> = stream.producers().map(|member| member.layer.as_str()).collect();
    assert_eq!(producers, ["conv1", "layer1.0.conv2", "layer1.1.conv2", "layer1.2.conv2"]);
    Ok(())
}

#[test]
fn padding_shortcuts_freeze_what_lies_between_the_blocks() -> Result<()> {
    let groups = channel_groups(&declare(20, Shortcut::Padding)?)?;
    let free: Vec<_> = groups.iter().filter(|group| group.frozen.is_none()).map(|group| group.name.as_str()).collect();
    assert!(free.iter().all(|name| name.ends_with("conv1") && name.starts_with("layer")), "{free:?}");
    assert_eq!(free.len(), 9);
    Ok(())
}

#[test]
fn a_depth_that_does_not_exist_is_answered_with_those_that_do() {
    let error = ResNet::new(ResNetSettings { depth: 19, ..ResNetSettings::default() }).expect_err("depth 19");
    assert_eq!(error.to_string(), "depth 19, expected one of 8, 14, 18, 20, 32, 34, 44, 50, 56, 101, 110, 152");
}

#[test]
fn layers_have_the_usual_names_in_the_usual_order() -> Result<()> {
    let declaration = declare(8, Shortcut::Projection)?;
    let names: Vec<&str> = declaration.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names[..4], ["normalize", "conv1", "bn1", "relu1"]);
    let block: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix("layer2.0.")).collect();
    let expected = ["conv1", "bn1", "relu1", "conv2", "bn2", "shortcut.0", "shortcut.1", "add", "relu2"];
    assert_eq!(block, expected);
    assert_eq!(names[names.len() - 2..], ["pool", "linear"]);
    assert!(!names.iter().any(|name| name.starts_with("layer1.0.shortcut")), "the shape stays the same there");
    Ok(())
}

#[test]
fn images_from_four_pixels_on_give_logits() -> Result<()> {
    let forms = [(8, Form::Cifar), (18, Form::Cifar), (50, Form::Cifar), (14, Form::Imagenet), (50, Form::Imagenet)];
    for ((depth, form), (channels, size)) in forms.into_iter().flat_map(|form| [(form, (1, 4)), (form, (3, 7))]) {
        for shortcut in [Shortcut::Projection, Shortcut::Padding] {
            let input = ImageShape { channels, height: size, width: size };
            let request =
                ArchitectureRequest { input, classes: 7, mean: vec![0.5; channels], std: vec![0.25; channels] };
            let settings = ResNetSettings { depth, form, width: Some(4), shortcut };
            let declaration = ResNet::new(settings)?.declare(&request)?;
            let network = Network::initialise(declaration, &Streams::new(0), DType::F32, &Device::Cpu)?;
            let images = Tensor::zeros((2, channels, size, size), DType::F32, &Device::Cpu)?;
            assert_eq!(network.forward(&images, Mode::Evaluate)?.dims(), [2, 7], "{depth} {channels} {size}");
        }
    }
    Ok(())
}

#[test]
fn bottleneck_blocks_stride_in_their_3x3_convolution() -> Result<()> {
    let declaration = declare(50, Shortcut::Projection)?;
    let shapes = declaration.wiring()?.shapes;
    let shape = |name: &str| -> Option<String> {
        let at = declaration.layers.iter().position(|layer| layer.name == name)?;
        Some(shapes[at].to_string())
    };
    let block: Vec<_> = ["conv1", "conv2", "conv3", "shortcut.0"].map(|part| shape(&format!("layer2.0.{part}"))).into();
    let expected = ["[128, 32, 32]", "[128, 16, 16]", "[512, 16, 16]", "[512, 16, 16]"];
    assert_eq!(block.into_iter().flatten().collect::<Vec<_>>(), expected);
    assert_eq!(shape("layer1.0.shortcut.0").as_deref(), Some("[256, 32, 32]"));
    Ok(())
}

#[test]
fn the_stem_for_imagenet_divides_the_size_by_four() -> Result<()> {
    let input = ImageShape { channels: 3, height: 224, width: 224 };
    let request = ArchitectureRequest { input, classes: 1000, mean: vec![0.5; 3], std: vec![0.25; 3] };
    // Parameters as torchvision lists them; its GFLOPS are these multiply-accumulates.
    for (depth, params, giga_macs) in
        [(18, 11_689_512, 1.81), (34, 21_797_672, 3.66), (50, 25_557_032, 4.09), (101, 44_549_160, 7.80)]
    {
        let settings = ResNetSettings { depth, form: Form::Imagenet, ..ResNetSettings::default() };
        let declaration = ResNet::new(settings)?.declare(&request)?;
        let found = cost(&declaration)?;
        assert_eq!(found.params, params, "depth {depth}");
        assert!((found.macs as f64 / 1e9 - giga_macs).abs() < 0.01, "depth {depth}: {} MACs", found.macs);
        let names: Vec<&str> = declaration.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names[..5], ["normalize", "conv1", "bn1", "relu1", "maxpool"]);
        assert_eq!(declaration.wiring()?.shapes[4].to_string(), "[64, 56, 56]");
    }
    Ok(())
}

#[test]
fn widths_out_of_range_are_refused() {
    for width in [0, MAX_WIDTH + 1, usize::MAX] {
        let settings = ResNetSettings { width: Some(width), ..ResNetSettings::default() };
        let error = ResNet::new(settings).expect_err("the width is out of range");
        assert_eq!(error.to_string(), format!("width {width}, expected 1 to 4096"));
    }
}
