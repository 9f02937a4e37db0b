//! What the result of a stage was computed from, so that a resumed run never sets it beside other settings, images or plugins.

use mrpf_api::registry::{PluginKind, registrations};
use mrpf_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

use crate::experiment::PluginChoice;

/// How the names of results of other stages begin, which are known only when those stages are done.
const INPUT: &str = "input: ";

/// Everything that a stage depends on, by name: settings by their paths, and digests of images, inputs and plugin libraries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageKey(BTreeMap<String, Value>);

impl StageKey {
    /// Adds a value under `name`; a table's values are added one by one, under their paths.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] if the value cannot be written as JSON.
    pub fn with(mut self, name: &str, value: &impl Serialize) -> Result<Self> {
        let value = serde_json::to_value(value)
            .map_err(|error| Error::new(ErrorKind::Settings, format!("{name} cannot be written as JSON: {error}")))?;
        self.add(name, value);
        Ok(self)
    }

    /// Adds the digest of something that another stage made, or that the user named.
    #[must_use]
    pub fn with_input(mut self, name: &str, sha256: String) -> Self {
        self.0.insert(format!("{INPUT}{name}"), Value::String(sha256));
        self
    }

    /// Adds the digest of the library that a plugin comes from; nothing for those built into the program.
    #[must_use]
    pub fn with_plugin<T: PluginKind + ?Sized>(mut self, choice: &PluginChoice) -> Self {
        let known = registrations().into_iter().find(|known| known.kind() == T::KIND && known.name == choice.name);
        if let Some(library) = known.and_then(|known| known.origin.library()) {
            let name = format!("library of {} `{}`", T::KIND.name(), choice.name);
            self.0.insert(name, Value::String(library.sha256.clone()));
        }
        self
    }

    /// The same without what `leave_out` names, a setting or a table of settings.
    #[must_use]
    pub fn without(mut self, leave_out: &[&str]) -> Self {
        self.0.retain(|name, _| !leave_out.iter().any(|out| is_at(name, out)));
        self
    }

    /// Adds everything that `other` says.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.clone());
    }

    fn add(&mut self, name: &str, value: Value) {
        match value {
            Value::Object(table) => {
                for (key, value) in table {
                    self.add(&if name.is_empty() { key } else { format!("{name}.{key}") }, value);
                }
            }
            value => {
                self.0.insert(name.to_owned(), value);
            }
        }
    }

    /// A clause for each thing that was another when the stage was computed: `evaluate.threat.epsilon was "0.1" and is "0.3" now`.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let names = self.0.keys().chain(now.0.keys().filter(|name| !self.0.contains_key(*name)));
        names.filter_map(|name| difference(name, self.0.get(name), now.0.get(name))).collect()
    }

    /// Checks that the stage `stage` of the run in `dir`, computed from `self`, would be computed from the same `now`.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] with each difference and the two ways on.
    pub fn check(&self, now: &Self, stage: &str, dir: &Path) -> Result<()> {
        let differences = self.differences(now);
        if differences.is_empty() {
            return Ok(());
        }
        let message =
            format!("`{stage}` in {} was computed from something else: {}", dir.display(), differences.join("; "));
        Err(Error::new(ErrorKind::Settings, message).hint(
            "change it back to go on with this run, or start a new run with the new settings, in another directory with --out",
        ))
    }

    /// The same, leaving out what only stages before this one can tell.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_before_inputs(&self, now: &Self, stage: &str, dir: &Path) -> Result<()> {
        let known = |key: &Self| Self(key.0.clone().into_iter().filter(|(name, _)| !name.starts_with(INPUT)).collect());
        known(self).check(&known(now), stage, dir)
    }
}

fn is_at(name: &str, path: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn difference(name: &str, was: Option<&Value>, is: Option<&Value>) -> Option<String> {
    let text = |value: &Value| match value {
        Value::Null => "not set".to_owned(),
        // Of a digest the beginning is enough to tell two apart.
        Value::String(digest) if digest.len() == 64 => digest[..12].to_owned(),
        other => other.to_string(),
    };
    match (was, is) {
        (Some(was), Some(is)) if was == is => None,
        (Some(was), Some(is)) => Some(format!("{name} was {} and is {} now", text(was), text(is))),
        (Some(was), None) => Some(format!("{name} was {} and is not set now", text(was))),
        (None, Some(is)) => Some(format!("{name} was not set and is {} now", text(is))),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(value: &Value) -> Result<StageKey> {
        StageKey::default().with("evaluate", value)
    }

    #[test]
    fn differences_are_told_by_the_paths_of_settings() -> Result<()> {
        let then = key(&json!({"threat": {"epsilon": "0.1", "norm": "linf"}, "images": null, "attacks": ["pgd"]}))?;
        let now = key(&json!({"threat": {"epsilon": "0.3", "norm": "linf"}, "images": 5, "batch": 4}))?;
        assert!(then.differences(&then).is_empty());
        assert_eq!(
            then.differences(&now),
            [
                r#"evaluate.attacks was ["pgd"] and is not set now"#,
                "evaluate.images was not set and is 5 now",
                r#"evaluate.threat.epsilon was "0.1" and is "0.3" now"#,
                "evaluate.batch was not set and is 4 now",
            ]
        );
        assert!(then.clone().without(&["evaluate"]).differences(&StageKey::default()).is_empty());
        let error = then.check(&now, "attack dense", Path::new("run")).expect_err("other settings");
        assert!(error.to_string().starts_with("`attack dense` in run was computed from something else: "), "{error}");
        Ok(())
    }

    #[test]
    fn inputs_are_compared_when_they_are_known() -> Result<()> {
        let then = key(&json!({"images": 1}))?.with_input("network", "a".repeat(64));
        let now = key(&json!({"images": 1}))?;
        then.check_before_inputs(&now, "attack", Path::new("run"))?;
        let other = now.with_input("network", "b".repeat(64));
        assert_eq!(then.differences(&other), ["input: network was aaaaaaaaaaaa and is bbbbbbbbbbbb now"]);
        Ok(())
    }
}
