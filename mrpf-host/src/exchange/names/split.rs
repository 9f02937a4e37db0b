//! Layers of a file that are several of ours: `attn.qkv`, whose rows are those of queries, keys and values.

use serde::Deserialize;

use super::pattern::{Pattern, Rename};

/// A fused layer, and the layers whose rows it holds one after the other, the same number of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Split(Vec<Rename>);

/// A split as a file of names has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// Pattern of the fused layer's name.
    layer: String,
    /// Our names of its parts, in the order of their rows.
    into: Vec<String>,
}

impl Split {
    /// Reads the patterns.
    ///
    /// # Errors
    /// A sentence saying what is wrong, for example that there is nothing to split a layer into.
    pub fn parse(Table { layer, into }: &Table) -> Result<Self, String> {
        Pattern::parse(layer)?;
        let parts = into.iter().map(|part| Rename::parse(layer, part)).collect::<Result<Vec<_>, _>>()?;
        match parts.iter().enumerate().any(|(at, part)| parts[..at].contains(part)) {
            true => Err(format!("`{layer}` is split into two parts of one name")),
            false if parts.len() < 2 => Err(format!("`{layer}` is split into {}, expected two or more", parts.len())),
            false => Ok(Self(parts)),
        }
    }

    /// The names of the parts, if the layer is one that is split.
    pub fn apply(&self, layer: &str) -> Option<Vec<String>> {
        self.0.iter().map(|part| part.apply(layer)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(layer: &str, into: &[&str]) -> Result<Split, String> {
        Split::parse(&Table { layer: layer.into(), into: into.iter().map(|&part| part.into()).collect() })
    }

    #[test]
    fn a_layer_becomes_its_parts_in_their_order() {
        let split = split("block{b}.qkv", &["block{b}.query", "block{b}.key"]).expect("a split");
        assert_eq!(split.apply("block12.qkv"), Some(vec!["block12.query".into(), "block12.key".into()]));
        assert_eq!(split.apply("block12.proj"), None);
    }

    #[test]
    fn what_splits_nothing_is_refused() {
        for (layer, into, told) in [
            ("qkv{", &["q", "k"][..], "expected numbers such as {n}"),
            ("qkv{", &[], "expected numbers such as {n}"),
            ("qkv", &["q", "k{n}"], "`k{n}` has what `qkv` lacks"),
            ("qkv", &["q"], "`qkv` is split into 1, expected two or more"),
            ("qkv", &[], "`qkv` is split into 0, expected two or more"),
            ("qkv", &["q", "k", "q"], "two parts of one name"),
        ] {
            let error = split(layer, into).expect_err(layer);
            assert!(error.contains(told), "{error}");
        }
    }
}
