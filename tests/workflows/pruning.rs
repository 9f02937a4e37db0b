//! Every architecture, pruned by every criterion at several ratios: masked equals cut, and the cut network does all that a network does.

use mrpf_api::attack::check_inside;
use mrpf_api::coupling::{PruningPlan, channel_groups, cost, cut, fewest_channels, mask};
use mrpf_api::network::LayerKind;
use mrpf_api::prelude::*;
use mrpf_api::registry::registrations;
use mrpf_host::experiment::PluginChoice;
use mrpf_host::training::{Sgd, TrainingSettings};
use mrpf_test_support::largest_difference;

const CLASSES: usize = 7;

/// An architecture of a size that can be tried often.
pub fn small(name: &str, settings: &[(&str, serde_json::Value)]) -> PluginChoice {
    let choice = PluginChoice::named(name);
    settings.iter().fold(choice, |choice, (key, value)| choice.with(key, value.clone()))
}

macro_rules! table {
    ($($test:ident: $name:literal $({ $($key:ident = $value:expr),* })?;)*) => {
        $(
            #[test]
            fn $test() -> Result<()> {
                examine(&small($name, &[$($((stringify!($key), $value.into())),*)?]))
            }
        )*
    };
}

table! {
    resnet_8: "resnet" { depth = 8, width = 6 };
    resnet_20: "resnet" { depth = 20, width = 4 };
    resnet_8_with_padding_shortcuts: "resnet" { depth = 8, width = 6, shortcut = "padding" };
    resnet_18: "resnet" { depth = 18, width = 4 };
    resnet_34: "resnet" { depth = 34, width = 3 };
    resnet_50: "resnet" { depth = 50, width = 2 };
    resnet_18_for_imagenet: "resnet" { depth = 18, width = 4, form = "imagenet" };
    resnet_50_for_imagenet_with_padding_shortcuts:
        "resnet" { depth = 50, width = 2, form = "imagenet", shortcut = "padding" };
    preact_resnet_18: "preact-resnet" { depth = 18, width = 4 };
    preact_resnet_18_without_final_norm: "preact-resnet" { depth = 18, width = 3, final_norm = false };
    wide_resnet_10_2: "wide-resnet" { depth = 10, widen = 2, width = 3 };
    wide_resnet_16_1: "wide-resnet" { depth = 16, widen = 1, width = 4 };
    vgg_11: "vgg" { depth = 11, width = 5 };
    vgg_13_without_biases: "vgg" { depth = 13, width = 5, conv_bias = false };
    vgg_16: "vgg" { depth = 16, width = 4 };
    vgg_19: "vgg" { depth = 19, width = 3 };
    vgg_16_with_three_layers: "vgg" { depth = 16, width = 3, head = "three-layer" };
    mobilenet_v2: "mobilenet-v2" { width = 0.1, divisor = 1 };
    mobilenet_v2_for_imagenet: "mobilenet-v2" { width = 0.1, divisor = 2, form = "imagenet" };
    densenet_bc_22: "densenet" { depth = 22, growth = 3 };
    densenet_22_for_imagenet: "densenet" { depth = 22, growth = 3, form = "imagenet" };
    mobilevit_xxs: "mobilevit" { width = 0.1 };
    mobilevit_xs_by_head: "mobilevit" { size = "xs", width = 0.1, attention_unit = "head" };
    mobilevit_s_for_imagenet: "mobilevit" { size = "s", width = 0.05, form = "imagenet" };
    densenet_13: "densenet" { depth = 13, growth = 4, bottleneck = false, compression = 1.0 };
}

#[test]
fn every_architecture_is_in_the_table() {
    let text = include_str!("pruning.rs");
    for plugin in registrations().into_iter().filter(|plugin| plugin.kind() == Kind::Architecture) {
        assert!(text.contains(&format!(": \"{}\" {{", plugin.name)), "{}", plugin.name);
    }
}

/// A network for square images with so many pixels to a side.
pub fn declare(choice: &PluginChoice, side: usize) -> Result<Declaration> {
    let input = ImageShape { channels: 3, height: side, width: side };
    let request = ArchitectureRequest { input, classes: CLASSES, mean: vec![0.5; 3], std: vec![0.25; 3] };
    choice.make::<dyn Architecture>()?.declare(&request)
}

