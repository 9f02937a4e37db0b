//! What is told of small networks.

use super::*;
use crate::experiment::PluginChoice;
use mrpf_api::architecture::{Architecture, ArchitectureRequest};
use mrpf_api::data::ImageShape;

fn declare(choice: PluginChoice) -> Result<Declaration> {
    let input = ImageShape { channels: 3, height: 16, width: 16 };
    let request = ArchitectureRequest { input, classes: 10, mean: vec![0.5; 3], std: vec![0.25; 3] };
    choice.make::<dyn Architecture>()?.declare(&request)
}

fn summary(choice: PluginChoice) -> Result<Summary> {
    Summary::of(&declare(choice)?)
}

#[test]
fn a_small_network_as_people_read_it() -> Result<()> {
    insta::assert_snapshot!(as_text(&summary(PluginChoice::named("resnet").with("depth", 8).with("width", 4))?));
    Ok(())
}

#[test]
fn concatenations_and_depthwise_convolutions_as_people_read_them() -> Result<()> {
    let dense = PluginChoice::named("densenet").with("depth", 10).with("growth", 4);
    let mobile = PluginChoice::named("mobilenet-v2").with("width", 0.1).with("divisor", 1);
    insta::assert_snapshot!("densenet", as_text(&summary(dense)?));
    let text = as_text(&summary(mobile)?);
    assert!(text.contains("conv2d 3x3, stride 2, depthwise"), "{text}");
    Ok(())
}

#[test]
fn attention_as_people_read_it() -> Result<()> {
    let text = as_text(&summary(PluginChoice::named("mobilevit").with("width", 0.1))?);
    let of_block: Vec<&str> =
        text.lines().filter(|line| line.contains("stages.2.1.transformer.0")).map(str::trim_end).collect();
    insta::assert_snapshot!("mobilevit_block", of_block.join("\n"));
    Ok(())
}

#[test]
fn the_parts_add_up() -> Result<()> {
    for name in ["resnet", "vgg", "preact-resnet", "wide-resnet", "mobilenet-v2", "densenet", "mobilevit"] {
        let declaration = declare(PluginChoice::named(name))?;
        let (found, shapes) = (Summary::of(&declaration)?, declaration.wiring()?.shapes);
        assert_eq!(found.layers.iter().map(|layer| layer.params).sum::<u64>(), found.params, "{name}");
        assert_eq!(found.layers.iter().map(|layer| layer.macs).sum::<u64>(), found.macs, "{name}");
        for (layer, shape) in found.layers.iter().zip(shapes) {
            let widths = layer.groups.iter().filter_map(|name| found.groups.iter().find(|group| group.name == *name));
            let sum: usize = widths.map(|group| group.channels).sum();
            // A flattened channel stands on several places, one of an attention on one in each head; the images belong to no group.
            let flat = layer.kind == LayerKind::Flatten || layer.groups.is_empty();
            let sum = if layer.groups.iter().any(|group| group.contains(".attn.")) { 4 * sum } else { sum };
            assert!(flat || sum == shape.channels(), "{name} {layer:?}");
        }
    }
    Ok(())
}

#[test]
fn programs_get_every_field() -> Result<()> {
    let found = serde_json::to_value(summary(PluginChoice::named("vgg").with("depth", 11).with("width", 2))?)
        .expect("a summary is JSON");
    assert_eq!((&found["architecture"], &found["input"]), (&"vgg".into(), &serde_json::json!([3, 16, 16])));
    let layer = &found["layers"][1];
    assert_eq!(
        (&layer["name"], &layer["kind"], &layer["params"]),
        (&"features.0".into(), &"conv2d".into(), &56.into())
    );
    assert_eq!((&layer["kernel"], &layer["shape"]), (&serde_json::json!([3, 3]), &serde_json::json!([2, 16, 16])));
    let group = &found["groups"][0];
    assert_eq!((&group["name"], &group["channels"], &group["frozen"]), (&"features.0".into(), &2.into(), &().into()));
    assert_eq!((&group["made_by"][0], &group["read_by"][0]), (&"features.0".into(), &"features.4".into()));
    Ok(())
}
