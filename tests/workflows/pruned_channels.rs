//! Criteria against Torch-Pruning: the same networks, grouping and ratio, and the very channels that it keeps.

use mrpf_api::coupling::channel_groups;
use mrpf_api::network::{Layer, LayerKind, parameter_specs, statistic_specs};
use mrpf_api::prelude::*;
use mrpf_host::experiment::PluginChoice;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use mrpf_test_support::seeded::{filled, uniform};

const IMAGES: usize = 16;
/// Groups of MobileNetV2, of 25, in which Torch-Pruning meets another layer than a depthwise one first.
const DENSE_FIRST: usize = 8;
const SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };

/// A network, as `tests/fixtures/pruned_channels.py` recorded it.
#[derive(serde::Deserialize)]
struct Row {
    name: String,
    architecture: String,
    settings: serde_json::Map<String, Value>,
    /// By criterion and layer.
    kept: BTreeMap<String, BTreeMap<String, String>>,
}

impl Row {
    fn network(&self) -> Result<Network> {
        let choice = PluginChoice { name: self.architecture.clone(), settings: self.settings.clone() };
        let request = ArchitectureRequest { input: SHAPE, classes: 10, mean: vec![0.0; 3], std: vec![1.0; 3] };
        let declaration = choice.make::<dyn Architecture>()?.declare(&request)?;
        let fill = |specs: Vec<mrpf_api::network::TensorSpec>| -> Result<Weights> {
            specs.into_iter().map(|spec| Ok((spec.name.clone(), filled(&original(&spec.name), &spec.shape)?))).collect()
        };
        let (parameters, statistics) = (fill(parameter_specs(&declaration))?, fill(statistic_specs(&declaration))?);
        Network::from_tensors(declaration, parameters, statistics)
    }
}

/// What torchvision calls a layer or tensor of ours.
fn original(name: &str) -> String {
    let name = name.replace("shortcut", "downsample");
    name.strip_prefix("linear.").map_or(name.clone(), |role| format!("fc.{role}"))
}

fn data() -> Result<LoadedData> {
    let pixels = uniform("images", &[IMAGES, 3, 32, 32]).into_iter().map(|value| (value * 256.0) as u8).collect();
    let train = ImageSet::new(SHAPE, pixels, 255, (0..IMAGES as u32).map(|image| image % 10).collect(), 10)?;
    Ok(LoadedData {
        test: train.clone(),
        train,
        class_names: (0..10).map(|class| class.to_string()).collect(),
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
        mirror_keeps_class: true,
    })
}

/// How groups are ranked.
#[derive(PartialEq)]
enum Ranked {
    /// Each by itself.
    Apart,
    /// All together.
    Together,
    /// Each by itself, by the one layer that Torch-Pruning meets first; where that is depthwise, it takes the batch norm behind it
    /// instead, and the group is left out here.
    ByItsFirstLayer,
}

/// Names of the records, and the criterion that gives the same.
fn criteria() -> Vec<(&'static str, Ranked, PluginChoice)> {
    let choice = |name: &str, settings: Value| PluginChoice {
        name: name.into(),
        settings: settings.as_object().cloned().unwrap_or_default(),
    };
    let first = json!({ "reduction": "first" });
    // Depthwise convolutions never count there, and batch norms not in Taylor.
    let no_depthwise = json!({ "depthwise": false });
    let taylor = |form: &str| json!({ "form": form, "depthwise": false, "norms": false });
    vec![
        ("l1-first", Ranked::ByItsFirstLayer, choice("l1-norm", first.clone())),
        ("l2-first", Ranked::ByItsFirstLayer, choice("l2-norm", first)),
        ("group-l1", Ranked::Together, choice("group-norm", json!({ "depthwise": false, "power": 1.0 }))),
        ("group-l2", Ranked::Together, choice("group-norm", no_depthwise.clone())),
        ("lamp", Ranked::Together, choice("lamp", no_depthwise.clone())),
        ("fpgm", Ranked::Apart, choice("fpgm", json!({ "form": "coupled-squares" }))),
        // Divided by their mean there; what is ranked together here is divided below.
        ("bn-scale", Ranked::Together, choice("bn-scale", json!({}))),
        ("taylor", Ranked::Apart, choice("taylor", taylor("absolute"))),
        ("taylor-signed", Ranked::Apart, choice("taylor", taylor("signed"))),
        ("hessian", Ranked::Apart, choice("hessian-diagonal", no_depthwise)),
    ]
}

