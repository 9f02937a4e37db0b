//! What `mrpf import` and `mrpf export` answer to what cannot be used.

use mrpf_api::candle_core::safetensors::save;
use mrpf_api::prelude::*;
use std::collections::HashMap;

use crate::pruning::small;
use crate::support::Playground;

/// The state dictionary of a ResNet-8 of width 4 for 3x32x32 images in 10 classes, with torchvision's names.
pub fn tensors() -> Result<HashMap<String, Tensor>> {
    let choice = small("resnet", &[("depth", 8.into()), ("width", 4.into())]);
    let input = ImageShape { channels: 3, height: 32, width: 32 };
    let request = ArchitectureRequest { input, classes: 10, mean: vec![0.0; 3], std: vec![1.0; 3] };
    let declaration = choice.make::<dyn Architecture>()?.declare(&request)?;
    let network = Network::initialise(declaration, &Streams::new(5), DType::F32, &Device::Cpu)?;
    let theirs = |name: String| name.replace("shortcut", "downsample").replace("linear", "fc");
    let all = network.weights().into_iter().chain(network.statistics());
    Ok(all.map(|(name, tensor)| (theirs(name), tensor)).collect())
}

const IMPORT: [&str; 7] = ["import", "file", "--arch", "resnet8", "--set", "width=4", "--out"];

#[test]
fn files_that_are_no_state_dictionaries_are_answered_with_what_to_do() -> Result<()> {
    let ground = Playground::new();
    let import = |out: &str| ground.mrpf(&[&IMPORT[..], &[out]].concat());
    import("out").fails(4, &["cannot read file: No such file"]);
    ground.write("file", "PK\u{3}\u{4} and so on");
    let convert = ["importing file: it is a pickle", "torch.load(\"FILE.pth\"", "save_file("];
    import("out").fails(4, &convert);
    save(&tensors()?, ground.path("whole"))?;
    let whole = std::fs::read(ground.path("whole")).expect("a file");
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(ground.path("file"), &whole[..length]).expect("a file");
        import("out").fails(4, &["importing file: not a complete safetensors file", "cut off"]);
    }
    std::fs::write(ground.path("file"), &whole).expect("a file");
    assert!(!ground.path("out").exists());
    import("out").ok();
    import("out").fails(4, &["out exists already", "--out"]);
    std::fs::rename(ground.path("out"), ground.path("file")).expect("a rename");
    import("again").fails(4, &["it is a network of mrpf already", "mrpf summary --model"]);
    std::fs::create_dir(ground.path("folder")).expect("a folder");
    std::fs::write(ground.path("file"), &whole).expect("a file");
    import("folder").fails(4, &["folder exists already"]);
    import("file/below").fails(4, &["cannot write file/below"]);
    Ok(())
}

