//! What is needed to repeat the comparison: settings and versions.

use maud::html;
use mrpf_api::Result;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

use super::Section;
use super::paths::without_folders;
use crate::comparison::findings::Findings;
use crate::comparison::tables::Versions;
use crate::files::read_if_there;

/// The section.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Settings`] if the settings cannot be written, [`mrpf_api::ErrorKind::Io`] if what a run recorded cannot be read.
pub fn section(findings: &Findings, store_root: &Path) -> Result<Section> {
    let toml = findings.experiment.to_toml()?;
    let used = Versions::of(findings);
    let (versions, libraries) = recorded(findings, store_root)?;
    let body = html! {
        p {
            "The same settings, seeds and version give the same networks and the same figures. Folders of the machine are left out of what \
             follows."
        }
        details {
            summary { "All settings, as TOML" }
            pre tabindex="0" role="region" aria-label="All settings, as TOML" { code { (without_folders(&toml, store_root)) } }
        }
        h3 { "Versions" }
        ul {
            li { "This page: mrpf " (used.mrpf) }
            @for version in &versions { li { "Networks: mrpf " (version) } }
        }
        details {
            summary { "Plugins that took part" }
            div.scroll tabindex="0" role="region" aria-labelledby="plugins-caption" {
                table {
                    caption id="plugins-caption" { "Plugins that took part" }
                    thead { tr {
                        th.text scope="col" { "plugin" } th.text scope="col" { "kind" } th.text scope="col" { "package" }
                        th.text scope="col" { "version" }
                    } }
                    tbody { @for plugin in &used.plugins {
                        tr {
                            th scope="row" { (plugin.name) } td.text { (plugin.kind) } td.text { (plugin.package) }
                            td.text { (plugin.version) }
                        }
                    } }
                }
            }
        }
        @if !libraries.is_empty() {
            div.scroll tabindex="0" role="region" aria-labelledby="libraries-caption" {
                table {
                    caption id="libraries-caption" { "Plugin libraries that were opened" }
                    thead { tr {
                        th.text scope="col" { "package" } th.text scope="col" { "version" } th.text scope="col" { "SHA-256" }
                    } }
                    tbody { @for [package, version, hash] in &libraries {
                        tr { th scope="row" { (package) } td.text { (version) } td.text { code { (hash) } } }
                    } }
                }
            }
        }
    };
    Ok(Section { id: "settings", title: "Settings and versions", body })
}

/// Versions of mrpf, and plugin libraries with package, version and hash, that the run directories of the networks recorded.
fn recorded(findings: &Findings, store_root: &Path) -> Result<(BTreeSet<String>, BTreeSet<[String; 3]>)> {
    let networks = findings.dense.iter().map(|dense| &dense.network);
    let (mut versions, mut libraries) = (BTreeSet::new(), BTreeSet::new());
    for network in networks.chain(findings.pruned.iter().map(|finding| &finding.network)) {
        let path = store_root.join(network);
        let Some(run) = path.parent().and_then(Path::parent) else { continue };
        let Some(bytes) = read_if_there(&run.join("run.json"))? else { continue };
        // A record that is not ours has nothing to say.
        let Ok(record) = serde_json::from_slice::<Value>(&bytes) else { continue };
        versions.extend(record["version"].as_str().map(str::to_owned));
        for library in record["libraries"].as_array().into_iter().flatten() {
            libraries
                .insert(["package", "version", "sha256"].map(|key| library[key].as_str().unwrap_or("-").to_owned()));
        }
    }
    Ok((versions, libraries))
}
