//! Networks to and from PyTorch.

use mrpf_api::candle_core::safetensors::save;
use mrpf_api::coupling::{PruningPlan, channel_groups, cut};
use mrpf_api::network::tensors_to_bytes;
use mrpf_api::prelude::*;
use mrpf_host::exchange::{Normalisation, Request, StateDict, Template, import, pytorch};
use mrpf_host::experiment::{PluginChoice, architecture};
use mrpf_test_support::{Fixture, every_kind, largest_difference};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use crate::pruning::{declare, keep_counts, small, varied};
use crate::support::{Playground, Ran, repository};
use mrpf_test_support::seeded::{filled, outputs, uniform};

const MEAN: [f64; 3] = [0.4914, 0.4822, 0.4465];
const STD: [f64; 3] = [0.2470, 0.2435, 0.2616];

fn square(side: usize) -> ImageShape {
    ImageShape { channels: 3, height: side, width: side }
}

/// A network of others, as `tests/fixtures/exchange.py` recorded it.
#[derive(serde::Deserialize)]
pub struct Row {
    pub name: String,
    names: String,
    pub arch: String,
    pub set: Vec<String>,
    side: usize,
    tensors: BTreeMap<String, Vec<usize>>,
}

pub fn rows() -> Vec<Row> {
    serde_json::from_str(include_str!("../fixtures/exchange.json")).expect("a list of rows")
}

impl Row {
    /// The tensors as PyTorch had them, under their original names.
    pub fn tensors(&self) -> Result<HashMap<String, Tensor>> {
        let mut tensors = HashMap::new();
        for (name, shape) in &self.tensors {
            let tensor = match name.rsplit('.').next() {
                Some("num_batches_tracked") => Tensor::new(0_i64, &Device::Cpu)?,
                Some("mean" | "mu") => Tensor::new(&MEAN, &Device::Cpu)?.reshape(shape.as_slice())?,
                Some("std" | "sigma") => Tensor::new(&STD, &Device::Cpu)?.reshape(shape.as_slice())?,
                _ => filled(name, shape)?.to_dtype(DType::F32)?,
            };
            tensors.insert(name.clone(), tensor);
        }
        Ok(tensors)
    }

    fn has_buffers(&self) -> bool {
        self.tensors.keys().any(|name| name.ends_with(".mean") || name == "mu")
    }

    fn request(&self) -> Result<Request> {
        let mut choice = PluginChoice::named(&self.arch);
        for text in &self.set {
            let (key, value) = text.split_once('=').expect("an assignment");
            choice = choice.with(key, serde_json::from_str(value).unwrap_or(serde_json::Value::from(value)));
        }
        let said = Normalisation { mean: MEAN.into(), std: STD.into(), source: "the test".into() };
        Ok(Request {
            template: Template::Architecture(architecture(&choice)?),
            // Weights do not tell the size of these images, but 32 is what is tried first unless the first kernel is large.
            input: (self.set.contains(&"form=imagenet".to_owned())).then_some(square(self.side)),
            normalisation: (!self.has_buffers()).then_some(said),
            names: None,
        })
    }
}

fn bytes(tensors: &HashMap<String, Tensor>) -> Vec<u8> {
    let sorted: BTreeMap<_, _> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    tensors_to_bytes(&sorted, []).expect("bytes")
}

