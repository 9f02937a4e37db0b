//! Counts, groups, and answers to settings that do not fit.

use super::*;
use mrpf_api::coupling::{channel_groups, cost};

fn declare(settings: DenseNetSettings) -> Result<Declaration> {
    let input = ImageShape { channels: 3, height: 32, width: 32 };
    let request = ArchitectureRequest { input, classes: 10, mean: vec![0.5; 3], std: vec![0.25; 3] };
    DenseNet::new(settings)?.declare(&request)
}

#[test]
fn the_published_parameter_counts_hold() -> Result<()> {
    // Table 2 of the paper: 0.8 M and 15.3 M with bottlenecks and compression, 1.0 M and 7.0 M without.
    for (depth, growth, bottleneck, millions) in
        [(100, 12, true, 0.8), (250, 24, true, 15.3), (40, 12, false, 1.0), (100, 12, false, 7.0)]
    {
        let compression = if bottleneck { 0.5 } else { 1.0 };
        let found = cost(&declare(DenseNetSettings { depth, growth, bottleneck, compression, form: Form::Cifar })?)?;
        assert!((found.params as f64 / 1e6 - millions).abs() < 0.05, "{depth}-{growth}: {found:?}");
    }
    assert_eq!(cost(&declare(DenseNetSettings::default())?)?.params, 769_162);
    Ok(())
}

#[test]
fn those_for_imagenet_have_the_parameters_of_torchvision() -> Result<()> {
    let input = ImageShape { channels: 3, height: 224, width: 224 };
    let request = ArchitectureRequest { input, classes: 1000, mean: vec![0.5; 3], std: vec![0.25; 3] };
    for (depth, growth, params) in
        [(121, 32, 7_978_856), (161, 48, 28_681_000), (169, 32, 14_149_480), (201, 32, 20_013_928)]
    {
        let settings = DenseNetSettings { depth, growth, form: Form::Imagenet, ..Default::default() };
        assert_eq!(cost(&DenseNet::new(settings)?.declare(&request)?)?.params, params, "{depth}-{growth}");
    }
    Ok(())
}

#[test]
fn every_convolution_is_a_group_that_all_later_layers_of_its_block_read() -> Result<()> {
    let groups = channel_groups(&declare(DenseNetSettings { depth: 16, growth: 4, ..Default::default() })?)?;
    assert!(groups.iter().all(|group| group.producers().count() == 1));
    // The stem, two blocks of two layers with two convolutions each, and a transition; the last block; the classes.
    assert_eq!(groups.len(), 1 + 3 * 2 * 2 + 2 + 1);
    let added = groups.iter().find(|group| group.name == "block1.layer.0.conv2").expect("a group");
    let read_by: Vec<&str> = added.consumers().map(|member| member.layer.as_str()).collect();
    assert_eq!(read_by, ["block1.layer.1.conv1", "trans1.conv1"]);
    // Its four channels come after the eight of the stem.
    let places: Vec<usize> = added.consumers().flat_map(|member| member.positions.concat()).collect();
    assert_eq!(places, [8, 9, 10, 11, 8, 9, 10, 11]);
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    let usual = DenseNetSettings::default;
    for (settings, message) in [
        (DenseNetSettings { depth: 41, ..usual() }, "depth 41, expected 6 n + 4, such as 40 or 100"),
        (DenseNetSettings { depth: 4, ..usual() }, "depth 4, expected 6 n + 4, such as 40 or 100"),
        (DenseNetSettings { depth: 41, bottleneck: false, ..usual() }, "depth 41, expected 3 n + 4, such as 40 or 100"),
        (DenseNetSettings { growth: 0, ..usual() }, "growth 0, expected 1 to 512"),
        (DenseNetSettings { compression: 0.0, ..usual() }, "compression 0, expected above 0 and at most 1"),
    ] {
        assert_eq!(DenseNet::new(settings).expect_err(message).to_string(), message);
    }
}

#[test]
fn images_too_small_for_two_poolings_are_refused() -> Result<()> {
    let input = ImageShape { channels: 1, height: 3, width: 3 };
    let request = ArchitectureRequest { input, classes: 10, mean: vec![0.5], std: vec![0.25] };
    let error = DenseNet::new(DenseNetSettings::default())?.declare(&request).expect_err("one pixel is left");
    assert_eq!(error.kind(), ErrorKind::Declaration);
    Ok(())
}
