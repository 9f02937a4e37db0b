//! `report.md`: the comparison for people, with everything that is needed to judge and repeat it.

use mrpf_api::Result;
use mrpf_api::sensitivity::ModuleSensitivity;
use std::fmt::Write;

use super::row::{Results, radii};
use super::table::markdown_table;
use crate::experiment::Experiment;
use crate::output::percent;
use crate::pipeline::PrunedRow;
use crate::safe_text::{markdown, markdown_code};

/// The report of a run. `sensitivities` are those that were measured, by label; `plans` those of the pruned rows.
pub fn report_markdown(
    results: &Results,
    experiment: &Experiment,
    sensitivities: &[(String, Vec<ModuleSensitivity>)],
    plans: &[PrunedRow],
) -> Result<String> {
    let mut text = String::new();
    let images = results.rows.first().map_or(0, |row| row.images);
    let attacks: Vec<String> = experiment.evaluate.attacks.iter().map(|attack| markdown(&attack.name)).collect();
    let radius = match radii(&results.rows).as_slice() {
        [_, _, ..] => format!("the row's radius ({})", markdown(&results.epsilon)),
        _ => format!("radius {}", markdown(&results.epsilon)),
    };
    let _ = write!(
        text,
        "# {}\n\nNetwork `{}` on data set `{}`, seed {}. Robust accuracy is the share of {images} test images that survive {} \
         in the {} ball of {radius}.\n\n{}\n",
        markdown(&results.experiment),
        markdown(&results.architecture),
        markdown(&results.data),
        results.seed,
        attacks.join(" and "),
        results.norm,
        markdown_table(results)
    );
    text.push_str(&how_to_read(results));
    if let Some(attacked) = &results.attacked {
        text.push_str(&attacked.markdown());
    }
    text.push_str(&training(results));
    text.push_str(&warnings(results));
    for (label, modules) in sensitivities {
        text.push_str(&sensitivity_table(label, modules));
    }
    text.push_str(&kept_channels(plans));
    let _ = write!(
        text,
        "\n## Settings\n\nmrpf {}; the same settings, seed and version give the same networks and the same `results.json`. \
         The command of this report is in `run.json` beside it. The settings are in `experiment.toml`: \
         `mrpf run experiment.toml --out DIR` runs the whole experiment again.\n\n{}\n",
        results.version,
        markdown_code("toml", &experiment.to_toml()?)
    );
    Ok(text)
}

fn how_to_read(results: &Results) -> String {
    let mut text = String::from(
        "\n- *asked* and *gone*: share of the budget's figure that was to be removed, and that was, measured on the network.\n\
         - *clean* and *robust*: share classified rightly, with its 95 % Wilson interval. Rows whose intervals overlap \
         are not shown to differ by this table alone.\n\
         - *robust as cut*: robust accuracy before fine-tuning; a dash for networks that were not fine-tuned, which are *robust* as cut.\n",
    );
    if let Some(latency) = results.rows.iter().find_map(|row| row.latency) {
        let _ = writeln!(
            text,
            "- *latency*: median time of a pass of {} images on the machine of this run.",
            latency.batch
        );
    }
    let mut remarks: Vec<String> = Vec::new();
    for (attack, result) in results.rows.iter().flat_map(|row| &row.attacks) {
        for remark in &result.remarks {
            let line = format!("- attack `{attack}`: {remark}.\n");
            if !remarks.contains(&line) {
                remarks.push(line);
            }
        }
    }
    text.push_str(&remarks.concat());
    for row in &results.rows {
        if let Some(why) = &row.shortfall {
            let _ = writeln!(text, "- {}: {}.", markdown(&row.name), markdown(why));
        }
    }
    text
}

fn training(results: &Results) -> String {
    if results.rows.iter().all(|row| row.best_and_last_robust.is_none()) {
        return String::new();
    }
    let mut text = String::from(
        "\n## Robust overfitting\n\nRobust accuracy on held-out training images at the chosen epoch and at the last one.\n\n\
         | network | trainer | chosen | last |\n| --- | --- | ---: | ---: |\n",
    );
    for row in &results.rows {
        if let Some([best, last]) = row.best_and_last_robust {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                markdown(&row.name),
                markdown(&row.trainer),
                percent(best),
                percent(last)
            );
        }
    }
    text
}

fn warnings(results: &Results) -> String {
    let mut text = String::from("\n## Signs of false robustness\n\n");
    let told: Vec<String> = results
        .rows
        .iter()
        .flat_map(|row| {
            row.signs.iter().map(|sign| {
                format!("- {}: `{}`: {}.\n", markdown(&row.name), markdown(&sign.name), markdown(&sign.message))
            })
        })
        .collect();
    match told.is_empty() {
        true => text.push_str(
            "None showed. Looked for: input gradients of zero, outputs that are probabilities, passes that differ, attacks that act at \
             epsilon 0, random noise as strong as the attacks, a black box that beats gradients, one class for all images, robust overfitting; with curves, \
             also more that does less, and survival of any radius.\n",
        ),
        false => {
            text.push_str(&told.concat());
            text.push_str("\nSIGNS.md in mrpf's sources says what each means and what to do.\n");
        }
    }
    let left_out: Vec<String> = results
        .rows
        .iter()
        .flat_map(|row| row.left_out.iter().map(|left_out| format!("- {}: {}.\n", row.name, left_out.sentence())))
        .collect();
    if !left_out.is_empty() {
        text.push_str("\n## Not measured\n\n");
        text.push_str(&left_out.concat());
    }
    text
}

fn sensitivity_table(label: &str, modules: &[ModuleSensitivity]) -> String {
    let mut text = format!("\n## Sensitivity: {}\n\n| module | sensitivity |\n| --- | ---: |\n", markdown(label));
    for module in modules {
        let _ = writeln!(text, "| `{}` | {:.4} |", markdown(&module.module), module.value);
    }
    text
}

fn kept_channels(plans: &[PrunedRow]) -> String {
    let Some(groups) = plans.first().and_then(|row| row.rounds.first()).map(|round| &round.groups) else {
        return String::new();
    };
    let mut text = String::from("\n## Kept channels\n\n| group | channels |");
    plans.iter().for_each(|row| {
        let _ = write!(text, " {} |", markdown(&row.row));
    });
    text.push_str("\n| --- | ---: |");
    text.push_str(&" ---: |".repeat(plans.len()));
    text.push('\n');
    for entry in groups.iter().filter(|entry| entry.group.frozen.is_none()) {
        let _ = write!(text, "| `{}` | {} |", markdown(&entry.group.name), entry.group.channels);
        for row in plans {
            let kept = row.plan.keep.get(&entry.group.name).map_or(entry.group.channels, Vec::len);
            let _ = write!(text, " {kept} |");
        }
        text.push('\n');
    }
    text
}
