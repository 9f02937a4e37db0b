//! Names of layers by pattern: `features.denseblock{b}.denselayer{l}.norm{n}` becomes `block{b}.layer.{l-1}.bn{n}`.
//!
//! `{x}` stands for a whole number, and `{x+1}` and `{x-1}` for its neighbours; `*` at the end stands for any rest, and one at the
//! beginning, where nothing is renamed, for any beginning.

use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    /// A number by its letter, and what is added to it.
    Number(String, i64),
    Rest,
}

/// A pattern that a whole name fits or does not.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// Whether anything may stand before the parts.
    any_beginning: bool,
    parts: Vec<Part>,
}

/// What stands for the numbers and the rest of a name.
type Found<'a> = (BTreeMap<&'a str, i64>, &'a str);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A sentence saying what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let (whole, has_rest) = text.strip_suffix('*').map_or((text, false), |before| (before, true));
        let (mut left, any_beginning) = whole.strip_prefix('*').map_or((whole, false), |after| (after, true));
        while let Some(at) = left.find(['{', '*']) {
            if at > 0 {
                parts.push(Part::Text(left[..at].to_owned()));
            }
            let Some((number, after)) = left[at..].strip_prefix('{').and_then(|inside| inside.split_once('}')) else {
                return Err(format!(
                    "`{text}`: expected numbers such as {{n}}, and * at the beginning or the end only"
                ));
            };
            parts.push(number_part(number).ok_or(format!("`{text}`: `{{{number}}}` is no number such as {{n-1}}"))?);
            left = after;
        }
        if !left.is_empty() {
            parts.push(Part::Text(left.to_owned()));
        }
        if has_rest {
            parts.push(Part::Rest);
        }
        Ok(Self { any_beginning, parts })
    }

    /// Whether the whole name fits.
    pub fn fits(&self, name: &str) -> bool {
        let mut starts = name.char_indices().map(|(at, _)| at).chain([name.len()]);
        starts.by_ref().take(if self.any_beginning { usize::MAX } else { 1 }).any(|at| self.read(&name[at..]).is_some())
    }

    fn read<'a>(&'a self, name: &'a str) -> Option<Found<'a>> {
        let (mut numbers, mut left) = (BTreeMap::new(), name);
        for part in &self.parts {
            match part {
                Part::Text(text) => left = left.strip_prefix(text.as_str())?,
                Part::Rest => return Some((numbers, left)),
                Part::Number(letter, added) => {
                    let digits = left.len() - left.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                    let number = left[..digits].parse::<i64>().ok()?.checked_sub(*added)?;
                    if *numbers.entry(letter.as_str()).or_insert(number) != number {
                        return None;
                    }
                    left = &left[digits..];
                }
            }
        }
        left.is_empty().then_some((numbers, ""))
    }

    fn write(&self, (numbers, rest): &Found<'_>) -> Option<String> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Rest => name.push_str(rest),
                Part::Number(letter, added) => {
                    let number = numbers.get(letter.as_str())?.checked_add(*added).filter(|&number| number >= 0)?;
                    name.push_str(&number.to_string());
                }
            }
        }
        Some(name)
    }
}

fn number_part(text: &str) -> Option<Part> {
    let end = text.find(['+', '-']).unwrap_or(text.len());
    let (letter, added) = text.split_at(end);
    let added = if added.is_empty() { 0 } else { added.parse().ok()? };
    let is_word = !letter.is_empty() && letter.chars().all(|c| c.is_ascii_alphabetic());
    is_word.then(|| Part::Number(letter.to_owned(), added))
}

/// A pattern, and what a name that fits it becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Rename {
    from: Pattern,
    to: Pattern,
}

impl Rename {
    /// Reads both sides.
    ///
    /// # Errors
    /// A sentence saying what is wrong, for example a number on the right that the left does not have.
    pub fn parse(from: &str, to: &str) -> Result<Self, String> {
        let (from_pattern, to_pattern) = (Pattern::parse(from)?, Pattern::parse(to)?);
        if let Some((text, _)) =
            [(from, &from_pattern), (to, &to_pattern)].into_iter().find(|(_, pattern)| pattern.any_beginning)
        {
            return Err(format!("`{text}`: * at the beginning is for `ignore` only, renaming needs a whole name"));
        }
        for part in &to_pattern.parts {
            let known = from_pattern.parts.iter().any(|other| match (part, other) {
                (Part::Number(a, _), Part::Number(b, _)) => a == b,
                (part, other) => matches!(part, Part::Text(_)) || part == other,
            });
            if !known {
                return Err(format!("`{to}` has what `{from}` lacks"));
            }
        }
        Ok(Self { from: from_pattern, to: to_pattern })
    }

    /// The other name, if this one fits.
    pub fn apply(&self, name: &str) -> Option<String> {
        self.to.write(&self.from.read(name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(from: &str, to: &str, name: &str) -> Option<String> {
        Rename::parse(from, to).expect("a rename").apply(name)
    }

    #[test]
    fn numbers_and_rests_are_carried_over() {
        for (from, to, name, expected) in [
            ("fc", "linear", "fc", Some("linear")),
            ("fc", "linear", "fc2", None),
            ("block{b}.layer{l}.n{n}", "b{b-1}.{l+2}.bn{n}", "block3.layer10.n1", Some("b2.12.bn1")),
            ("block{b}", "b{b-1}", "block0", None),
            ("block{b}", "b{b}", "block", None),
            ("a{n+1}", "b{n}", "a5", Some("b4")),
            ("{n}.{n}", "x{n}", "3.3", Some("x3")),
            ("{n}.{n}", "x{n}", "3.4", None),
            ("a.*", "b.*", "a.c.1", Some("b.c.1")),
            ("a.*", "b", "a.c.1", Some("b")),
            ("a{n}", "b{n}", "a99999999999999999999", None),
        ] {
            assert_eq!(renamed(from, to, name).as_deref(), expected, "{from} {to} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (from, to, told) in [
            ("a{", "b", "expected numbers such as {n}"),
            ("a{1}", "b", "`{1}` is no number"),
            ("a{n*2}", "b", "`{n*2}` is no number"),
            ("a*b", "b", "* at the beginning or the end only"),
            ("*.b", "b", "* at the beginning is for `ignore` only"),
            ("a", "b{n}", "`b{n}` has what `a` lacks"),
            ("a", "b*", "`b*` has what `a` lacks"),
        ] {
            let error = Rename::parse(from, to).expect_err(from);
            assert!(error.contains(told), "{error}");
        }
    }
}
