//! Checkpoints that hold more than weights: counters, states of optimisers, masks, scores and second copies.

use mrpf_api::candle_core::safetensors::save;
use mrpf_api::prelude::*;
use std::collections::HashMap;

use crate::exchange_refusals::tensors;
use crate::support::{Playground, Ran};

type Tensors = HashMap<String, Tensor>;

const USUAL: [&str; 4] = ["--arch", "resnet8", "--set", "width=4"];

fn import(ground: &Playground, tensors: &Tensors, more: &[&str]) -> Ran {
    save(tensors, ground.path("file")).expect("a file");
    let _ = std::fs::remove_file(ground.path("out"));
    ground.mrpf(&[&["import", "file", "--out", "out"], &USUAL[..], more].concat())
}

/// What is printed, and what is written.
fn imported(ground: &Playground, tensors: &Tensors, more: &[&str]) -> (String, Vec<u8>) {
    let told = import(ground, tensors, more).ok().stdout;
    (told, std::fs::read(ground.path("out")).expect("a network"))
}

fn below(prefix: &str, tensors: Tensors) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect()
}

fn number(value: f32) -> Tensor {
    Tensor::new(value, &Device::Cpu).expect("a number")
}

fn row(values: &[f32]) -> Tensor {
    Tensor::new(values, &Device::Cpu).and_then(|row| row.reshape((values.len(), 1, 1))).expect("a row")
}

#[test]
fn what_is_no_weight_is_left_out_and_told() -> Result<()> {
    let ground = Playground::new();
    let (_, plain) = imported(&ground, &tensors()?, &[]);
    let count = Tensor::new(3_i64, &Device::Cpu)?;
    let mut averaged = below("module.", tensors()?);
    averaged.insert("n_averaged".into(), count.clone());
    let mut counted = tensors()?;
    for layer in ["", "conv1.", "layer1.", "layer1.0.conv1."] {
        counted.insert(format!("{layer}total_ops"), number(1e9));
        counted.insert(format!("{layer}total_params"), number(1e6));
    }
    let mut checkpoint = below("state_dict.", tensors()?);
    checkpoint.insert("epoch".into(), count);
    checkpoint.insert("best_acc".into(), number(f32::INFINITY));
    for at in 0..30 {
        checkpoint.insert(format!("optimizer.state.{at}.momentum_buffer"), row(&[1.0; 4]));
    }
    for (tensors, told) in [
        (averaged, vec!["ignored     1 counters of averages, steps and epochs", "`module.` in front of all of them"]),
        (counted, vec!["ignored     8 counts of operations and parameters, as thop"]),
        (
            checkpoint,
            vec![
                "ignored     1 figures of the training",
                "ignored     1 counters of averages, steps and epochs",
                "ignored     30 states of optimisers and schedules",
                "`state_dict.` in front",
            ],
        ),
    ] {
        let (text, network) = imported(&ground, &tensors, &[]);
        for told in told {
            assert!(text.contains(told), "`{told}` is not in\n{text}");
        }
        assert_eq!(network, plain);
    }
    Ok(())
}

#[test]
fn the_robustness_library_wraps_its_networks_twice() -> Result<()> {
    let ground = Playground::new();
    let (mean, std) = (row(&[0.5, 0.25, 0.125]), row(&[0.5, 0.75, 1.0]));
    let expected = ["--mean", "0.5,0.25,0.125", "--std", "0.5,0.75,1"];
    let (_, plain) = imported(&ground, &tensors()?, &expected);
    let mut both = below("module.model.", tensors()?);
    both.extend(below("module.attacker.model.", tensors()?));
    for place in ["module.normalizer", "module.attacker.normalize"] {
        both.insert(format!("{place}.new_mean"), mean.clone());
        both.insert(format!("{place}.new_std"), std.clone());
    }
    let (told, network) = imported(&ground, &both, &[]);
    for text in
        ["copies of others", "2 copies of means and deviations", "by mean 0.5, 0.25, 0.125 and deviation 0.5, 0.75, 1"]
    {
        assert!(told.contains(text), "{told}");
    }
    assert_eq!(network, plain);
    // The same by somebody's own names.
    let rename =
        r#"[["module.model.*", "*"], ["fc", "linear"], ["layer{s}.{b}.downsample.{p}", "layer{s}.{b}.shortcut.{p}"]]"#;
    let names = format!(
        "about = \"x\"\n[resnet]\nignore = [\"module.attacker.*\", \"module.normalizer\"]\nrename = {rename}\n"
    );
    ground.write("madry.toml", &names);
    assert_eq!(imported(&ground, &both, &["--names", "madry.toml"]).1, plain);
    // Another network in the place of the copy is another network.
    both.insert("module.attacker.model.bn1.bias".into(), Tensor::ones(4, DType::F32, &Device::Cpu)?);
    import(&ground, &both, &[]).fails(4, &["1 left over:\n    `module.attacker.model.bn1.bias`"]);
    Ok(())
}

