//! `report.html`: a comparison as one page that opens from disk, with everything in it.
//!
//! Each section is a file. Texts that users chose are escaped by the template macro; a content security policy keeps the page from loading
//! anything and from running any script but its own. There are no times and no paths of the machine: the same findings give the same bytes.

mod alike;
mod cost_curves;
mod document;
mod examples;
mod layers;
mod networks;
mod overview;
mod pairs;
mod paths;
mod picture;
mod plain_table;
mod plot;
mod security;
mod settings;
mod summary;
mod training;
mod warnings;

use maud::Markup;
use mrpf_api::Result;
use std::path::Path;

use super::findings::Findings;
use super::statistics::Statistics;
use crate::files::write_atomically;
use document::document;
use summary::summaries;

/// A part of the page.
struct Section {
    /// Its anchor.
    id: &'static str,
    /// Its heading.
    title: &'static str,
    /// What stands below it.
    body: Markup,
}

/// Writes `report.html` into `directory`.
///
/// `store_root` is the folder that the findings' networks are relative to. Where the networks or the images cannot be read any more,
/// the page has no example images and says so.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Io`] if the page cannot be written, [`mrpf_api::ErrorKind::Checkpoint`] if a network that is there is broken.
pub fn write_page(findings: &Findings, store_root: &Path, directory: &Path) -> Result<()> {
    let text = page(findings, store_root)?;
    write_atomically(&directory.join("report.html"), text.as_bytes())
}

/// The text of the page.
fn page(findings: &Findings, store_root: &Path) -> Result<String> {
    let statistics = Statistics::of(findings);
    let summaries = summaries(findings, &statistics);
    let sections = [
        Some(overview::section(findings, &statistics)),
        warnings::section(findings, store_root),
        cost_curves::section(findings, &summaries)?,
        pairs::section(findings, &statistics),
        layers::sensitivities(findings)?,
        alike::agreement_of_metrics(findings, &statistics),
        layers::kept_shares(findings, &summaries)?,
        alike::overlap_of_channels(findings, &statistics),
        security::section(findings, &summaries)?,
        examples::section(findings, store_root)?,
        training::section(findings, &summaries)?,
        Some(networks::section(findings)),
        Some(settings::section(findings, store_root)?),
    ];
    let sections: Vec<Section> = sections.into_iter().flatten().collect();
    Ok(document(findings, &sections).into_string())
}

#[cfg(test)]
mod tests;
