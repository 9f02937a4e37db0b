//! A group as people read it.

use std::fmt;

use super::groups::{ChannelGroup, Role};

impl fmt::Display for ChannelGroup {
    /// Numbered lines of what goes when a channel goes; tensors of one layer share a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group `{}`: {} channels", self.name, self.channels)?;
        if let Some(reason) = &self.frozen {
            write!(f, ", frozen: {reason}")?;
        }
        let mut lines: Vec<(&str, Role, usize)> = Vec::new();
        for member in &self.members {
            let each = member.positions.iter().map(<[usize]>::len).max().unwrap_or(0);
            if lines.last().is_none_or(|(layer, role, _)| (*layer, *role) != (member.layer.as_str(), member.role)) {
                lines.push((&member.layer, member.role, each));
            }
        }
        for (number, (layer, role, each)) in lines.into_iter().enumerate() {
            let what = match role {
                Role::Output => "filter",
                Role::Norm => "norm channel",
                Role::Attention => "channel",
                Role::Input => "input",
            };
            let plural = if each == 1 { String::new() } else { "s".into() };
            write!(f, "\n  {:>2}. {each} {what}{plural} of `{layer}`", number + 1)?;
        }
        Ok(())
    }
}