#[test]
fn a_mean_or_a_deviation_alone_is_used() -> Result<()> {
    let ground = Playground::new();
    for (name, values, options, told) in [
        (
            "mean",
            [0.5, 0.25, 0.125],
            ["--mean", "0.5,0.25,0.125", "--std", "1"],
            "`mean` in the file, which has no deviation",
        ),
        ("std", [0.5, 0.25, 0.125], ["--mean", "0", "--std", "0.5,0.25,0.125"], "`std` in the file, which has no mean"),
    ] {
        let mut wrapped = below("model.", tensors()?);
        wrapped.insert(name.into(), row(&values));
        let (text, network) = imported(&ground, &wrapped, &[]);
        assert!(text.contains(told), "{text}");
        assert_eq!(network, imported(&ground, &tensors()?, &options).1, "{name}");
        let (text, _) = imported(&ground, &wrapped, &["--mean", "0.1", "--std", "0.2"]);
        assert!(text.contains(&format!("`{name}` in the file is not used")), "{text}");
    }
    Ok(())
}

#[test]
fn values_that_no_network_has_are_refused_by_name_all_at_once() -> Result<()> {
    let ground = Playground::new();
    let mut wrong = tensors()?;
    wrong.insert("bn1.running_var".into(), Tensor::new(&[1.0_f32, -0.5, 1.0, 1.0], &Device::Cpu)?);
    wrong.insert("bn1.bias".into(), Tensor::new(&[1.0_f32, f32::NAN, 1.0, 1.0], &Device::Cpu)?);
    wrong.insert("fc.bias".into(), Tensor::new(&[f32::INFINITY; 10], &Device::Cpu)?);
    wrong.insert("some.counter".into(), Tensor::new(1_i64, &Device::Cpu)?);
    import(&ground, &wrong, &[]).fails(
        4,
        &[
            "4 that cannot be taken for weights:",
            "`bn1.running_var`: holds the variance -0.5, expected 0 or more",
            "`bn1.bias`: holds a value that is not finite in f32",
            "`fc.bias`: holds a value that is not finite in f32",
            "`some.counter`: holds i64, expected f32",
            "`ignore = [\"*.NAME\"]`",
        ],
    );
    assert!(!ground.path("out").exists());
    Ok(())
}

#[test]
fn own_names_leave_tensors_out() -> Result<()> {
    let ground = Playground::new();
    let (_, plain) = imported(&ground, &tensors()?, &[]);
    let mut more = tensors()?;
    for layer in ["conv1", "layer1.0.bn2"] {
        more.insert(format!("{layer}.my_counter"), Tensor::new(1_i64, &Device::Cpu)?);
        more.insert(format!("{layer}.my_figure"), number(1.0));
    }
    import(&ground, &more, &[])
        .fails(4, &["2 left over:", "`conv1.my_figure`", "2 that cannot be taken", "`conv1.my_counter`"]);
    let names = "about = \"mine\"\n[resnet]\nignore = [\"*.my_counter\", \"*.my_figure\"]\nrename = [[\"fc\", \"linear\"], \
                 [\"layer{s}.{b}.downsample.{p}\", \"layer{s}.{b}.shortcut.{p}\"]]\n";
    ground.write("mine.toml", names);
    let (told, network) = imported(&ground, &more, &["--names", "mine.toml"]);
    assert!(told.contains("ignored     4 tensors of layers that are never run, or that the names leave out"), "{told}");
    assert_eq!(network, plain);
    Ok(())
}

