//! Bundles of a small evaluation whose figures are known.

use mrpf_api::Result;
use mrpf_api::architecture::{Architecture, ArchitectureRequest};
use mrpf_api::attack::{AttackMeans, Norm};
use mrpf_api::candle_core::{DType, Device};
use mrpf_api::data::ImageShape;
use mrpf_api::fraction::Fraction;
use mrpf_api::network::Network;
use mrpf_api::random::Streams;

use super::*;
use crate::evaluation::{AttackedImage, ImageOutcome, PartRecord, Sign};
use crate::experiment::{PluginChoice, architecture};

const ABOUT: &str = r#"
entry = "Doe2026Small"
title = "Small and Robust"
link = "https://example.org/paper"
authors = ["Jane Doe", "John Roe"]
venue = "arXiv, Nov 2026"
architecture = "ResNet-18, pruned"
additional_data = false
checkpoint = "https://example.org/checkpoint"
distances = "https://example.org/distances"
method = "MRS"
sparsity = 50
pipeline = "after"
pretraining = "Adversarial Training (AT) PGD"
finetuning = "Adversarial Training (AT) TRADES"
iterative = false
structure = "filters"
locality = "global"
criterion = "Lowest Weight Magnitude LWM"
"#;

fn network() -> Result<Network> {
    let input = ImageShape { channels: 3, height: 32, width: 32 };
    let request = ArchitectureRequest { input, classes: 10, mean: vec![0.5; 3], std: vec![0.25; 3] };
    let choice = architecture(&PluginChoice::named("resnet18").with("width", 2))?;
    let declaration = choice.make::<dyn Architecture>()?.declare(&request)?;
    Network::initialise(declaration, &Streams::new(0), DType::F32, &Device::Cpu)
}

/// AutoAttack leaves 4 of 10, FMN breaks all but one; one image is wrong anyway.
fn evaluation(images: usize) -> Evaluation {
    let part = |name: &str, survivors| PartRecord { name: name.into(), means: AttackMeans::Gradients, survivors };
    let record = |name: &str, survivors, parts| AttackRecord {
        remarks: Vec::new(),
        name: name.into(),
        means: AttackMeans::Gradients,
        survivors,
        nearest: false,
        parts,
    };
    let tenth = images / 10;
    let parts = ["apgd-ce", "apgd-t", "fab-t", "square"].map(|name| part(name, 4 * tenth)).to_vec();
    let attacked = |survives, distance| Some(AttackedImage { survives, loss: None, distance, broken_by: None });
    let outcomes = (0..images).map(|index| {
        let attacks = match index % 10 {
            0 => vec![None, None],
            at => vec![attacked(at < 5, 0.031), attacked(at == 1, 0.01 * at as f64)],
        };
        ImageOutcome { index, label: 1, predicted: u32::from(index % 10 != 0), attacks }
    });
    Evaluation {
        images,
        clean: 9 * tenth,
        robust: tenth,
        attacks: vec![record("autoattack", 4 * tenth, parts), record("fmn", tenth, Vec::new())],
        outcomes: outcomes.collect(),
        signs: Vec::new(),
        curves: None,
        left_out: Vec::new(),
    }
}

fn written(leaderboard: Leaderboard, about: &str, evaluations: &[(Fraction, Evaluation)]) -> Result<(String, usize)> {
    let submission = toml::from_str(about).map_err(|error| Error::new(ErrorKind::Settings, error.to_string()))?;
    let network = network()?;
    let evidence =
        Evidence { network: &network, data: "cifar10", norm: Norm::Linf, evaluations, submission: &submission };
    let folder = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
    let (files, unmet) = leaderboard.write(&evidence, folder.path())?;
    let mut told = String::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        told.push_str(&format!("==> {name}\n"));
        if name.ends_with(".json") || name.ends_with(".md") {
            told.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
        }
    }
    Ok((told, unmet))
}

#[test]
fn all_that_robustbench_asks_for() -> Result<()> {
    let evaluations = [(Fraction::new(8, 255), evaluation(10_000))];
    let (told, unmet) = written(Leaderboard::Robustbench, ABOUT, &evaluations)?;
    assert_eq!(unmet, 0, "{told}");
    insta::assert_snapshot!(told);
    Ok(())
}

#[test]
fn what_robustbench_would_miss() -> Result<()> {
    // Another radius, and no word from the author.
    let evaluations = [(Fraction::from(0.031), evaluation(100))];
    let (told, unmet) = written(Leaderboard::Robustbench, "", &evaluations)?;
    assert!(unmet >= 10, "{told}");
    assert!(told.contains("- [ ] standard AutoAttack at the leaderboard's radius: there is no evaluation"), "{told}");
    assert!(told.contains("\"autoattack_acc\": null") && told.contains("==> unnamed.json"), "{told}");
    Ok(())
}

#[test]
fn a_sign_makes_an_entry_unreliable() -> Result<()> {
    let message = "half of the gradients are zero".to_owned();
    let signs = vec![Sign { name: "zero-gradients".into(), message }];
    let evaluations = [(Fraction::new(8, 255), Evaluation { signs, ..evaluation(10_000) })];
    let (told, unmet) = written(Leaderboard::Robustbench, ABOUT, &evaluations)?;
    assert_eq!(unmet, 1, "{told}");
    assert!(told.contains("- [ ] input gradients that are not zero: half of the gradients are zero"), "{told}");
    assert!(told.contains("\"unreliable\": true"), "{told}");
    Ok(())
}

#[test]
fn all_that_the_adversarial_pruning_benchmark_asks_for() -> Result<()> {
    let evaluations = [(Fraction::from(0.031), evaluation(10_000))];
    let (told, unmet) = written(Leaderboard::AdversarialPruning, ABOUT, &evaluations)?;
    // Tuned distances, a base class, and three sparsities in one bundle cannot be had.
    assert_eq!(unmet, 3, "{told}");
    assert!(told.contains("==> MRS_Doe2026Small_R18_CIFAR10_S_50-distances.csv"), "{told}");
    insta::assert_snapshot!(told);
    Ok(())
}

#[test]
fn wrong_words_of_the_author_are_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("about.toml");
    std::fs::write(&path, "tilte = \"x\"").expect("a file");
    let error = Submission::read(&path).expect_err("an unknown entry");
    assert!(error.to_string().contains("tilte") && error.to_string().contains("title"), "{error}");
    assert!(Submission::read(&folder.path().join("none.toml")).is_err());
}
