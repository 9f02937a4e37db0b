use mrpf_api::candle_core::{DType, Device};
use mrpf_api::coupling::{PruningPlan, channel_groups, cut};
use mrpf_api::data::ImageShape;
use mrpf_api::network::{Builder, Declaration, Network};
use mrpf_api::numeric::ConvGeometry;
use mrpf_api::random::Streams;
use mrpf_api::{ErrorKind, Result};
use mrpf_test_support::every_kind;

use super::{export, module_name};
use crate::experiment::{PluginChoice, architecture};

const IMAGE: ImageShape = ImageShape { channels: 3, height: 8, width: 8 };

fn exported(declaration: Declaration, name: &str) -> Result<String> {
    let network = Network::initialise(declaration, &Streams::new(1), DType::F32, &Device::Cpu)?;
    Ok(export(&network, name)?.module)
}

#[test]
fn a_pruned_network_as_people_read_it() -> Result<()> {
    let request = mrpf_api::architecture::ArchitectureRequest {
        input: IMAGE,
        classes: 10,
        mean: vec![0.4914, 0.4822, 0.4465],
        std: vec![0.247, 0.2435, 0.2616],
    };
    let choice = architecture(&PluginChoice::named("resnet8").with("width", 6))?;
    let declaration = choice.make::<dyn mrpf_api::architecture::Architecture>()?.declare(&request)?;
    let groups = channel_groups(&declaration)?;
    let scores: Vec<Vec<f64>> = groups.iter().map(|group| vec![1.0; group.channels]).collect();
    let keep = groups.iter().map(|group| match group.frozen {
        None => group.channels / 2,
        Some(_) => group.channels,
    });
    let keep: Vec<usize> = keep.collect();
    let plan = PruningPlan::keep_highest(&groups, &scores, &keep);
    let network = Network::initialise(declaration, &Streams::new(1), DType::F32, &Device::Cpu)?;
    insta::assert_snapshot!(export(&cut(&network, &plan)?, "mrs_l1_norm")?.module);
    Ok(())
}

#[test]
fn every_kind_of_layer_is_written() -> Result<()> {
    insta::assert_snapshot!(exported(every_kind()?, "every_kind")?);
    Ok(())
}

#[test]
fn names_are_made_fit_for_python() {
    for (stem, name) in [
        ("mrs-l1-norm", "mrs_l1_norm"),
        ("dense", "dense"),
        ("3x", "network_3x"),
        ("torch", "network_torch"),
        ("class", "network_class"),
        ("random", "network_random"),
        ("numpy", "network_numpy"),
        ("Größe", "Gr__e"),
        ("", "network"),
        ("--", "network"),
    ] {
        assert_eq!(module_name(stem), name, "{stem}");
    }
}

/// A saved network may come from anybody, and its export is code.
#[test]
fn a_name_never_becomes_code() -> Result<()> {
    let evil = "a\"\nimport os #\\";
    let mut net = Builder::new("\"\"\"\nimport os", IMAGE, 5);
    net.conv(evil, 4, ConvGeometry::same3(), false).relu("r\nimport os");
    net.global_avg_pool("p").add("s", "p").linear("fc", 5);
    let text = exported(net.finish()?, "evil")?;
    assert!(!text.lines().any(|line| line.trim_start().starts_with("import os")), "{text}");
    assert!(text.contains(r#"self.add_module("a\"\U0000000aimport os #\\", nn.Conv2d("#), "{text}");
    Ok(())
}

#[test]
fn what_pytorch_cannot_name_is_said() -> Result<()> {
    for (name, told) in [
        ("train", "layer \"train\": PyTorch can have no submodule called \"train\" there"),
        ("a.keys", "layer \"a.keys\": PyTorch can have no submodule called \"keys\" there"),
        ("fc.more", "layer \"fc.more\": PyTorch can have no submodule called \"more\" there"),
    ] {
        let mut net = Builder::new("named", IMAGE, 5);
        net.global_avg_pool("pool").linear("fc", 5).linear(name, 5);
        let error = exported(net.finish()?, "named").expect_err(name);
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Declaration, told.to_owned()));
    }
    Ok(())
}
