//! Constraints: what every allocation must leave each group, whatever the budget asks for.

use glob::Pattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::coupling::{ChannelGroup, Role, fewest_channels};
use crate::network::Declaration;
use crate::{Error, ErrorKind, Result};

/// What widths are allowed. Shares are densities, of the channels that a group has in the network before any pruning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Constraints {
    /// A group that gives any channels keeps a multiple of this number, at least 1. One that gives none may keep any number.
    pub multiple: usize,
    /// The share of its channels that a group keeps at least, in [0, 1].
    pub floor: f64,
    /// The share of its channels that a group keeps at most, in (0, 1]; below 1, every group gives some.
    pub ceiling: f64,
    /// Layers that keep all of their channels, and with them the layers whose channels are coupled to theirs: names in which `*`
    /// stands for any text, `?` for one character and `[...]` for one of these. What the layers read may still shrink.
    pub keep: Vec<String>,
}

impl Default for Constraints {
    /// None but those of the structure.
    fn default() -> Self {
        Self { multiple: 1, floor: 0.0, ceiling: 1.0, keep: Vec::new() }
    }
}

/// [`Constraints`] on the groups of one network, from before it was pruned to after its last round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Ascending widths by the name of the group.
    widths: BTreeMap<String, Vec<usize>>,
    /// Whether anything is asked for beyond the structure.
    constrained: bool,
}

impl Constraints {
    /// Checks what can be checked without a network.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the constraint that is out of its range.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str, found: String, expected: &str| {
            Err(Error::new(ErrorKind::Settings, format!("{what} {found}, expected {expected}")))
        };
        if self.multiple == 0 {
            return wrong("multiple", "0".into(), "at least 1");
        }
        if !(0.0..=1.0).contains(&self.floor) {
            return wrong("floor", self.floor.to_string(), "the share of channels that stays at least, from 0 to 1");
        }
        if !(self.ceiling > 0.0 && self.ceiling <= 1.0) {
            return wrong("ceiling", self.ceiling.to_string(), "the share that stays at most, above 0 and at most 1");
        }
        if self.floor > self.ceiling {
            return wrong("floor", self.floor.to_string(), &format!("at most the ceiling, {}", self.ceiling));
        }
        self.patterns().map(drop)
    }

    /// The widths that each group may have; `declaration` and its `groups` are those before any pruning.
    ///
    /// A group keeps at least what [`fewest_channels`] says, even where the ceiling is lower: no layer is ever empty. Where no whole
    /// number of channels lies between floor and ceiling, the floor counts.
    ///
    /// # Errors
    /// As [`Constraints::check`]; [`ErrorKind::UnknownName`] for a pattern that no layer with channels matches, with the nearest
    /// layers; [`ErrorKind::Budget`] for a group that no width is allowed for.
    pub fn limits(&self, declaration: &Declaration, groups: &[ChannelGroup]) -> Result<Limits> {
        self.check()?;
        let whole = self.whole(groups)?;
        let mut widths = BTreeMap::new();
        for (group, fewest) in groups.iter().zip(fewest_channels(declaration, groups)) {
            let allowed = match group.frozen.is_some() || whole.contains(group.name.as_str()) {
                true => vec![group.channels],
                false => self.allowed(group, fewest)?,
            };
            widths.insert(group.name.clone(), allowed);
        }
        Ok(Limits { widths, constrained: *self != Self::default() })
    }

    fn allowed(&self, group: &ChannelGroup, fewest: usize) -> Result<Vec<usize>> {
        let all = group.channels;
        // A share such as 0.3 of 10 is three channels, though the product is a little above.
        let [least, most] = [(self.floor * all as f64 - 1e-9).ceil(), (self.ceiling * all as f64 + 1e-9).floor()];
        let least = (least as usize).clamp(fewest, all);
        let most = (most as usize).clamp(least, all);
        let may = |width: &usize| width.is_multiple_of(self.multiple) || *width == all;
        let allowed: Vec<usize> = (least..=most).filter(may).collect();
        match allowed.is_empty() {
            false => Ok(allowed),
            true => {
                let (name, multiple) = (&group.name, self.multiple);
                let message = format!(
                    "group `{name}` of {all} channels may keep {least} to {most}, of which none is a multiple of {multiple}"
                );
                Err(Error::new(ErrorKind::Budget, message)
                    .hint(format!("lower the multiple, raise the ceiling, or leave it whole: keep = [\"{name}\"]")))
            }
        }
    }

    /// The names of the groups that a pattern keeps whole.
    fn whole<'a>(&self, groups: &'a [ChannelGroup]) -> Result<BTreeSet<&'a str>> {
        let mut whole = BTreeSet::new();
        for (text, pattern) in self.keep.iter().zip(self.patterns()?) {
            let matched: Vec<&ChannelGroup> =
                groups.iter().filter(|group| layers(group).any(|layer| pattern.matches(layer))).collect();
            if matched.is_empty() {
                let names: BTreeSet<&str> = groups.iter().flat_map(layers).collect();
                return Err(Error::unknown_name("layer with channels", text, names));
            }
            whole.extend(matched.into_iter().map(|group| group.name.as_str()));
        }
        Ok(whole)
    }

    fn patterns(&self) -> Result<Vec<Pattern>> {
        let read = |text: &String| {
            Pattern::new(text).map_err(|error| {
                let message = format!("keep `{text}`, expected the name of a layer with `*`, `?` and `[...]`: {error}");
                Error::new(ErrorKind::Settings, message)
            })
        };
        self.keep.iter().map(read).collect()
    }
}

/// The layers whose own channels are those of the group.
fn layers(group: &ChannelGroup) -> impl Iterator<Item = &str> {
    group.members.iter().filter(|member| member.role != Role::Input).map(|member| member.layer.as_str())
}

impl Limits {
    /// Whether anything is asked for beyond what the structure needs.
    pub fn constrained(&self) -> bool {
        self.constrained
    }

    /// The widths that a group may have now, ascending and never none.
    pub(super) fn allowed(&self, group: &ChannelGroup, fewest: usize) -> Vec<usize> {
        let now = |width: &&usize| (fewest..=group.channels).contains(*width);
        let allowed = match self.widths.get(&group.name) {
            _ if group.frozen.is_some() => Vec::new(),
            None => (fewest..=group.channels).collect(),
            Some(widths) => widths.iter().filter(now).copied().collect(),
        };
        // A network that was cut under other constraints is left as it is.
        if allowed.is_empty() { vec![group.channels] } else { allowed }
    }
}
