//! Names, counts, groups, and answers to settings that do not fit.

use super::*;
use mrpf_api::coupling::{channel_groups, cost};
use mrpf_api::network::{Layer, LayerKind, Shape};

fn declare(settings: MobileVitSettings, size: usize, classes: usize) -> Result<Declaration> {
    let input = ImageShape { channels: 3, height: size, width: size };
    let request = ArchitectureRequest { input, classes, mean: vec![0.5; 3], std: vec![0.25; 3] };
    MobileVit::new(settings)?.declare(&request)
}

#[test]
fn the_counts_are_the_published_ones() -> Result<()> {
    // Table 4 of the paper: 1.3 M, 2.3 M and 5.6 M parameters; timm's exactly. Multiply-accumulates are PyTorch's in the workflows' tests.
    for (size, params) in [(Size::Xxs, 1_272_024), (Size::Xs, 2_317_848), (Size::S, 5_578_632)] {
        for (form, side) in [(Form::Imagenet, 256), (Form::Cifar, 32)] {
            let settings = MobileVitSettings { size, form, ..Default::default() };
            assert_eq!(cost(&declare(settings, side, 1000)?)?.params, params, "{size:?}");
        }
    }
    Ok(())
}

/// Heights of the maps that transformers see, with the tokens in each sequence.
fn unfolded(form: Form, size: usize) -> Result<Vec<(usize, usize)>> {
    let declaration = declare(MobileVitSettings { form, ..Default::default() }, size, 10)?;
    let wiring = declaration.wiring()?;
    let layers = declaration.layers.iter().enumerate();
    let of =
        |(at, _): (usize, &Layer)| match (wiring.shapes[at], wiring.inputs[at][0].map(|input| wiring.shapes[input])) {
            (Shape::Tokens(tokens), Some(Shape::Map(map))) => Some((map.height, tokens.tokens)),
            _ => None,
        };
    Ok(layers.filter(|(_, layer)| matches!(layer.kind, LayerKind::Unfold { .. })).filter_map(of).collect())
}

#[test]
fn transformers_see_maps_of_whole_patches() -> Result<()> {
    let small = vec![(16, 64), (8, 16), (4, 4)];
    assert_eq!(unfolded(Form::Cifar, 32)?, small);
    assert_eq!(unfolded(Form::TinyImagenet, 64)?, small);
    assert_eq!(unfolded(Form::Imagenet, 256)?, [(32, 256), (16, 64), (8, 16)]);
    // 7 is resized to 8, and 1 to 2.
    assert_eq!(unfolded(Form::Imagenet, 224)?, [(28, 196), (14, 49), (8, 16)]);
    assert_eq!(unfolded(Form::Cifar, 8)?, [(4, 4), (2, 1), (2, 1)]);
    Ok(())
}

#[test]
fn each_layer_of_a_transformer_is_cut_or_frozen_as_it_must_be() -> Result<()> {
    let block = "stages.2.1.transformer.0";
    let of = |attention_unit, layer: &str| -> Result<(usize, Vec<String>, bool)> {
        let groups = channel_groups(&declare(MobileVitSettings { attention_unit, ..Default::default() }, 32, 10)?)?;
        let made = |group: &&ChannelGroup| group.producers().any(|member| member.layer == format!("{block}.{layer}"));
        let group = groups.iter().find(made).ok_or_else(|| Error::new(ErrorKind::Data, "no such group"))?;
        let own = |member: &Member| member.layer.strip_prefix(block).map(|layer| layer[1..].to_owned());
        Ok((group.channels, group.producers().filter_map(own).collect(), group.frozen.is_some()))
    };
    // Four heads, each 16 wide.
    assert_eq!(of(Unit::Width, "attn.query")?, (16, vec!["attn.query".into(), "attn.key".into()], false));
    assert_eq!(of(Unit::Width, "attn.value")?, (16, vec!["attn.value".into()], false));
    let all = ["attn.query", "attn.key", "attn.value"].map(str::to_owned).to_vec();
    assert_eq!(of(Unit::Head, "attn.value")?, (4, all, false));
    for unit in [Unit::Width, Unit::Head] {
        assert_eq!(of(unit, "mlp.fc1")?, (128, vec!["mlp.fc1".into()], false));
        assert_eq!(of(unit, "attn.proj")?, (64, vec!["attn.proj".into(), "mlp.fc2".into()], true));
    }
    let groups = channel_groups(&declare(MobileVitSettings::default(), 32, 10)?)?;
    let stream = groups.iter().find(|group| group.name == "stages.2.1.conv_1x1").expect("a group");
    let why = "the layer norm `stages.2.1.transformer.0.norm1` takes mean and variance over all channels";
    assert_eq!(stream.frozen.as_deref(), Some(why));
    // Frozen are three streams of tokens and the classes; around each stream convolutions can be cut.
    assert_eq!(groups.iter().filter(|group| group.frozen.is_some()).count(), 4);
    Ok(())
}

