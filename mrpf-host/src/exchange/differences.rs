//! What keeps a file from being a network: said at once, with the nearest names.

use mrpf_api::{Error, ErrorKind, nearest_first};
use std::fmt::Write as _;

/// Names that are shown of each kind; the rest is counted.
const SHOWN: usize = 6;

/// The file and the network side by side.
#[derive(Debug, Clone, Default)]
pub(super) struct Differences {
    /// Tensors of the network that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the network lacks: their names in the file, and as they were understood.
    pub left_over: Vec<(String, String)>,
    /// Tensors of another shape: the name in the file, the shape there, and the shape that is needed.
    pub shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Tensors that hold several of the network and whose rows cannot be split evenly: the name in the file, the shape, the parts.
    pub whole: Vec<(String, Vec<usize>, Vec<String>)>,
    /// Tensors that cannot be weights: the name in the file, and why.
    pub unusable: Vec<(String, String)>,
}

impl Differences {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.missing.len() + self.left_over.len() + self.shapes.len() + self.whole.len() + self.unusable.len()
    }

    /// The failure, `about` which network and by whose names.
    pub fn told(&self, about: &str, hint: String) -> Error {
        let mut text = format!("the file does not hold {about}");
        let missing = self.missing.iter().map(|name| {
            let near = nearest(name, self.left_over.iter().map(|(file, ours)| (ours.as_str(), file.as_str())));
            format!("`{name}`{}", near.map(|near| format!(", nearest in the file: `{near}`")).unwrap_or_default())
        });
        list(&mut text, "missing", missing.collect());
        let left_over = self.left_over.iter().map(|(file, ours)| {
            let near = nearest(ours, self.missing.iter().map(|name| (name.as_str(), name.as_str())));
            format!("`{file}`{}", near.map(|near| format!(", nearest wanted: `{near}`")).unwrap_or_default())
        });
        list(&mut text, "left over", left_over.collect());
        let shapes =
            self.shapes.iter().map(|(name, found, wanted)| format!("`{name}`: {found:?}, expected {wanted:?}"));
        list(&mut text, "of another shape", shapes.collect());
        let whole = self.whole.iter().map(|(name, shape, parts)| {
            let parts = parts.iter().map(|part| format!("`{part}`")).collect::<Vec<_>>().join(", ");
            format!("`{name}`: {shape:?}, expected as many rows of each of {parts}")
        });
        list(&mut text, "whose rows cannot be split", whole.collect());
        let unusable = self.unusable.iter().map(|(name, why)| format!("`{name}`: {why}"));
        list(&mut text, "that cannot be taken for weights", unusable.collect());
        Error::new(ErrorKind::Checkpoint, text).hint(hint)
    }
}

fn list(text: &mut String, what: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    let _ = write!(text, "\n  {} {what}:", lines.len());
    for line in lines.iter().take(SHOWN) {
        let _ = write!(text, "\n    {line}");
    }
    if lines.len() > SHOWN {
        let _ = write!(text, "\n    and {} more", lines.len() - SHOWN);
    }
}

/// Of pairs of what is compared and what is told, the one nearest to `name`; only of the same role, so that a weight is no bias.
fn nearest<'a>(name: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<&'a str> {
    let role = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let pairs: Vec<_> = pairs.filter(|(compared, _)| role(compared) == role(name)).collect();
    let first = nearest_first(name, pairs.iter().map(|(compared, _)| *compared)).into_iter().next()?;
    pairs.iter().find(|(compared, _)| *compared == first).map(|(_, told)| *told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_told_at_once_and_long_lists_are_cut() {
        let owned = |name: &str| (format!("net.{name}"), name.to_owned());
        let differences = Differences {
            missing: (0..8).map(|n| format!("layer1.{n}.conv1.weight")).collect(),
            left_over: vec![owned("layer1.0.convolution1.weight"), owned("layer1.0.conv1.bias")],
            shapes: vec![("fc.weight".into(), vec![100, 64], vec![10, 64])],
            whole: vec![(
                "net.qkv.weight".into(),
                vec![64, 8],
                vec!["query.weight".into(), "key.weight".into(), "value.weight".into()],
            )],
            unusable: vec![("net.conv1.mask".into(), "holds i64, expected f32".into())],
        };
        insta::assert_snapshot!(differences.told("a `resnet`", "look again".into()).to_string());
    }
}
