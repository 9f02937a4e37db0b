//! Names, counts, groups, and answers to settings that do not fit.

use super::*;
use mrpf_api::coupling::{channel_groups, cost};

fn declare(settings: VggSettings, size: usize) -> Result<Declaration> {
    let input = ImageShape { channels: 3, height: size, width: size };
    Vgg::new(settings)?.declare(&ArchitectureRequest { input, classes: 10, mean: vec![0.5; 3], std: vec![0.25; 3] })
}

#[test]
fn costs_are_those_that_pytorch_counts() -> Result<()> {
    let rows: Vec<mrpf_api::serde_json::Value> =
        mrpf_api::serde_json::from_str(include_str!("../../../tests/fixtures/counts.json")).expect("a list");
    let mut seen = 0;
    for row in rows.iter().filter(|row| row["architecture"] == "vgg") {
        let depth = row["depth"].as_u64().expect("a number") as usize;
        let settings = VggSettings { depth, conv_bias: row["conv_bias"].as_bool(), ..VggSettings::default() };
        let found = cost(&declare(settings, 32)?)?;
        assert_eq!((Some(found.params), Some(found.macs)), (row["params"].as_u64(), row["macs"].as_u64()), "{row}");
        seen += 1;
    }
    assert_eq!(seen, 8);
    Ok(())
}

#[test]
fn small_and_large_images_fit() -> Result<()> {
    for (size, features) in [(8, 512), (32, 512), (64, 2048)] {
        let declaration = declare(VggSettings::default(), size)?;
        let shapes = declaration.wiring()?.shapes;
        assert_eq!(shapes[shapes.len() - 2].channels(), features, "size {size}");
    }
    Ok(())
}

#[test]
fn every_convolution_can_be_pruned_by_itself() -> Result<()> {
    let groups = channel_groups(&declare(VggSettings::default(), 64)?)?;
    let free: Vec<_> = groups.iter().filter(|group| group.frozen.is_none()).collect();
    assert_eq!(free.len(), 13);
    assert!(free.iter().all(|group| group.producers().count() == 1));
    let last = free.last().and_then(|group| group.consumers().last()).expect("the classifier reads the last");
    assert_eq!((last.layer.as_str(), &last.positions[1]), ("classifier", [4, 5, 6, 7].as_slice()));
    Ok(())
}

#[test]
fn layers_are_numbered_as_in_pytorch_and_small_images_keep_the_numbers() -> Result<()> {
    let settings = || VggSettings { depth: 11, ..VggSettings::default() };
    let convolutions = |size: usize| -> Result<Vec<String>> {
        let layers = declare(settings(), size)?.layers;
        let is_conv = |layer: &mrpf_api::network::Layer| matches!(layer.kind, mrpf_api::network::LayerKind::Conv2d(_));
        Ok(layers.into_iter().filter(is_conv).map(|layer| layer.name).collect())
    };
    let expected = [0, 4, 8, 11, 15, 18, 22, 25].map(|number| format!("features.{number}"));
    assert_eq!(convolutions(32)?, expected);
    assert_eq!(convolutions(8)?, expected);
    let pools = declare(settings(), 8)?.layers;
    let pools: Vec<&str> = pools
        .iter()
        .map(|layer| layer.name.as_str())
        .filter(|name| ["features.3", "features.7", "features.14", "features.21", "features.28"].contains(name))
        .collect();
    assert_eq!(pools, ["features.3", "features.7", "features.14"], "8, 4, 2, and then one pixel is left");
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    for (depth, width, message) in [
        (12, 64, "depth 12, expected one of 11, 13, 16, 19"),
        (16, 0, "width 0, expected 1 to 4096"),
        (16, 4097, "width 4097, expected 1 to 4096"),
    ] {
        let error = Vgg::new(VggSettings { depth, width, ..VggSettings::default() }).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn the_head_of_three_layers_is_that_of_the_pruning_benchmark() -> Result<()> {
    let settings = || VggSettings { head: Head::ThreeLayer, ..VggSettings::default() };
    let declaration = declare(settings(), 32)?;
    let names: Vec<&str> = declaration.layers.iter().map(|layer| layer.name.as_str()).collect();
    let head = ["flatten", "classifier.0", "classifier.1", "classifier.2", "classifier.3", "classifier.4"];
    assert_eq!(names[names.len() - 6..], head);
    let groups = channel_groups(&declaration)?;
    let widths: Vec<(&str, usize)> = groups[groups.len() - 4..].iter().map(|g| (g.name.as_str(), g.channels)).collect();
    let expected = [("features.40", 512), ("classifier.0", 256), ("classifier.2", 256), ("classifier.4", 10)];
    assert_eq!(widths, expected);
    // A channel of the last map stands on four places of the first linear layer.
    let last = groups[groups.len() - 4].consumers().last().expect("the head reads it");
    assert_eq!((last.layer.as_str(), &last.positions[2]), ("classifier.0", [8, 9, 10, 11].as_slice()));
    assert_eq!(cost(&declaration)?.params, 15_311_818);
    Ok(())
}

#[test]
fn larger_maps_are_averaged_to_quarters() -> Result<()> {
    for (size, pooled) in [(8, false), (16, false), (32, false), (48, true), (64, true), (80, true)] {
        let settings = VggSettings { head: Head::ThreeLayer, depth: 11, width: 4, ..VggSettings::default() };
        let declaration = declare(settings, size)?;
        let shapes = declaration.wiring()?.shapes;
        assert_eq!(declaration.layers.iter().any(|layer| layer.name == "avgpool"), pooled, "size {size}");
        let flat = shapes[shapes.len() - 6].channels();
        assert_eq!(flat, if size < 32 { 32 } else { 4 * 32 }, "size {size}");
    }
    Ok(())
}