#[test]
fn attentions_linear_layers_are_modules() -> Result<()> {
    let declaration = declare(MobileVitSettings::default(), 32, 10)?;
    let modules: Vec<&str> = declaration.modules().map(|layer| layer.name.as_str()).collect();
    for layer in ["attn.query", "attn.key", "attn.value", "attn.proj", "mlp.fc1", "mlp.fc2"] {
        assert!(modules.contains(&format!("stages.4.1.transformer.2.{layer}").as_str()), "{layer}");
    }
    Ok(())
}

#[test]
fn what_depends_on_a_module_of_attention_is_the_network() -> Result<()> {
    let declaration = declare(MobileVitSettings { width: 0.1, ..Default::default() }, 16, 7)?;
    let network = Network::initialise(declaration, &Streams::new(0), DType::F64, &Device::Cpu)?;
    let images = Streams::new(1).stream().uniform(&[3, 3, 16, 16], 0.0, 1.0, DType::F64, &Device::Cpu)?;
    let frozen = network.freeze()?;
    for layer in ["attn.query", "attn.value", "attn.proj", "mlp.fc1"] {
        let module = format!("stages.2.1.transformer.1.{layer}");
        let name = format!("{module}.weight");
        let mut weights = network.weights();
        weights.insert(name.clone(), (&weights[&name] * 1.5)?);
        let expected = network.forward_with(&weights, &images.narrow(0, 1, 2)?, Mode::Evaluate)?;
        let found = frozen.suffix(&module, &images, 1 << 20)?.logits(&weights[&name], &[1, 2])?;
        let off = (found - &expected)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(off < 1e-10, "{layer}: off by {off:e}");
        let moved = (network.forward(&images.narrow(0, 1, 2)?, Mode::Evaluate)? - expected)?.abs()?.max_all()?;
        assert!(moved.to_scalar::<f64>()? > 1e-9, "{layer}: the weight is of no consequence");
    }
    Ok(())
}

#[test]
fn small_images_give_logits() -> Result<()> {
    for (form, size) in [(Form::Cifar, 4), (Form::Cifar, 7), (Form::TinyImagenet, 9), (Form::Imagenet, 33)] {
        let declaration = declare(MobileVitSettings { form, width: 0.1, ..Default::default() }, size, 7)?;
        let network = Network::initialise(declaration, &Streams::new(0), DType::F32, &Device::Cpu)?;
        let images = Tensor::zeros((2, 3, size, size), DType::F32, &Device::Cpu)?;
        assert_eq!(network.forward(&images, Mode::Evaluate)?.dims(), [2, 7], "{form:?} {size}");
    }
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    for (width, message) in [(0.0, "width 0, expected 0.01 to 4"), (f64::NAN, "width NaN, expected 0.01 to 4")] {
        let settings = MobileVitSettings { width, ..Default::default() };
        assert_eq!(MobileVit::new(settings).expect_err(message).to_string(), message);
    }
}
