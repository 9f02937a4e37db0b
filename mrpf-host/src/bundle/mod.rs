//! Leaderboard bundles: what a leaderboard asks for, written from an evaluation, with what of it is not met.

mod adversarial_pruning;
mod robustbench;
mod submission;

use clap::ValueEnum;
use mrpf_api::attack::Norm;
use mrpf_api::fraction::Fraction;
use mrpf_api::network::Network;
use mrpf_api::{Error, ErrorKind, Result};
use std::fmt::Write;
use std::path::{Path, PathBuf};

pub use submission::Submission;

use crate::evaluation::{AttackRecord, Evaluation};
use crate::exchange::pytorch;
use crate::files::write_output;

/// A leaderboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Leaderboard {
    /// RobustBench: AutoAttack at 8/255 (L-inf) or 0.5 (L2) on all test images.
    Robustbench,
    /// The adversarial pruning benchmark: AutoAttack at 0.031 and minimum distances, ResNet-18 or VGG-16 at three sparsities.
    AdversarialPruning,
}

/// What was measured.
pub struct Evidence<'a> {
    /// The network.
    pub network: &'a Network,
    /// The data set's name.
    pub data: &'a str,
    /// The norm of the attacks.
    pub norm: Norm,
    /// The evaluations, by radius.
    pub evaluations: &'a [(Fraction, Evaluation)],
    /// What only the author knows.
    pub submission: &'a Submission,
}

/// Something that a leaderboard asks for.
struct Requirement {
    what: &'static str,
    /// Why it is not met; none where it is.
    missing: Option<String>,
}

/// The files of a bundle.
struct Bundle {
    /// The name of the Python module with the network.
    module: String,
    files: Vec<(String, Vec<u8>)>,
    requirements: Vec<Requirement>,
}

impl Leaderboard {
    /// The folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Robustbench => "robustbench",
            Self::AdversarialPruning => "adversarial-pruning",
        }
    }

    /// Writes the bundle into `folder`; gives the files, and how many requirements are not met.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if a file cannot be written, [`ErrorKind::Declaration`] if the network cannot be written for PyTorch.
    pub fn write(self, evidence: &Evidence<'_>, folder: &Path) -> Result<(Vec<PathBuf>, usize)> {
        let bundle = match self {
            Self::Robustbench => robustbench::bundle(evidence)?,
            Self::AdversarialPruning => adversarial_pruning::bundle(evidence)?,
        };
        let unmet = bundle.requirements.iter().filter(|requirement| requirement.missing.is_some()).count();
        let exported = pytorch::export(evidence.network, &bundle.module)?;
        let mut files = bundle.files;
        files.push((format!("{}.py", bundle.module), exported.module.into_bytes()));
        files.push((format!("{}.safetensors", bundle.module), exported.weights));
        files.push(("requirements.md".into(), requirements(self, &bundle.requirements).into_bytes()));
        let mut written = Vec::with_capacity(files.len());
        for (name, bytes) in files {
            let path = folder.join(name);
            write_output(&path, &bytes)?;
            written.push(path);
        }
        Ok((written, unmet))
    }
}

impl Evidence<'_> {
    /// The evaluation at a radius, if there is one.
    fn at(&self, epsilon: f64) -> Option<&Evaluation> {
        let same = |found: f64| (found - epsilon).abs() < 1e-9;
        self.evaluations.iter().find(|(found, _)| same(found.value())).map(|(_, evaluation)| evaluation)
    }

    /// The standard AutoAttack at a radius, with the evaluation that it belongs to.
    fn autoattack(&self, epsilon: f64) -> Option<(&Evaluation, &AttackRecord)> {
        let evaluation = self.at(epsilon)?;
        let standard = ["apgd-ce", "apgd-t", "fab-t", "square"];
        let is_standard = |record: &&AttackRecord| record.parts.iter().map(|part| part.name.as_str()).eq(standard);
        evaluation.attacks.iter().find(is_standard).map(|record| (evaluation, record))
    }
}

/// A share as leaderboards write it: percent with two decimals.
fn two_decimals(survivors: usize, images: usize) -> String {
    format!("{:.2}", 100.0 * survivors as f64 / images.max(1) as f64)
}

fn requirement(what: &'static str, met: bool, missing: impl FnOnce() -> String) -> Requirement {
    Requirement { what, missing: (!met).then(missing) }
}

/// What only the author can say, as a requirement.
fn told(what: &'static str, setting: &str, given: bool) -> Requirement {
    requirement(what, given, || format!("not said; set `{setting}` in the file given with --about"))
}

fn requirements(leaderboard: Leaderboard, requirements: &[Requirement]) -> String {
    let mut text = format!("# What {} asks for\n\n", leaderboard.name());
    for Requirement { what, missing } in requirements {
        let _ = match missing {
            None => writeln!(text, "- [x] {what}"),
            Some(why) => writeln!(text, "- [ ] {what}: {why}"),
        };
    }
    text
}

fn json(value: &serde_json::Value) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::new(ErrorKind::Io, format!("the entry cannot be written: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests;