/// A network for images of 16x16 pixels, see [`varied`].
fn network(choice: &PluginChoice) -> Result<Network> {
    varied(declare(choice, 16)?)
}

/// A network with biases and statistics that are not the fresh ones.
pub fn varied(declaration: Declaration) -> Result<Network> {
    let streams = Streams::new(11);
    let network = Network::initialise(declaration, &streams, DType::F32, &Device::Cpu)?;
    for (name, variable) in network.parameters() {
        if variable.rank() == 1 {
            let noise = streams.child(name).stream().normal(variable.dims(), DType::F32, &Device::Cpu)?;
            // Biases above zero keep ReLUs open where a single channel is left.
            let shift = if name.ends_with("bias") { 0.4 } else { 0.0 };
            variable.set(&(variable.as_tensor() + noise.affine(0.2, shift)?)?)?;
        }
    }
    let mut statistics = network.statistics();
    for (name, tensor) in &mut statistics {
        let noise = streams.child(name).stream().uniform(tensor.dims(), 0.0, 0.5, DType::F32, &Device::Cpu)?;
        *tensor = (&*tensor + noise)?;
    }
    network.set_statistics(statistics)?;
    Ok(network)
}

pub fn images() -> Result<Batch> {
    let images = Streams::new(99).stream().uniform(&[3, 3, 16, 16], 0.0, 1.0, DType::F32, &Device::Cpu)?;
    Ok(Batch { images, labels: Tensor::new(&[0_u32, 3, 6], &Device::Cpu)?, indices: vec![0, 1, 2] })
}

/// The criteria that are part of the program.
fn criteria() -> Vec<&'static str> {
    let all = registrations().into_iter().filter(|plugin| plugin.kind() == Kind::Criterion);
    all.map(|plugin| plugin.name).collect()
}

/// As many channels of each group as the ratio leaves, but no fewer than its structure needs.
pub fn keep_counts(declaration: &Declaration, groups: &[ChannelGroup], ratio: f64) -> Vec<usize> {
    let fewest = fewest_channels(declaration, groups);
    let left = |group: &ChannelGroup| (group.channels as f64 * (1.0 - ratio)).round() as usize;
    groups.iter().zip(fewest).map(|(group, fewest)| left(group).max(fewest)).collect()
}

/// The criteria that are tried at every ratio.
const SIMPLE: [&str; 3] = ["l1-norm", "l2-norm", "random"];

/// Scores of the groups that may be pruned, and zeros for the others, which are never asked about.
fn scores(criterion: &str, cx: &CallContext<'_>, network: &Network, groups: &[ChannelGroup]) -> Result<Vec<Vec<f64>>> {
    let registration = mrpf_api::registry::find(Kind::Criterion, criterion)?;
    let mut choice = PluginChoice::named(criterion);
    if (registration.defaults)().get("images").is_some() {
        choice = choice.with("images", 4);
    }
    let mut scorer = choice.make::<dyn Criterion>()?;
    scorer.prepare(cx, network, &data()?)?;
    let of_group = |group: &ChannelGroup| match group.frozen {
        Some(_) => Ok(vec![0.0; group.channels]),
        None => scorer.scores(cx, network, group),
    };
    groups.iter().map(of_group).collect()
}

/// Images of noise of 16x16 pixels, one of each class.
fn data() -> Result<LoadedData> {
    let shape = ImageShape { channels: 3, height: 16, width: 16 };
    let mut stream = Streams::new(98).stream();
    let pixels = (0..CLASSES * shape.len()).map(|_| (255.0 * stream.unit()) as u8).collect();
    let train = ImageSet::new(shape, pixels, 255, (0..CLASSES as u32).collect(), CLASSES)?;
    Ok(LoadedData {
        test: train.clone(),
        train,
        class_names: (0..CLASSES).map(|class| class.to_string()).collect(),
        mean: vec![0.5; 3],
        std: vec![0.25; 3],
        mirror_keeps_class: true,
    })
}

