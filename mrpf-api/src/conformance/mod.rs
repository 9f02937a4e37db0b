//! Does a plugin keep the laws of its kind? What `mrpf plugins check` runs, and what a plugin's own test can run.
//!
//! ```no_run
//! # use mrpf_api::prelude::*;
//! #[test]
//! fn it_keeps_the_laws_of_its_kind() -> Result<()> {
//!     mrpf_api::conformance::require(Kind::Trainer, "my-trainer")
//! }
//! ```
//!
//! Every law is examined on small networks and images that are made here, within seconds. A plugin that keeps them all can still
//! be a bad idea; one that breaks one gives wrong results somewhere.

mod allocation;
mod architecture;
mod attack;
mod criterion;
mod data;
mod problem;
mod schedule;
mod sensitivity;
mod settings;
mod trainer;

use serde_json::Value;
use std::path::PathBuf;

use crate::foresight::Foresight;
use crate::registry::{self, Kind, PluginKind, Registration};
use crate::{Error, ErrorKind, Result};

/// What came out of examining one law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It is broken, and how.
    Broken(String),
    /// It could not be examined, and why.
    NotExamined(String),
}

/// A law and what came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The law, as a sentence.
    pub law: &'static str,
    /// What came out.
    pub verdict: Verdict,
}

/// What a plugin is examined with.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Settings that differ from the plugin's defaults, a JSON object.
    pub settings: serde_json::Map<String, Value>,
    /// Where a data set finds its files.
    pub data_dir: Option<PathBuf>,
}

/// Examines every law of the plugin's kind, and those of its settings.
pub fn examine(plugin: &'static Registration, surroundings: &Surroundings) -> Vec<Finding> {
    let subject = Subject { plugin, surroundings };
    let mut findings = settings::laws(&subject);
    findings.extend(match plugin.kind() {
        Kind::DataSet => data::laws(&subject),
        Kind::Architecture => architecture::laws(&subject),
        Kind::Trainer => trainer::laws(&subject),
        Kind::Sensitivity => sensitivity::laws(&subject),
        Kind::Criterion => criterion::laws(&subject),
        Kind::Allocation => allocation::laws(&subject),
        Kind::Schedule => schedule::laws(&subject),
        Kind::Attack => attack::laws(&subject),
    });
    findings
}

/// Fails unless the plugin, with its default settings, keeps every law of its kind; for a plugin's own tests.
///
/// # Errors
/// [`ErrorKind::UnknownName`] if it is not registered, [`ErrorKind::Plugin`] with the laws that are broken.
pub fn require(kind: Kind, name: &str) -> Result<()> {
    let findings = examine(registry::find(kind, name)?, &Surroundings::default());
    let broken: Vec<String> = findings
        .into_iter()
        .filter_map(|finding| match finding.verdict {
            Verdict::Broken(how) => Some(format!("{}: {how}", finding.law)),
            _ => None,
        })
        .collect();
    match broken.is_empty() {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Plugin,
            format!("{} `{name}` breaks its laws: {}", kind.name(), broken.join("; ")),
        )),
    }
}

/// The plugin under examination.
struct Subject<'a> {
    plugin: &'static Registration,
    surroundings: &'a Surroundings,
}

impl Subject<'_> {
    /// The plugin, made anew.
    fn make<T: PluginKind + ?Sized>(&self) -> Result<Box<T>> {
        registry::make::<T>(self.plugin.name, Value::Object(self.surroundings.settings.clone()))
    }
}

/// Examines a law; an error on the way breaks it.
fn law(law: &'static str, examine: impl FnOnce() -> Result<Verdict>) -> Finding {
    // What cannot say that it fails unwinds with its error.
    let verdict = registry::catch(examine).unwrap_or_else(|error| Verdict::Broken(error.to_string()));
    Finding { law, verdict }
}

/// Holds, or broken in this way.
fn holds_if(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Verdict::Holds } else { Verdict::Broken(otherwise()) }
}

/// Holds if what a plugin says of work beforehand is what it does: no refusal of what it accepted, and none made up.
fn keeps_its_word(said: Result<Foresight>, work: impl FnOnce() -> Result<()>) -> Result<Verdict> {
    let refusal = match said {
        Ok(Foresight::Unknown) => return Ok(Verdict::Holds),
        Ok(Foresight::Fits | Foresight::FitsBut(_)) => None,
        Err(error) if error.kind() == ErrorKind::Settings => Some(error),
        Err(error) => return Err(error),
    };
    Ok(match (refusal, work()) {
        (None, Err(error)) => Verdict::Broken(format!("it accepts beforehand, and says `{error}` at work")),
        (Some(refusal), Ok(())) => Verdict::Broken(format!("it says `{refusal}` beforehand, and does the work")),
        (None, Ok(())) | (Some(_), Err(_)) => Verdict::Holds,
    })
}

/// The law of [`keeps_its_word`].
const KEEPS_ITS_WORD: &str = "what it accepts beforehand it does not refuse later";

/// Holds where the numbers differ by no more than sums in another order do.
fn same_but_for_rounding(all: &[f64], few: &[f64]) -> Verdict {
    let largest = all.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let differ = |(all, few): &(&f64, &f64)| (*all - *few).abs() > 1e-3 * largest;
    match all.iter().zip(few).find(differ) {
        None => Verdict::Holds,
        Some((all, few)) => Verdict::Broken(format!(
            "{few} where images go through few at a time, {all} where all do: what is done in `Parts::next_part` must leave no trace"
        )),
    }
}

#[cfg(test)]
mod tests;