#[test]
fn imported_networks_give_the_logits_and_gradients_of_their_originals() -> Result<()> {
    let recorded = Fixture::load("exchange")?;
    let mut seen = Vec::new();
    for row in rows() {
        let name = &row.name;
        let imported = import(&StateDict::from_bytes(&bytes(&row.tensors()?))?, &row.request()?)?;
        assert_eq!(imported.names.name, row.names, "{name}");
        let declaration = imported.network.declaration();
        assert_eq!((declaration.input.dims(), declaration.classes), ([3, row.side, row.side], 10), "{name}");
        let shape = [1, 3, row.side, row.side];
        let images = Tensor::from_vec(uniform("images", &shape), &shape, &Device::Cpu)?;
        let expected = recorded.tensor(&format!("{name}.gradient"))?.to_vec1::<f64>()?;
        let length = expected.iter().map(|value| value * value).sum::<f64>().sqrt();
        // In f32 ReLUs whose inputs are nearly zero open or close, and a path through many layers multiplies what is rounded.
        for (dtype, near, gradient_near) in [(DType::F64, 1e-9, 1e-9), (DType::F32, 1e-4, 3e-2)] {
            let (logits, gradient) = outputs(&imported.network.to_dtype(dtype)?, &images)?;
            let scale = logits.abs()?.max_all()?.to_scalar::<f64>()?.max(1.0);
            let off = largest_difference(&logits, recorded.tensor(&format!("{name}.logits"))?)? / scale;
            assert!(off < near, "{name} {dtype:?}: logits off by {off:e}");
            let squares = gradient.iter().zip(&expected).map(|(a, b)| (a - b) * (a - b));
            let gradient_off = squares.sum::<f64>().sqrt() / length;
            println!("{name} {dtype:?}: logits off by {off:.1e}, gradient by {gradient_off:.1e}");
            assert!(gradient_off < gradient_near, "{name} {dtype:?}: gradient off by {gradient_off:e}");
        }
        seen.push(declaration.architecture.clone());
    }
    for plugin in mrpf_api::registry::registrations().into_iter().filter(|plugin| plugin.kind() == Kind::Architecture) {
        assert!(seen.iter().any(|name| name == plugin.name), "no original of `{}` is imported", plugin.name);
    }
    Ok(())
}

#[test]
fn classes_and_images_are_read_off_the_weights_as_far_as_they_tell() -> Result<()> {
    for (name, settings, shape, classes, found) in [
        ("vgg", vec![("depth", 11.into()), ("width", 4.into())], [3, 64, 64], 7, [3, 64, 64]),
        ("vgg", vec![("depth", 11.into()), ("width", 4.into())], [1, 28, 28], 10, [1, 32, 32]),
        ("vgg", vec![("depth", 11.into()), ("width", 4.into())], [3, 224, 224], 10, [3, 224, 224]),
        ("resnet", vec![("depth", 8.into()), ("width", 4.into())], [2, 8, 8], 100, [2, 32, 32]),
        (
            "resnet",
            vec![("depth", 18.into()), ("width", 4.into()), ("form", "imagenet".into())],
            [3, 32, 32],
            3,
            [3, 224, 224],
        ),
    ] {
        let choice = small(name, &settings);
        let [channels, height, width] = shape;
        let input = ImageShape { channels, height, width };
        let request = ArchitectureRequest { input, classes, mean: vec![0.0; channels], std: vec![1.0; channels] };
        let declaration = choice.make::<dyn Architecture>()?.declare(&request)?;
        let network = Network::initialise(declaration, &Streams::new(2), DType::F32, &Device::Cpu)?;
        let tensors: HashMap<_, _> = network.weights().into_iter().chain(network.statistics()).collect();
        let request =
            Request { template: Template::Architecture(choice), input: None, normalisation: None, names: None };
        let imported = import(&StateDict::from_bytes(&bytes(&tensors))?, &request)?;
        let declaration = imported.network.declaration();
        assert_eq!((declaration.input.dims(), declaration.classes), (found, classes), "{name} {settings:?}");
        assert!(imported.size_assumed);
    }
    Ok(())
}

/// As `safetensors.torch.save_file` would leave it.
fn write_original(row: &Row, path: &Path) -> Result<()> {
    Ok(save(&row.tensors()?, path)?)
}

/// Of each convention of names one that is imported, exported and imported again.
const RETURNED: [&str; 6] = [
    "chenyaofo-resnet20",
    "akamaster-resnet20",
    "wrapped-sequential",
    "gpleiss-densenet",
    "timm-mobilenet",
    "timm-mobilevit-xxs",
];

