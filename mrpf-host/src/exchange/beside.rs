//! Tensors that stand in a checkpoint beside the weights: counters, figures, states of optimisers, masks and scores.

use mrpf_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

const BESIDE: &str = include_str!("names/beside.toml");

/// Tensors that were left out because no network needs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What they are.
    pub what: String,
    /// Their names in the file.
    pub tensors: Vec<String>,
}

/// What a tensor is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside<'a> {
    /// Nothing that a network computes with, in words.
    Ignored(&'a str),
    /// Ones and zeros by which weights are multiplied.
    Mask,
    /// Numbers by which a mask is made.
    Scores,
    /// None of these, hence weights.
    No,
}

/// How such tensors are called.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Names {
    ignored: Vec<Kind>,
    masks: Last,
    scores: Last,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    what: String,
    #[serde(default)]
    first: Vec<String>,
    #[serde(default)]
    last: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    last: Vec<String>,
}

impl Names {
    /// Those that are built in.
    pub fn built_in() -> Result<Self> {
        toml::from_str(BESIDE).map_err(|error| Error::new(ErrorKind::Settings, error.to_string()))
    }

    /// What the tensor of that name is.
    pub fn of(&self, name: &str) -> Beside<'_> {
        let (first, last) = (name.split('.').next().unwrap_or(name), name.rsplit('.').next().unwrap_or(name));
        let is = |names: &[String], part: &str| names.iter().any(|name| name == part);
        let begins = |kind: &Kind| first.len() < name.len() && is(&kind.first, first);
        if let Some(kind) = self.ignored.iter().find(|kind| begins(kind) || is(&kind.last, last)) {
            return Beside::Ignored(&kind.what);
        }
        match (is(&self.masks.last, last), is(&self.scores.last, last)) {
            (true, _) => Beside::Mask,
            (_, true) => Beside::Scores,
            _ => Beside::No,
        }
    }
}

/// Adds a name to those of its kind.
pub(super) fn leave_out(all: &mut Vec<LeftOut>, what: &str, tensor: String) {
    match all.iter_mut().find(|kind| kind.what == what) {
        Some(kind) => kind.tensors.push(tensor),
        None => all.push(LeftOut { what: what.to_owned(), tensors: vec![tensor] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_is_no_weight() -> Result<()> {
        let names = Names::built_in()?;
        for (name, expected) in [
            ("module.bn1.num_batches_tracked", Beside::Ignored("counters of batches")),
            ("n_averaged", Beside::Ignored("counters of averages, steps and epochs")),
            ("optimizer.state.0.momentum_buffer", Beside::Ignored("states of optimisers and schedules")),
            ("optimizer", Beside::No),
            ("best_acc", Beside::Ignored("figures of the training")),
            ("layer1.0.conv1.mask", Beside::Mask),
            ("conv1.weight_mask", Beside::Mask),
            ("conv1.popup_scores", Beside::Scores),
            ("conv1.weight", Beside::No),
            ("bn1.running_var", Beside::No),
        ] {
            assert_eq!(names.of(name), expected, "{name}");
        }
        Ok(())
    }

    #[test]
    fn nothing_that_a_network_needs_is_left_out() -> Result<()> {
        let names = Names::built_in()?;
        for role in ["weight", "bias", "running_mean", "running_var", "weight_orig", "bias_orig"] {
            assert_eq!(names.of(&format!("layer.{role}")), Beside::No, "{role}");
        }
        Ok(())
    }
}
