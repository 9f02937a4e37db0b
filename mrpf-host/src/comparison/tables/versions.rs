//! What computed a comparison.

use mrpf_api::registry::{Kind, registrations};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::super::findings::Findings;

/// Versions of mrpf and of the plugins that took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// mrpf's.
    pub mrpf: String,
    /// The plugins, by kind and name.
    pub plugins: Vec<PluginVersion>,
}

/// The version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginVersion {
    /// What it is.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The crate that it comes from.
    pub package: String,
    /// That crate's version.
    pub version: String,
}

impl Versions {
    /// Of those plugins that rows, data and attacks name.
    pub(in crate::comparison) fn of(findings: &Findings) -> Self {
        let experiment = &findings.experiment;
        let dense = findings.dense.iter().map(|dense| &dense.row);
        let mut used: BTreeSet<(Kind, &str)> = BTreeSet::new();
        for row in dense.chain(findings.pruned.iter().map(|pruned| &pruned.row)) {
            used.insert((Kind::Trainer, &row.trainer));
            let parts = [
                (Kind::Sensitivity, &row.sensitivity),
                (Kind::Criterion, &row.criterion),
                (Kind::Allocation, &row.allocation),
                (Kind::Schedule, &row.schedule),
            ];
            used.extend(parts.into_iter().filter_map(|(kind, name)| Some((kind, name.as_deref()?))));
        }
        used.extend(experiment.evaluate.attacks.iter().map(|attack| (Kind::Attack, attack.name.as_str())));
        used.insert((Kind::DataSet, &experiment.data.name.name));
        used.insert((Kind::Architecture, &experiment.network.architecture.name));
        let plugins = registrations().into_iter().filter(|plugin| used.contains(&(plugin.kind(), plugin.name)));
        let version = |plugin: &mrpf_api::registry::Registration| PluginVersion {
            kind: plugin.kind().name().into(),
            name: plugin.name.into(),
            package: plugin.package.into(),
            version: plugin.version.into(),
        };
        Self { mrpf: env!("CARGO_PKG_VERSION").into(), plugins: plugins.map(version).collect() }
    }
}
