//! An entry for RobustBench (Croce et al. 2021, arXiv 2010.09670): a JSON file, the text of an issue, the weights.

use mrpf_api::Result;
use mrpf_api::attack::Norm;
use serde_json::json;

use super::{Bundle, Evidence, Requirement, json as to_json, requirement, told, two_decimals};
use crate::exchange::pytorch::module_name;
use crate::run_dir::file_name;
use crate::safe_text::markdown;

/// The threat models of the leaderboard for small images.
const RADII: [(Norm, f64, &str); 2] = [(Norm::Linf, 8.0 / 255.0, "8/255"), (Norm::L2, 0.5, "0.5")];
/// All test images of CIFAR-10 and CIFAR-100.
const IMAGES: usize = 10_000;

pub(super) fn bundle(evidence: &Evidence<'_>) -> Result<Bundle> {
    let about = evidence.submission;
    let threat = RADII.into_iter().find(|(norm, ..)| *norm == evidence.norm);
    let measured = threat.and_then(|(_, epsilon, _)| evidence.autoattack(epsilon));
    let epsilon = threat.map_or("", |(.., text)| text);
    let clean = evidence.evaluations.first().map(|(_, found)| two_decimals(found.clean, found.images));
    let robust = measured.map(|(found, record)| two_decimals(record.survivors, found.images));
    let unreliable = measured.is_some_and(|(found, _)| !found.signs.is_empty());
    let reported = about.reported.map(|reported| format!("{reported:.2}"));
    let mut entry = json!({
        "link": about.link,
        "name": about.title,
        "authors": about.authors.join(", "),
        "additional_data": about.additional_data,
        "number_forward_passes": 1,
        "dataset": evidence.data,
        "venue": about.venue,
        "architecture": about.architecture,
        "eps": epsilon,
        "clean_acc": clean,
        "reported": reported.or_else(|| robust.clone()),
        "autoattack_acc": robust,
        "footnote": "Compressed model.",
    });
    if unreliable {
        entry["unreliable"] = true.into();
    }
    let name = about.entry.clone().unwrap_or_else(|| "unnamed".into());
    let files = vec![
        (format!("{}.json", file_name(&name)), to_json(&entry)?),
        ("issue.md".into(), issue(evidence, &entry).into()),
    ];
    Ok(Bundle { module: module_name(&name), files, requirements: requirements(evidence, epsilon) })
}

fn requirements(evidence: &Evidence<'_>, epsilon: &str) -> Vec<Requirement> {
    let about = evidence.submission;
    let threat = RADII.into_iter().find(|(norm, ..)| *norm == evidence.norm);
    let measured = threat.and_then(|(_, radius, _)| evidence.autoattack(radius));
    let images = measured.map_or(0, |(found, _)| found.images);
    let shows =
        |sign: &str| evidence.evaluations.iter().flat_map(|(_, found)| &found.signs).find(|shown| shown.name == sign);
    let absent = |what, sign| {
        requirement(what, shows(sign).is_none(), || shows(sign).map(|sign| sign.message.clone()).unwrap_or_default())
    };
    let known = ["cifar10", "cifar100"].contains(&evidence.data);
    vec![
        requirement("a data set of the leaderboard (CIFAR-10, CIFAR-100)", known, || {
            format!("`{}` was attacked", evidence.data)
        }),
        requirement("standard AutoAttack at the leaderboard's radius", measured.is_some(), || {
            format!(
                "there is no evaluation with `autoattack` at {epsilon}; add --attacks autoattack --epsilons {epsilon}"
            )
        }),
        requirement("all 10,000 test images", images == IMAGES, || format!("{images} were attacked")),
        absent("a forward pass that gives the same every time", "random-forward"),
        absent("input gradients that are not zero", "zero-gradients"),
        absent("logits, not probabilities", "probabilities"),
        requirement("no optimisation within the forward pass", true, String::new),
        requirement("weights that PyTorch loads", true, String::new),
        told("an entry's name (FirstAuthorYearWord)", "entry", about.entry.is_some()),
        told("the paper's title", "title", about.title.is_some()),
        told("the paper's address", "link", about.link.is_some()),
        told("the paper's authors", "authors", !about.authors.is_empty()),
        told("where it appeared", "venue", about.venue.is_some()),
        told("the architecture's usual name", "architecture", about.architecture.is_some()),
        told("whether other images were trained on", "additional_data", about.additional_data.is_some()),
        told("where checkpoint and code are", "checkpoint", about.checkpoint.is_some()),
    ]
}

fn issue(evidence: &Evidence<'_>, entry: &serde_json::Value) -> String {
    let about = evidence.submission;
    let text = |key: &str| match &entry[key] {
        serde_json::Value::String(text) if !text.is_empty() => markdown(text),
        serde_json::Value::Bool(value) => value.to_string(),
        _ => "(not said)".into(),
    };
    let threat = if evidence.norm == Norm::Linf { "Linf" } else { "L2" };
    let checkpoint = markdown(about.checkpoint.as_deref().unwrap_or("(not said)"));
    format!(
        "[New Model] {}\n\n# Paper Information\n\n- **Paper Title**: {}\n- **Paper URL**: {}\n- **Paper authors**: {}\n\n\
         # Leaderboard Claim(s)\n\n## Model 1\n\n- **Architecture**: {}\n- **Threat Model**: {threat}\n- **eps**: {}\n\
         - **Clean accuracy**: {}\n- **Robust accuracy**: {}\n- **Additional data**: {}\n\
         - **Evaluation method**: AutoAttack (standard), computed by mrpf {}\n- **Checkpoint and code**: {checkpoint}\n\n\
         # Model Zoo:\n\n- [ ] I want to add my models to the Model Zoo\n- [x] I use an architecture that is **not** included among those \
         of the zoo: the network is pruned, so its widths are its own (the Python file beside this one defines it)\n\
         - [ ] I agree to release my model(s) under MIT license\n",
        markdown(about.entry.as_deref().unwrap_or("(not said)")),
        text("name"),
        text("link"),
        text("authors"),
        text("architecture"),
        text("eps"),
        text("clean_acc"),
        text("autoattack_acc"),
        text("additional_data"),
        env!("CARGO_PKG_VERSION"),
    )
}
