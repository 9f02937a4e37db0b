//! An entry for the adversarial pruning benchmark (Piras et al. 2024, arXiv 2409.01249): taxonomy, issue, weights, distances.

use mrpf_api::Result;
use mrpf_api::attack::Norm;
use serde_json::{Map, Value, json};
use std::fmt::Write;

use super::submission::{Locality, Pipeline};
use super::{Bundle, Evidence, Requirement, json as to_json, requirement, told, two_decimals};
use crate::evaluation::{AttackRecord, Evaluation};
use crate::exchange::pytorch::module_name;
use crate::safe_text::markdown;

/// AutoAttack's radius in this benchmark, which is not 8/255.
const EPSILON: f64 = 0.031;
/// The radius at which distances are judged.
const DISTANCE: f64 = 8.0 / 255.0;
/// How many of the first test images AutoAttack gets.
const IMAGES: usize = 10_000;
/// How many images the distances are of.
const DISTANCES: usize = 128;
/// The attack that finds smallest distances.
const MINIMUM_NORM: &str = "fmn";

pub(super) fn bundle(evidence: &Evidence<'_>) -> Result<Bundle> {
    let key = model_key(evidence);
    let mut files = vec![
        ("taxonomy.json".into(), to_json(&taxonomy(evidence))?),
        ("issue.md".into(), issue(evidence, &key).into_bytes()),
    ];
    if let Some((evaluation, at)) = minimum_norm(evidence) {
        files.push((format!("{key}-distances.csv"), distances(evaluation, at).into_bytes()));
    }
    Ok(Bundle { module: module_name(&key), files, requirements: requirements(evidence) })
}

/// `METHOD_AuthorYearWord_R18_CIFAR10_S_50`, with a question mark for what is not known.
fn model_key(evidence: &Evidence<'_>) -> String {
    let about = evidence.submission;
    let part = |given: &Option<String>| given.clone().unwrap_or_else(|| "unknown".into());
    let sparsity = about.sparsity.map_or("unknown".into(), |sparsity| sparsity.to_string());
    let (method, entry) = (part(&about.method), part(&about.entry));
    let architecture = architecture(evidence).unwrap_or("unknown");
    format!("{method}_{entry}_{architecture}_{}_S_{sparsity}", evidence.data.to_uppercase())
}

/// The benchmark's word for the dense architecture.
///
/// A pruned network keeps its layers: ResNet-18 has 16 convolutions of 3x3 in blocks, VGG-16 has 13.
fn architecture(evidence: &Evidence<'_>) -> Option<&'static str> {
    let declaration = evidence.network.declaration();
    match (declaration.architecture.as_str(), declaration.modules().count()) {
        ("resnet", 21) => Some("R18"),
        ("vgg", 14 | 16) => Some("V16"),
        _ => None,
    }
}

fn taxonomy(evidence: &Evidence<'_>) -> Value {
    let about = evidence.submission;
    let text = |given: &Option<String>| Value::from(given.as_deref().unwrap_or("Not Specified"));
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| drop(entry.insert(key.into(), value));
    put("link_to_paper", text(&about.link));
    let (method, name) = (about.method.as_deref(), about.entry.as_deref());
    put("ap_key", format!("{}_{}", method.unwrap_or("unknown"), name.unwrap_or("unknown")).into());
    let iterative = about.iterative.map_or("Not Specified", |iterative| if iterative { "IT" } else { "1S" });
    match about.pipeline.unwrap_or(Pipeline::After) {
        Pipeline::After => {
            put("Type of Pipeline:", "A-Methods Pruning After Training".into());
            put("A: Pretraining ", text(&about.pretraining));
            put("A: Finetuning", text(&about.finetuning));
            put("A: OneShot (1S) vs Iterative (IT)", iterative.into());
        }
        Pipeline::Before => {
            put("Type of Pipeline:", "B-Methods Pruning Before Training".into());
            put("B: Pruning step ", text(&about.pretraining));
            put("B: Training step ", text(&about.finetuning));
            put("B: OneShot (1S) vs Iterative (IT)", iterative.into());
        }
        Pipeline::During => {
            put("Type of Pipeline:", "D-Methods Pruning During Training".into());
            put("D: Training step ", text(&about.finetuning));
        }
    }
    put("Pruning structure", format!("Structured (S) {}", about.structure.as_deref().unwrap_or("filters")).into());
    let locality = about.locality.map_or("Not Specified", |locality| match locality {
        Locality::Local => "Local Pruning (L)",
        Locality::Global => "Global Pruning (G)",
    });
    put("Pruning locality", locality.into());
    put("Pruning criterion", text(&about.criterion));
    json!([entry])
}

fn minimum_norm<'a>(evidence: &'a Evidence<'_>) -> Option<(&'a Evaluation, usize)> {
    let is = |record: &AttackRecord| record.name == MINIMUM_NORM;
    let found = evidence.evaluations.iter().filter_map(|(epsilon, evaluation)| {
        let at = evaluation.attacks.iter().position(is)?;
        Some((epsilon.value(), evaluation, at))
    });
    // Within the largest radius most distances are known.
    found.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, evaluation, at)| (evaluation, at))
}

