//! Networks whose numbers ask for more memory or time than anybody has, from files and by settings.

use mrpf_api::network::tensors_to_bytes;
use mrpf_api::prelude::*;
use mrpf_test_support::every_kind;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Playground, Ran};

/// More than the program itself needs, and less than any of these would take.
const MEMORY_KIB: &str = "3000000";
const SOON: Duration = Duration::from_secs(20);

/// Runs the program with little memory, and asserts that it ends soon.
fn bounded(ground: &Playground, arguments: &[&str]) -> Ran {
    let start = Instant::now();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v \"$0\"; exec \"$@\"", MEMORY_KIB]).arg(env!("CARGO_BIN_EXE_mrpf")).args(arguments);
    shell.current_dir(ground.path(".")).env("XDG_CONFIG_HOME", ground.path("config")).env_remove("RUST_BACKTRACE");
    let ran = Ran::new(arguments, shell.output().expect("the program starts"));
    assert!(start.elapsed() < SOON, "{arguments:?} took {:?}", start.elapsed());
    ran
}

/// What is done to a declaration.
type Change = Box<dyn Fn(&mut Value)>;

fn set(declaration: &mut Value, layer: &str, change: impl FnOnce(&mut Value)) {
    let layers = declaration["layers"].as_array_mut().expect("layers");
    change(layers.iter_mut().find(|found| found["name"] == layer).expect("a layer"));
}

#[test]
fn a_file_asks_for_no_memory_and_no_time() -> Result<()> {
    let ground = Playground::new();
    let network = Network::initialise(every_kind()?, &Streams::new(1), DType::F32, &Device::Cpu)?;
    let tensors: Weights = network.weights().into_iter().chain(network.statistics()).collect();
    let whole = serde_json::to_value(network.declaration()).expect("JSON");
    let relu = |name: String, input: &str| serde_json::json!({ "name": name, "kind": "relu", "inputs": [input] });
    let changes: Vec<(&str, Change)> = vec![
        ("expected less", Box::new(|all| set(all, "stem.conv", |layer| layer["padding"] = 1_000_000.into_pair()))),
        ("expected less", Box::new(|all| set(all, "stem.conv", |layer| layer["padding"] = u64::MAX.into_pair()))),
        ("stride 1000000", Box::new(|all| set(all, "stem.conv", |layer| layer["stride"] = 1_000_000.into_pair()))),
        ("stride 1000000", Box::new(|all| set(all, "pad", |layer| layer["stride"] = 1_000_000.into()))),
        (
            "channels, expected at most",
            Box::new(|all| set(all, "pad", |layer| layer["channels"] = (1_u64 << 63).into())),
        ),
        ("resizes to 16384x16384", Box::new(|all| set(all, "tall", |layer| layer["size"] = 16384.into_pair()))),
        ("classes, expected at most", Box::new(|all| all["classes"] = 100_000_000.into())),
        (
            "inputs, expected at most",
            Box::new(|all| set(all, "sum", |layer| layer["inputs"] = vec!["relu6"; 200_000].into())),
        ),
        (
            "more than 5000 layers",
            Box::new(move |all| {
                let layers = all["layers"].as_array_mut().expect("layers");
                layers.extend((0..100_000).map(|at| relu(format!("more{at}"), "class")));
            }),
        ),
    ];
    for (told, change) in changes {
        let mut declaration = whole.clone();
        change(&mut declaration);
        let header = [("mrpf.format", "1".to_owned()), ("mrpf.declaration", declaration.to_string())];
        std::fs::write(ground.path("file"), tensors_to_bytes(&tensors, header)?).expect("a file");
        bounded(&ground, &["summary", "--model", "file"])
            .fails(4, &["reading the network file: the saved declaration: ", told]);
    }
    Ok(())
}

/// A height and a width.
trait IntoPair {
    fn into_pair(self) -> Value;
}

impl<T: Into<Value>> IntoPair for T {
    fn into_pair(self) -> Value {
        let value = self.into();
        Value::Array(vec![value.clone(), value])
    }
}

#[test]
fn settings_that_no_machine_can_fulfil_are_refused_as_settings() {
    let ground = Playground::new();
    for (arguments, told) in [
        (vec!["--arch", "resnet20", "--classes", "1000000000"], "1000000000 classes, expected at most"),
        (vec!["--arch", "resnet999999999"], "the number 999999999 behind"),
        (vec!["--arch", "resnet99999999999999999999"], "the number 99999999999999999999 behind"),
        (vec!["--arch", "wide-resnet-999999999-10"], "the number 999999999 behind"),
        (vec!["--arch", "wide-resnet-1000-64", "--set", "width=256"], "in all layers up to this one"),
        (vec!["--arch", "densenet-1000-512"], "in all layers up to this one"),
        (vec!["--arch", "vgg16", "--set", "width=999999999"], "setting `width`: found 999999999"),
        (vec!["--arch", "resnet20", "--input", "999999999x32x32"], "--input 999999999x32x32"),
        (vec!["--arch", "wide-resnet-28-10", "--input", "3x16384x16384"], "values for each image"),
    ] {
        bounded(&ground, &[&["summary"], &arguments[..]].concat()).fails(2, &[told]);
    }
}

#[test]
fn networks_in_use_stay_far_within_the_bounds() {
    let ground = Playground::new();
    for arch in [
        "resnet152",
        "resnet-50-imagenet",
        "wide-resnet-70-16",
        "vgg19",
        "mobilenet-v2",
        "mobilevit-s",
        "densenet-190-40",
        "densenet-201-32-imagenet",
        "preact-resnet-34",
    ] {
        for (classes, input) in [("1000", "3x1024x1024"), ("21841", "3x224x224"), ("10", "3x32x32"), ("10", "13x64x64")]
        {
            bounded(&ground, &["summary", "--arch", arch, "--classes", classes, "--input", input]).ok();
        }
    }
}