fn examine(choice: &PluginChoice) -> Result<()> {
    let network = network(choice)?;
    let cx = CallContext::unwatched(Streams::new(7));
    let groups = channel_groups(network.declaration())?;
    let dense = cost(network.declaration())?;
    let known = criteria();
    assert!(SIMPLE.iter().all(|name| known.contains(name)));
    let (mut rows, mut moved) = (0, 0);
    for criterion in known {
        let scores = scores(criterion, &cx, &network, &groups)?;
        // Those that look at images or compare filters cost more, and what is done with the scores is the same.
        let step = if SIMPLE.contains(&criterion) { 1 } else { 4 };
        for tenths in (1..=9).step_by(step) {
            let ratio = f64::from(tenths) / 10.0;
            let about = format!("{} {criterion} {ratio}", serde_json::json!(choice));
            let keep = keep_counts(network.declaration(), &groups, ratio);
            let plan = PruningPlan::keep_highest(&groups, &scores, &keep);
            let (small, masked) = (cut(&network, &plan)?, mask(&network, &plan)?);
            let widths: Vec<usize> =
                channel_groups(small.declaration())?.into_iter().map(|group| group.channels).collect();
            assert_eq!(widths, keep, "{about}");
            let found = cost(small.declaration())?;
            assert!(found.macs < dense.macs || widths == keep_counts(network.declaration(), &groups, 0.0), "{about}");
            let counted: u64 = small.weights().values().map(|tensor| tensor.elem_count() as u64).sum();
            assert_eq!(found.params, counted, "{about}");
            masked_equals_cut(&about, &small, &masked)?;
            rows += 1;
            moved += usize::from(works(&about, &small)?);
        }
    }
    // A network of single channels may be dead, and then no attack can move.
    assert!(2 * moved >= rows, "{}: attacks moved in {moved} of {rows} rows", serde_json::json!(choice));
    Ok(())
}

fn masked_equals_cut(about: &str, small: &Network, masked: &Network) -> Result<()> {
    let images = images()?.images;
    // Statistics of a batch of three 1x1 maps make rounding errors large: that mode is compared in f64.
    let f64s = (small.to_dtype(DType::F64)?, masked.to_dtype(DType::F64)?, images.to_dtype(DType::F64)?);
    for (small, masked, images, mode, tolerance) in [
        (small, masked, &images, Mode::Evaluate, 1e-4),
        (&f64s.0, &f64s.1, &f64s.2, Mode::TrainKeepingStatistics, 1e-9),
    ] {
        let (a, b) = (small.forward(images, mode)?, masked.forward(images, mode)?);
        let scale = 1.0 + b.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        let off = largest_difference(&a, &b)? / scale;
        assert!(off < tolerance, "{about} {mode:?}: off by {off:e}");
    }
    Ok(())
}

/// Saved and loaded it is the same; it is attacked, and takes a step of training. Whether the attack moved the images.
fn works(about: &str, small: &Network) -> Result<bool> {
    let (batch, cx) = (images()?, CallContext::unwatched(Streams::new(3)));
    let again = Network::from_bytes(&small.to_bytes()?, &Device::Cpu)?;
    let [a, b] = [&again, small].map(|network| network.forward(&batch.images, Mode::Evaluate));
    assert_eq!(largest_difference(&a?, &b?)?, 0.0, "{about}: saved and loaded");

    let threat = ThreatModel::default();
    let attack = PluginChoice::named("fgsm").make::<dyn Attack>()?;
    let frozen = again.freeze()?;
    let attacked = attack.attack(&cx, &frozen, &threat, &batch)?;
    check_inside(&threat, &batch.images, &attacked.images)?;
    assert!(attacked.loss.iter().all(|loss| loss.is_finite()), "{about}: {:?}", attacked.loss);
    let slope = frozen.input_gradient(&batch.images, &|logits| loss::cross_entropy_per_image(logits, &batch.labels))?;
    let has_slope = slope.gradient.abs()?.max_all()?.to_scalar::<f32>()? > 0.0;
    let moved = largest_difference(&attacked.images, &batch.images)? > 0.0;
    assert_eq!(moved, has_slope, "{about}: whether the attack moved");

    let before = again.snapshot()?;
    let mut trainer = PluginChoice::named("standard").make::<dyn AdversarialTrainer>()?;
    let step = TrainingStep { cx, epoch: 0, epochs: 1, label_smoothing: 0.0 };
    let loss = trainer.loss(&step, &again, &batch)?.loss;
    Sgd::new(&TrainingSettings::default()).step(&again, &loss.backward()?, 0.01)?;
    let after = again.snapshot()?;
    for (name, tensor) in &after {
        let sum = tensor.abs()?.sum_all()?.to_scalar::<f32>()?;
        assert!(sum.is_finite(), "{about}: `{name}` after a step");
    }
    let stands = |name: &str| largest_difference(&after[name], &before[name]).map(|moved| moved == 0.0);
    let last = after.keys().rfind(|name| ["linear", "fc", "head"].iter().any(|layer| name.starts_with(layer)));
    assert!(!last.map(|name| stands(name)).transpose()?.unwrap_or(false), "{about}: the classifier stood still");
    Ok(moved)
}

