//! Patterns of layers' names, in which `*` stands for any characters, dots included.

/// Whether the whole name fits.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The most precise of the patterns that fit: a name that is spelt out, else the one that spells most characters out, else the first.
pub(crate) fn most_precise<'a>(patterns: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let precision = |pattern: &str| (!pattern.contains('*'), pattern.chars().filter(|&letter| letter != '*').count());
    patterns.filter(|pattern| fits(pattern, name)).fold(None, |best, pattern| match best {
        Some(best) if precision(best) >= precision(pattern) => Some(best),
        _ => Some(pattern),
    })
}