#[test]
fn what_was_exported_is_imported_as_the_same_bytes() -> Result<()> {
    let ground = Playground::new();
    for row in rows() {
        if !RETURNED.contains(&row.name.as_str()) {
            continue;
        }
        write_original(&row, &ground.path("original.safetensors"))?;
        let [first, second, folder] = ["first", "second", "out"].map(|part| format!("{}-{part}", row.name));
        let (input, set) = (format!("3x{0}x{0}", row.side), row.set.join(" "));
        let arch = |file: &str, out: &str| {
            let mut arguments = vec!["import", file, "--arch", &row.arch, "--input", &input, "--out", out];
            set.split_whitespace().for_each(|set| arguments.extend(["--set", set]));
            ground.mrpf(&arguments).ok().stdout
        };
        let told = arch("original.safetensors", &first);
        assert!(told.contains(&format!("names       {} (", row.names)), "{told}");
        ground.mrpf(&["export", &first, "--format", "pytorch", "--name", "again", "--out", &folder]).ok();
        let told = arch(&format!("{folder}/again.safetensors"), &second);
        assert!(told.contains("`normalize.mean` and `normalize.std` in the file"), "{told}");
        let read = |name: &str| std::fs::read(ground.path(name)).expect("a file");
        assert_eq!(read(&first), read(&second), "{}", row.name);
    }
    Ok(())
}

#[test]
fn an_imported_network_goes_through_every_command() -> Result<()> {
    let ground = Playground::new();
    // A network of pytorch-cifar-models for grey images of 8x8 pixels, in half precision.
    let declared = small("resnet", &[("depth", 8.into()), ("width", 4.into())]);
    let request = ArchitectureRequest {
        input: ImageShape { channels: 1, height: 8, width: 8 },
        classes: 10,
        mean: vec![0.5],
        std: vec![0.5],
    };
    let declaration = declared.make::<dyn Architecture>()?.declare(&request)?;
    let fresh = Network::initialise(declaration, &Streams::new(5), DType::F16, &Device::Cpu)?;
    let theirs = |name: String| name.replace("shortcut", "downsample").replace("linear", "fc");
    let tensors: HashMap<String, Tensor> =
        fresh.weights().into_iter().chain(fresh.statistics()).map(|(name, tensor)| (theirs(name), tensor)).collect();
    save(&tensors, ground.path("theirs.safetensors"))?;
    let import = ["import", "theirs.safetensors", "--arch", "resnet8", "--set", "width=4", "--data", "digits"];
    let told = ground.mrpf(&[&import[..], &["--out", "ours.safetensors"]].concat()).ok().stdout;
    for text in ["names       torchvision", "1x8x8 in 10 classes", "data set `digits`", "tensors from f16 to f32"] {
        assert!(told.contains(text), "{told}");
    }
    let summary = ground.mrpf(&["summary", "--model", "ours.safetensors"]).ok().stdout;
    assert!(summary.contains("layer3.0.shortcut.0"), "{summary}");
    let few = ["--set", "evaluate.images=60", "--set", "prune.sensitivity.images=40"];
    let settings = ["--set", "evaluate.attacks=[{ name = \"pgd\", steps = 2, step_size = 0.05 }]"];
    for (command, out, result) in [
        ("evaluate", "a", "results.json"),
        ("prune", "b", "networks/mrs-l1-norm.safetensors"),
        ("sensitivity", "c", "sensitivity/mrs.json"),
    ] {
        let arguments =
            [&[command, "ours.safetensors", "--data", "digits", "--out", out], &few[..], &settings].concat();
        ground.mrpf(&arguments).ok();
        assert!(ground.path(out).join(result).is_file(), "{command}");
    }
    // The pruned network leaves and comes back.
    let pruned = "b/networks/mrs-l1-norm.safetensors";
    ground.mrpf(&["export", pruned, "--format", "pytorch", "--out", "exported"]).ok();
    let back = ["import", "exported/mrs_l1_norm.safetensors", "--like", pruned, "--out", "back.safetensors"];
    ground.mrpf(&back).ok();
    let read = |name: &str| std::fs::read(ground.path(name)).expect("a file");
    assert_eq!(read(pruned), read("back.safetensors"));
    Ok(())
}