#[test]
fn half_of_each_small_network_has_exactly_these_widths() -> Result<()> {
    let cases = [
        (small("resnet", &[("depth", 8.into()), ("width", 6.into())]), vec![3, 3, 3, 6, 6, 6, 12, 12, 12, 7]),
        (
            // Between the blocks the padding shortcuts keep all channels.
            small("resnet", &[("depth", 8.into()), ("width", 6.into()), ("shortcut", "padding".into())]),
            vec![6, 3, 6, 6, 12, 12, 24, 7],
        ),
        (
            small("wide-resnet", &[("depth", 10.into()), ("widen", 2.into()), ("width", 4.into())]),
            vec![2, 4, 4, 4, 8, 8, 8, 16, 16, 16, 7],
        ),
        (
            small("vgg", &[("depth", 11.into()), ("width", 4.into()), ("head", "three-layer".into())]),
            vec![2, 4, 8, 8, 16, 16, 16, 16, 128, 128, 7],
        ),
        (
            small("mobilenet-v2", &[("width", 0.1.into()), ("divisor", 1.into())]),
            [
                // The stem, then each block's expansion, depthwise convolution and end; the first block has no expansion.
                vec![2, 2, 1],
                [[6, 6, 2], [9, 9, 2], [9, 9, 2], [9, 9, 2], [9, 9, 2]].concat(),
                [[9, 9, 3], [18, 18, 3], [18, 18, 3], [18, 18, 3], [18, 18, 5], [30, 30, 5], [30, 30, 5]].concat(),
                [[30, 30, 8], [48, 48, 8], [48, 48, 8], [48, 48, 16]].concat(),
                vec![640, 7],
            ]
            .concat(),
        ),
        (small("mobilevit", &[("width", 0.1.into())]), {
            // Queries, keys and values, of which half of each head goes; what is added to the tokens stays; half of the feed-forward.
            let transformer = [4, 4, 4, 8, 8, 8];
            let block = |channels: usize, count: usize| {
                [vec![channels, 8], transformer.repeat(count), vec![channels, channels]].concat()
            };
            let early = [vec![2], [4, 4, 2].repeat(5)].concat();
            let late = [vec![4, 4, 4], block(4, 4), vec![8, 8, 4], block(4, 3), vec![16, 7]].concat();
            [early, block(2, 2), late].concat()
        }),
        (small("densenet", &[("depth", 10.into()), ("growth", 4.into())]), vec![4, 8, 2, 3, 8, 2, 3, 8, 2, 7]),
    ];
    for (choice, expected) in cases {
        let declaration = declare(&choice, 16)?;
        let groups = channel_groups(&declaration)?;
        let scores: Vec<Vec<f64>> = groups.iter().map(|group| vec![1.0; group.channels]).collect();
        let plan = PruningPlan::keep_highest(&groups, &scores, &keep_counts(&declaration, &groups, 0.5));
        let half = mrpf_api::coupling::cut_declaration(&declaration, &plan)?;
        let widths: Vec<usize> = half
            .layers
            .iter()
            .filter_map(|layer| match &layer.kind {
                LayerKind::Conv2d(conv) => Some(conv.out_channels),
                LayerKind::Linear(linear) => Some(linear.out_features),
                _ => None,
            })
            .collect();
        assert_eq!(widths, expected, "{}", serde_json::json!(choice));
    }
    Ok(())
}