#[test]
fn masks_and_scores_are_applied_or_told() -> Result<()> {
    let ground = Playground::new();
    let all = tensors()?;
    let weight = &all["layer1.0.conv1.weight"];
    let half: Vec<f32> = (0..weight.elem_count()).map(|at| (at % 2) as f32).collect();
    let mask = Tensor::from_vec(half, weight.dims(), &Device::Cpu)?;
    let mut masked = all.clone();
    masked.insert("layer1.0.conv1.weight".into(), (weight * &mask)?);
    let (_, expected) = imported(&ground, &masked, &[]);

    // As torch.nn.utils.prune leaves it.
    let mut pruned = all.clone();
    pruned.remove("layer1.0.conv1.weight");
    pruned.insert("layer1.0.conv1.weight_orig".into(), weight.clone());
    pruned.insert("layer1.0.conv1.weight_mask".into(), mask.clone());
    let (told, network) = imported(&ground, &pruned, &[]);
    assert!(told.contains("masked      1 tensors by their masks"), "{told}");
    assert_eq!(network, expected);

    // A mask beside weights that have its zeros, and beside others.
    masked.insert("layer1.0.conv1.mask".into(), mask.to_dtype(DType::I64)?);
    let (told, network) = imported(&ground, &masked, &[]);
    assert!(told.contains("ignored     1 masks whose zeros the weights have already"), "{told}");
    assert_eq!(network, expected);
    let mut beside = all.clone();
    beside.insert("layer1.0.conv1.mask".into(), mask.clone());
    import(&ground, &beside, &[])
        .fails(4, &["`layer1.0.conv1.mask`: a mask, and `layer1.0.conv1.weight` has other numbers"]);

    // HYDRA's scores: of 144 weights those with the highest 72 stay.
    let mut scored = all;
    scored.insert("layer1.0.conv1.popup_scores".into(), (mask * -2.0)?.affine(1.0, 1e-3)?);
    import(&ground, &scored, &[]).fails(4, &["`layer1.0.conv1.popup_scores`: scores of a mask", "--popup-density D"]);
    let (told, network) = imported(&ground, &scored, &["--popup-density", "0.5"]);
    assert!(told.contains("masked      1 tensors by their masks or scores"), "{told}");
    assert_eq!(network, expected);
    import(&ground, &scored, &["--popup-density", "1.5"]).fails(2, &["--popup-density 1.5, expected the share"]);
    import(&ground, &tensors()?, &["--popup-density", "0.5"]).fails(2, &["the file holds no scores"]);
    Ok(())
}

/// Truth values are a type that no tensor of ours has.
#[test]
fn a_mask_of_truth_values_is_a_mask() -> Result<()> {
    let ground = Playground::new();
    let mut all = tensors()?;
    all.insert("layer1.0.conv1.mask".into(), Tensor::zeros((4, 4, 3, 3), DType::U8, &Device::Cpu)?);
    save(&all, ground.path("file"))?;
    let bytes = std::fs::read(ground.path("file")).expect("a file");
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"))).expect("a length");
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).expect("text");
    let header = header.replace("\"U8\"", "\"BOOL\"");
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + length..]].concat();
    std::fs::write(ground.path("file"), bytes).expect("a file");
    let arguments = [&["import", "file", "--out", "out"], &USUAL[..]].concat();
    ground.mrpf(&arguments).fails(4, &["`layer1.0.conv1.mask`: a mask, and", "hint:"]);
    Ok(())
}

#[test]
fn files_of_other_kinds_are_called_by_their_names() {
    let ground = Playground::new();
    for (text, told) in [
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 46827520\n",
            ["it is a Git LFS pointer to a file of 46827520 bytes", "git lfs pull"],
        ),
        ("<!DOCTYPE html>\n<html></html>", ["it is a web page", "the address"]),
        ("PK\u{3}\u{4} conv1.weight.npy", ["it is an archive of NumPy arrays (.npz)", "safetensors.numpy"]),
    ] {
        ground.write("file", text);
        ground.mrpf(&[&["import", "file", "--out", "out"], &USUAL[..]].concat()).fails(4, &told);
        ground.mrpf(&["summary", "--model", "file"]).fails(4, &told);
    }
}

#[test]
fn images_of_many_channels_are_imported() -> Result<()> {
    let ground = Playground::new();
    let mut wide = tensors()?;
    wide.insert("conv1.weight".into(), Tensor::ones((4, 13, 3, 3), DType::F32, &Device::Cpu)?);
    wide.insert("mean".into(), row(&[0.5; 13]));
    wide.insert("std".into(), row(&[0.25; 13]));
    let (told, _) = imported(&ground, &wide, &[]);
    assert!(
        told.contains("images      13x32x32 in 10 classes") && told.contains("`mean` and `std` in the file"),
        "{told}"
    );
    let summary = ground.mrpf(&["summary", "--model", "out"]).ok().stdout;
    assert!(summary.contains("13"), "{summary}");
    Ok(())
}