/// The distance of each image, 0 for images that are wrong already; infinite where nothing was found.
fn distances(evaluation: &Evaluation, attack: usize) -> String {
    let mut text = String::from("image,distance\n");
    for outcome in &evaluation.outcomes {
        let distance = match outcome.attacks.get(attack).and_then(Option::as_ref) {
            None => 0.0,
            Some(attacked) if attacked.survives => f64::INFINITY,
            Some(attacked) => attacked.distance,
        };
        let _ = writeln!(text, "{},{distance}", outcome.index);
    }
    text
}

fn requirements(evidence: &Evidence<'_>) -> Vec<Requirement> {
    let about = evidence.submission;
    let measured = evidence.autoattack(EPSILON);
    let images = measured.map_or(0, |(found, _)| found.images);
    let found = minimum_norm(evidence).map_or(0, |(evaluation, _)| evaluation.images);
    let known = ["cifar10", "svhn"].contains(&evidence.data);
    let name = markdown(&evidence.network.declaration().architecture);
    vec![
        requirement("CIFAR-10 or SVHN", known, || format!("`{}` was attacked", evidence.data)),
        requirement("ResNet-18 or VGG-16", architecture(evidence).is_some(), || {
            format!("the network is another `{name}`")
        }),
        requirement("attacks in the L-inf ball", evidence.norm == Norm::Linf, || {
            format!("they were in the {} ball", evidence.norm.name())
        }),
        requirement("standard AutoAttack at 0.031", measured.is_some(), || {
            "there is no evaluation with `autoattack` at 0.031, which is not 8/255; add --attacks autoattack --epsilons 0.031"
                .into()
        }),
        requirement("the first 10,000 test images", images == IMAGES, || format!("{images} were attacked")),
        requirement("smallest distances of 128 images", found >= DISTANCES, || {
            format!(
                "{found} have one; add `{MINIMUM_NORM}` to --attacks, and a large radius such as 0.15 to --epsilons"
            )
        }),
        requirement("FMN with settings tuned on 2,048 images (HO-FMN)", false, || {
            "distances are of FMN with its default settings; run the benchmark's own tuning on the exported network"
                .into()
        }),
        requirement("weights that PyTorch loads", true, String::new),
        requirement("weights that the benchmark's base class loads strictly", false, || {
            "the network is really smaller than its base class; the Python file beside this one defines its class"
                .into()
        }),
        requirement("three sparsities, of 50, 75 and 90 %", false, || {
            "a bundle holds one network; write one for each sparsity".into()
        }),
        told("the method's short name", "method", about.method.is_some()),
        told("an entry's name (FirstAuthorYearWord)", "entry", about.entry.is_some()),
        told("the sparsity", "sparsity", about.sparsity.is_some()),
        told("the paper's address", "link", about.link.is_some()),
        told("when pruning happens", "pipeline", about.pipeline.is_some()),
        told("the training before pruning", "pretraining", about.pretraining.is_some()),
        told("the training after pruning", "finetuning", about.finetuning.is_some()),
        told("one shot or iterative", "iterative", about.iterative.is_some()),
        told("filters or channels", "structure", about.structure.is_some()),
        told("local or global", "locality", about.locality.is_some()),
        told("the class of the criterion", "criterion", about.criterion.is_some()),
        told("where the checkpoint is", "checkpoint", about.checkpoint.is_some()),
        told("where the distances are", "distances", about.distances.is_some()),
    ]
}

fn issue(evidence: &Evidence<'_>, key: &str) -> String {
    let about = evidence.submission;
    let link = |given: &Option<String>| given.clone().unwrap_or_else(|| "(not said)".into());
    let none = || "(not measured)".to_owned();
    let clean = evidence.at(EPSILON).map_or_else(none, |found| two_decimals(found.clean, found.images));
    let robust = evidence.autoattack(EPSILON);
    let robust = robust.map_or_else(none, |(found, record)| two_decimals(record.survivors, found.images));
    let far = minimum_norm(evidence).map_or_else(none, |(evaluation, at)| {
        let first = &evaluation.outcomes[..evaluation.outcomes.len().min(DISTANCES)];
        let survives = |attacked: &&crate::evaluation::ImageOutcome| {
            let attacked = attacked.attacks.get(at).and_then(Option::as_ref);
            attacked.is_some_and(|attacked| attacked.survives || attacked.distance > DISTANCE)
        };
        format!("{} (FMN, not tuned)", two_decimals(first.iter().filter(survives).count(), first.len()))
    });
    let taxonomy = serde_json::to_string_pretty(&taxonomy(evidence)[0]).unwrap_or_default();
    format!(
        "# Loading Section\n\n## JSON Entry\n\n```json\n{taxonomy}\n```\n\n## Evaluation Results of Model n°1\n\n\
         _Model GDrive:_ \"{key}\" : [\"{}\", \".safetensors\"]\n_Distances GDrive:_ \"{key}\" : [\"{}\", \".csv\"]\n\n\
         _Clean Accuracy:_ {clean}\n_Robust Accuracy (AA):_ {robust}\n_Robust Accuracy (HO-FMN):_ {far}\n\n\
         ## Architecture details and normalization\n\nNormalisation is the first layer of the network: images are in [0, 1]. The network is \
         really smaller than its base class and does not load into it; the Python file beside this one defines its class.\n",
        link(&about.checkpoint),
        link(&about.distances),
    )
}
