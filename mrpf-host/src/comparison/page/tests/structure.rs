//! Sections, escaping, and the same bytes each time.

use mrpf_api::Result;
use std::path::Path;

use super::{everything, with_networks};
use crate::comparison::page::{page, write_page};
use crate::comparison::sample::sample;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

/// Headings, captions, texts in place of pictures and other names that a reader hears.
fn outline(page: &str) -> String {
    let mut lines = Vec::new();
    for piece in page.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or((piece, ""));
        let name = tag.split_whitespace().next().unwrap_or_default();
        match name {
            "h1" | "h2" | "h3" | "caption" | "figcaption" | "summary" if text != "Numbers" => {
                lines.push(format!("{name}: {}", text.trim()));
            }
            "img" => lines.push(tag.split("alt=").nth(1).map_or("img".into(), |alt| format!("img: {alt}"))),
            "div" if tag.contains("role=\"img\"") => {
                lines.push(format!("plot: {}", tag.split("aria-label=").nth(1).unwrap_or_default()));
            }
            _ => {}
        }
    }
    lines.join("\n")
}

#[test]
fn the_page_has_a_section_for_everything_that_was_found() -> Outcome {
    let store = tempfile::tempdir()?;
    let mut findings = everything()?;
    with_networks(&mut findings, store.path())?;
    insta::assert_snapshot!(outline(&page(&findings, store.path())?));
    Ok(())
}

#[test]
fn what_is_not_there_is_left_out() -> Result<()> {
    let mut findings = sample()?;
    findings.dense.clear();
    findings.pruned.clear();
    let text = page(&findings, Path::new("nowhere"))?;
    for absent in
        ["cost", "pairs", "sensitivity", "agreement", "kept", "overlap", "security", "examples", "training", "warnings"]
    {
        assert!(!text.contains(&format!("id=\"{absent}\"")), "{absent}");
    }
    assert!(text.contains("id=\"comparison\"") && text.contains("id=\"settings\""));
    Ok(())
}

#[test]
fn the_same_findings_give_the_same_bytes_wherever_they_lie() -> Outcome {
    let (one, other, out) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let mut findings = everything()?;
    with_networks(&mut findings, one.path())?;
    with_networks(&mut findings, other.path())?;
    let at = |store: &Path| {
        let mut findings = findings.clone();
        findings.failures[0].reason = format!("cannot read {}: it is gone", store.join("prune-1/plan.json").display());
        findings.experiment.data.dir = Some(store.join("data"));
        write_page(&findings, store, out.path())?;
        Ok::<_, Box<dyn std::error::Error>>(std::fs::read_to_string(out.path().join("report.html"))?)
    };
    let (first, second) = (at(one.path())?, at(other.path())?);
    assert!(first == second, "the pages differ");
    assert!(first.contains("cannot read prune-1/plan.json: it is gone"));
    assert!(!first.contains(&one.path().display().to_string()));
    Ok(())
}

#[test]
fn names_are_text_and_never_markup() -> Result<()> {
    let evil = "<script>alert(\"1\")</script>&'";
    let mut findings = everything()?;
    findings.experiment.name = evil.into();
    findings.methods[0] = evil.into();
    findings.axes[0].values.push(evil.into());
    findings.failures[0].reason = evil.into();
    findings.failures[0].stage = evil.into();
    findings.dense[0].sensitivities[0].0 = evil.into();
    findings.dense[0].sensitivities[0].1[0].module = evil.into();
    for finding in &mut findings.pruned {
        finding.place.method = evil.into();
        finding.row.trainer = evil.into();
        finding.training.trainer = evil.into();
        finding.row.shortfall = Some(evil.into());
        finding.place.settings.values_mut().for_each(|value| *value = evil.into());
        for entry in &mut finding.cut.rounds[0].groups {
            entry.group.name = evil.into();
        }
    }
    let text = page(&findings, Path::new("nowhere"))?;
    assert_eq!(text.matches("<script>").count(), 1, "the page's own script is the only one");
    assert!(!text.contains("alert(\"1\")"));
    assert!(text.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;"));
    Ok(())
}

#[test]
fn a_radius_that_the_grid_varies_makes_a_security_curve() -> Result<()> {
    let mut findings = sample()?;
    findings.axes[0].setting = "evaluate.threat.epsilon".into();
    findings.axes[0].values = ["4/255", "8/255"].map(str::to_owned).to_vec();
    for finding in &mut findings.pruned {
        let ratio = finding.place.settings.remove("prune.ratio");
        let radius = if ratio.as_deref() == Some("0.5") { "4/255" } else { "8/255" };
        finding.place.settings.insert("evaluate.threat.epsilon".into(), radius.into());
    }
    let text = page(&findings, Path::new("nowhere"))?;
    assert!(text.contains("Accuracy against radius, networks attacked with each radius. mrs-l1-norm: from 55.3 % at radius 0.01569 to 50.0 %"));
    Ok(())
}

#[test]
fn nothing_points_outside_the_page() -> Outcome {
    let store = tempfile::tempdir()?;
    let mut findings = everything()?;
    with_networks(&mut findings, store.path())?;
    let text = page(&findings, store.path())?;
    for attribute in ["src=\"", "href=\""] {
        for value in text.split(attribute).skip(1) {
            assert!(value.starts_with("data:image/png;base64,") || value.starts_with('#'), "{}", &value[..40]);
        }
    }
    assert!(!text.contains("url(") && !text.contains("@import"));
    for link in text.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(text.contains(&format!("id=\"{link}\"")), "{link} leads nowhere");
    }
    Ok(())
}