/// The smaller half, less one if the count is odd, goes: the n-th smallest score and all below it.
fn border(scores: &[f64]) -> f64 {
    let mut ordered = scores.to_vec();
    ordered.sort_by(f64::total_cmp);
    ordered[ordered.len() - ordered.len() / 2 - 1]
}

fn agrees(row: &Row, network: &Network, name: &str, ranked: &Ranked, choice: &PluginChoice) -> Result<usize> {
    let cx = CallContext::unwatched(Streams::new(0));
    let mut criterion = choice.make::<dyn Criterion>()?;
    criterion.prepare(&cx, network, &data()?)?;
    let groups = channel_groups(network.declaration())?;
    let free: Vec<&ChannelGroup> = groups.iter().filter(|group| group.frozen.is_none()).collect();
    let recorded = &row.kept[name];
    assert_eq!(recorded.len(), free.len(), "{} {name}: groups", row.name);
    let mut scores: Vec<Vec<f64>> = Vec::new();
    for group in &free {
        let mut group = (*group).clone();
        if *ranked == Ranked::ByItsFirstLayer {
            // That layer first, the others in forward order as before.
            group.members.sort_by_key(|member| !recorded.contains_key(&original(&member.layer)));
        }
        scores.push(criterion.scores(&cx, network, &group)?);
    }
    if name == "bn-scale" {
        for scores in &mut scores {
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            scores.iter_mut().for_each(|score| *score /= mean);
        }
    }
    let is_depthwise = |name: &str| {
        let of = |layer: &&Layer| original(&layer.name) == *name;
        network.declaration().layers.iter().find(of).is_some_and(|layer| match &layer.kind {
            LayerKind::Conv2d(conv) => conv.is_depthwise(),
            _ => false,
        })
    };
    let together = border(&scores.concat());
    let mut compared = 0;
    for (layer, digits) in recorded {
        let produces = |group: &&ChannelGroup| group.producers().any(|member| original(&member.layer) == *layer);
        let Some(at) = free.iter().position(produces) else { panic!("{} {name}: no group has `{layer}`", row.name) };
        if *ranked == Ranked::ByItsFirstLayer && is_depthwise(layer) {
            continue;
        }
        let border = if *ranked == Ranked::Together { together } else { border(&scores[at]) };
        let kept: Vec<usize> = (0..scores[at].len()).filter(|&channel| scores[at][channel] > border).collect();
        let bits = digits.chars().flat_map(|digit| {
            let digit = digit.to_digit(16).expect("a hexadecimal digit");
            (0..4).map(move |bit| (digit >> bit) & 1 == 1)
        });
        let expected: Vec<usize> = bits.enumerate().filter_map(|(channel, kept)| kept.then_some(channel)).collect();
        assert_eq!(kept, expected, "{} {name}: kept channels of `{layer}`", row.name);
        compared += 1;
    }
    Ok(compared)
}

#[test]
fn the_channels_that_torch_pruning_keeps_are_kept() -> Result<()> {
    let rows: Vec<Row> = serde_json::from_str(include_str!("../fixtures/pruned_channels.json")).expect("rows");
    assert_eq!(rows.len(), 4);
    for row in rows {
        let network = row.network()?;
        let mut names = Vec::new();
        for (name, ranked, choice) in criteria() {
            let compared = agrees(&row, &network, name, &ranked, &choice)?;
            let all = row.kept[name].len();
            let depthwise = row.architecture.starts_with("mobilenet") && ranked == Ranked::ByItsFirstLayer;
            assert_eq!(compared, if depthwise { DENSE_FIRST } else { all }, "{} {name} of {all}", row.name);
            names.push(name);
        }
        names.sort_unstable();
        assert_eq!(row.kept.keys().collect::<Vec<_>>(), names, "{}", row.name);
    }
    Ok(())
}