#[test]
fn weights_that_do_not_fit_are_told_by_name() -> Result<()> {
    let ground = Playground::new();
    let import = |change: &dyn Fn(&mut HashMap<String, Tensor>), arguments: &[&str]| {
        let mut tensors = tensors().expect("tensors");
        change(&mut tensors);
        save(&tensors, ground.path("file")).expect("a file");
        ground.mrpf(&[&["import", "file", "--out", "out"], arguments].concat())
    };
    let usual = ["--arch", "resnet8", "--set", "width=4"];
    let same = |_: &mut HashMap<String, Tensor>| {};
    let with = |more: &[&'static str]| [&usual[..], more].concat();
    import(&same, &["--arch", "resnet14", "--set", "width=4"]).fails(
        4,
        &[
            "the file does not hold this `resnet` for 3x32x32 images in 10 classes, by the names of `torchvision`",
            "30 missing:",
            "`layer1.1.conv1.weight`",
            "and 24 more",
            "mrpf plugins show resnet",
        ],
    );
    import(&same, &["--arch", "vgg11"]).fails(4, &["the file does not hold this `vgg`", "missing:", "left over:"]);
    import(&same, &["--arch", "resnet8"]).fails(4, &["of another shape:", "`bn1.bias`: [4], expected [16]"]);
    let rename = |tensors: &mut HashMap<String, Tensor>| {
        let tensor = tensors.remove("layer1.0.conv2.weight").expect("a weight");
        tensors.insert("layer1.0.convolution2.weight".into(), tensor);
    };
    import(&rename, &usual).fails(
        4,
        &[
            "1 missing:\n    `layer1.0.conv2.weight`, nearest in the file: `layer1.0.convolution2.weight`",
            "1 left over:\n    `layer1.0.convolution2.weight`, nearest wanted: `layer1.0.conv2.weight`",
        ],
    );
    // Your own names mend it.
    ground.write("mine.toml", "about = \"mine\"\n[resnet]\nrename = [[\"layer{s}.{b}.convolution{n}\", \"layer{s}.{b}.conv{n}\"], [\"fc\", \"linear\"], [\"layer{s}.{b}.downsample.{p}\", \"layer{s}.{b}.shortcut.{p}\"]]\n");
    import(&rename, &with(&["--names", "mine.toml"])).ok();
    std::fs::remove_file(ground.path("out")).expect("a network");
    import(&same, &with(&["--names", "torchvison"]))
        .fails(2, &["unknown convention of names `torchvison`", "did you mean `torchvision`?"]);
    import(&same, &with(&["--names", "trades"]))
        .fails(4, &["by the names of `trades`", "`fc.weight`", "`linear.weight`"]);
    import(&same, &with(&["--mean", "0.5,0.5", "--std", "1,1"])).fails(2, &["2 means and 2 deviations for 3 channels"]);
    import(&same, &with(&["--mean", "0.5", "--std", "0"])).fails(2, &["deviations above 0"]);
    import(&same, &with(&["--mean", "0.5"])).fails(2, &["--std"]);
    import(&same, &with(&["--input", "1x8x8"])).fails(4, &["`conv1.weight`: [4, 3, 3, 3], expected [4, 1, 3, 3]"]);
    import(&same, &with(&["--data", "digits"])).fails(4, &["`conv1.weight`: [4, 3, 3, 3], expected [4, 1, 3, 3]"]);
    import(&same, &["--like", "nowhere"]).fails(4, &["reading the network nowhere"]);
    import(&same, &[]).fails(2, &["--arch <NAME>"]);
    let half = |tensors: &mut HashMap<String, Tensor>| {
        let counts = Tensor::zeros((4, 3, 3, 3), DType::U8, &Device::Cpu).expect("a tensor");
        tensors.insert("conv1.weight".into(), counts);
    };
    import(&half, &usual)
        .fails(4, &["1 that cannot be taken for weights:\n    `conv1.weight`: holds u8, expected f32", "quantised"]);
    let grey = |tensors: &mut HashMap<String, Tensor>| {
        let classes = Tensor::zeros((5, 16), DType::F32, &Device::Cpu).expect("a tensor");
        tensors.insert("fc.weight".into(), classes);
        tensors.insert("fc.bias".into(), Tensor::zeros(5, DType::F32, &Device::Cpu).expect("a tensor"));
        tensors.insert("conv1.weight".into(), Tensor::zeros((4, 1, 3, 3), DType::F32, &Device::Cpu).expect("a tensor"));
    };
    import(&grey, &with(&["--data", "digits"]))
        .fails(4, &["the weights tell 5 classes apart, but the data set has 10", "--data"]);
    Ok(())
}

#[test]
fn a_fused_layer_whose_rows_do_not_fit_is_told_by_name() -> Result<()> {
    let ground = Playground::new();
    let choice = small("mobilevit", &[("width", 0.1.into())]);
    let input = ImageShape { channels: 3, height: 32, width: 32 };
    let request = ArchitectureRequest { input, classes: 10, mean: vec![0.0; 3], std: vec![1.0; 3] };
    let declaration = choice.make::<dyn Architecture>()?.declare(&request)?;
    let network = Network::initialise(declaration, &Streams::new(5), DType::F32, &Device::Cpu)?;
    let ours: Weights = network.weights().into_iter().chain(network.statistics()).collect();
    let mut theirs: HashMap<String, Tensor> = HashMap::new();
    for (name, tensor) in &ours {
        match name.split_once(".query.") {
            Some((layer, role)) => {
                let [key, value] = ["key", "value"].map(|part| &ours[&format!("{layer}.{part}.{role}")]);
                theirs.insert(format!("{layer}.qkv.{role}"), Tensor::cat(&[tensor, key, value], 0)?);
            }
            None if name.contains(".attn.key.") || name.contains(".attn.value.") => {}
            None => drop(theirs.insert(name.clone(), tensor.clone())),
        }
    }
    let block = "stages.2.1.transformer.0.attn";
    let (weight, bias) = (format!("{block}.qkv.weight"), format!("{block}.qkv.bias"));
    let import = |changed: &[(&str, Tensor)], width: &str| {
        let mut tensors = theirs.clone();
        tensors.extend(changed.iter().map(|(name, tensor)| (String::from(*name), tensor.clone())));
        save(&tensors, ground.path("file")).expect("a file");
        ground.mrpf(&["import", "file", "--arch", "mobilevit", "--set", width, "--out", "out"])
    };
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
    let told = format!(
        "by the names of `timm`\n  2 whose rows cannot be split:\n    `{bias}`: [], expected as many rows of each of \
         `{block}.query.bias`, `{block}.key.bias`, `{block}.value.bias`\n    `{weight}`: [25, 8], expected as many rows"
    );
    import(&[(&weight, zeros(&[25, 8])?), (&bias, zeros(&[])?)], "width=0.1").fails(4, &[&told]);
    import(&[(&weight, zeros(&[27, 8])?)], "width=0.1")
        .fails(4, &["3 of another shape:", &format!("`{weight}[9:18]`: [9, 8], expected [8, 8]")]);
    import(&[], "width=0.2").fails(4, &["of another shape:", "by the names of `timm`"]);
    let told = import(&[], "width=0.1").ok().stdout;
    assert!(told.contains("names       timm"), "{told}");
    Ok(())
}

#[test]
fn an_export_overwrites_nothing_and_says_where_it_cannot_write() -> Result<()> {
    let ground = Playground::new();
    save(&tensors()?, ground.path("file"))?;
    ground.mrpf(&[&IMPORT[..], &["my-net.safetensors"]].concat()).ok();
    let export = |out: &str, more: &[&str]| {
        ground.mrpf(&[&["export", "my-net.safetensors", "--format", "pytorch", "--out", out], more].concat())
    };
    let told = export("out", &[]).ok().stdout;
    assert!(told.contains("import my_net; network = my_net.load()"), "{told}");
    let before = ground.read("out/my_net.py");
    export("out", &[]).fails(4, &["out/my_net.py exists already", "--name"]);
    assert_eq!(ground.read("out/my_net.py"), before);
    // A folder with other things in it is fine.
    export("out", &["--name", "other"]).ok();
    ground.write("taken", "a file");
    export("taken", &[]).fails(4, &["cannot write taken/my_net.py"]);
    ground
        .mrpf(&["export", "file", "--format", "pytorch", "--out", "x"])
        .fails(4, &["reading the network file: the file carries no network declaration"]);
    ground.mrpf(&["export", "my-net.safetensors", "--format", "onnx", "--out", "x"]).fails(2, &["onnx", "pytorch"]);
    assert!(!ground.path("x").exists());
    Ok(())
}

#[test]
fn the_help_of_both_commands() {
    let ground = Playground::new();
    for command in ["import", "export"] {
        insta::assert_snapshot!(format!("{command}_help"), ground.mrpf(&[command, "--help"]).ok().stdout);
    }
}