/// Every architecture pruned to half, and a network with every kind of layer.
fn pruned() -> Result<Vec<(String, Network)>> {
    let mut all = Vec::new();
    for (name, side, settings) in [
        ("resnet", 16, vec![("depth", 20.into()), ("width", 8.into())]),
        ("resnet", 16, vec![("depth", 8.into()), ("width", 8.into()), ("shortcut", "padding".into())]),
        ("resnet", 16, vec![("depth", 50.into()), ("width", 8.into()), ("form", "imagenet".into())]),
        ("preact-resnet", 16, vec![("depth", 18.into()), ("width", 8.into())]),
        ("wide-resnet", 16, vec![("depth", 16.into()), ("widen", 2.into()), ("width", 8.into())]),
        ("vgg", 16, vec![("depth", 16.into()), ("width", 8.into())]),
        ("vgg", 16, vec![("depth", 11.into()), ("width", 8.into()), ("head", "three-layer".into())]),
        ("mobilenet-v2", 16, vec![("width", 0.25.into())]),
        ("densenet", 16, vec![("depth", 22.into()), ("growth", 8.into())]),
        ("mobilevit", 16, vec![("size", "xxs".into())]),
        ("mobilevit", 16, vec![("size", "xs".into()), ("attention_unit", "head".into())]),
        // The second block sees a map of 3x3, which is no multiple of the patch.
        ("mobilevit", 48, vec![("size", "xxs".into()), ("width", 0.5.into()), ("form", "imagenet".into())]),
    ] {
        let network = varied(declare(&small(name, &settings), side)?)?;
        let groups = channel_groups(network.declaration())?;
        let scores: Vec<Vec<f64>> = groups
            .iter()
            .map(|group| (0..group.channels).map(|channel| f64::from(channel as u32 * 7 % 5)).collect())
            .collect();
        let keep = keep_counts(network.declaration(), &groups, 0.5);
        all.push((
            pytorch::module_name(&format!("{name}_{}", all.len())),
            cut(&network, &PruningPlan::keep_highest(&groups, &scores, &keep))?,
        ));
    }
    all.push(("every_kind".into(), varied(every_kind()?)?));
    Ok(all)
}

#[test]
fn exported_networks_give_in_pytorch_what_they_give_here() -> Result<()> {
    let ground = Playground::new();
    let mut names = Vec::new();
    for (name, network) in pruned()? {
        std::fs::write(ground.path(&format!("{name}.model")), network.to_bytes()?).expect("a file");
        let model = format!("{name}.model");
        ground.mrpf(&["export", &model, "--format", "pytorch", "--out", "out"]).ok();
        let [channels, height, width] = network.declaration().input.dims();
        let shape = [4, channels, height, width];
        let images = Tensor::from_vec(uniform("images", &shape), &shape, &Device::Cpu)?.to_dtype(DType::F32)?;
        // In f64: what PyTorch is off by is its own rounding. The file's mean and deviation, in f32, are exact.
        let double = network.to_dtype(DType::F64)?.freeze()?;
        let at = double.input_gradient(&images.to_dtype(DType::F64)?, &|logits| Ok(logits.sum(1)?))?;
        let expected = [("images", images.to_dtype(DType::F64)?), ("logits", at.logits), ("gradient", at.gradient)];
        let expected: HashMap<&str, Tensor> = expected.into_iter().collect();
        save(&expected, ground.path("out").join(format!("{name}.expected.safetensors")))?;
        names.push(name);
    }
    let Some(python) = std::env::var_os("MRPF_PYTHON") else {
        // Not by `println!`, which is only shown of tests that fail.
        let told = b"skipped: running exports in PyTorch, as MRPF_PYTHON names no Python with torch and safetensors\n";
        std::io::stderr().write_all(told).expect("stderr");
        return Ok(());
    };
    let script = repository("tests/fixtures/exported.py");
    let mut command = std::process::Command::new(python);
    let output = command.arg(script).arg(ground.path("out")).args(&names).output().expect("Python starts");
    let ran = Ran::new(&["exported.py"], output).ok();
    println!("{}", ran.stdout);
    let found: Vec<serde_json::Value> = ran.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(found.len(), 2 * names.len(), "{}", ran.stdout);
    for row in found {
        let [logits, gradient] = ["logits", "gradient"].map(|what| row[what].as_f64().expect("a number"));
        // In f32 ReLUs whose inputs are nearly zero open or close.
        let (near, gradient_near) = if row["double"] == true { (1e-9, 1e-9) } else { (1e-4, 1e-2) };
        assert!(logits < near && gradient < gradient_near, "{row}");
    }
    Ok(())
}
