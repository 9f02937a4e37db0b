//! Names of rows and stages as file names.

use std::fmt::Write;

/// A name as the name of a file without its extension; different names give different ones, so that no row takes another's result.
///
/// Letters of ASCII, digits, dots, dashes and underscores stay; a space becomes `+`, and every other byte `%` and its hexadecimal code.
pub(crate) fn file_name(name: &str) -> String {
    if name.is_empty() {
        return "%".into();
    }
    let mut text = String::new();
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b' ' => text.push('+'),
            // A leading dot would hide the file.
            b'.' if at > 0 => text.push('.'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// The name that [`file_name`] was given; a name that it never gives is returned as it is.
pub(super) fn name_of(file_name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = file_name;
    while let Some(first) = rest.chars().next() {
        let code =
            rest.strip_prefix('%').and_then(|code| code.get(..2)).and_then(|code| u8::from_str_radix(code, 16).ok());
        let taken = match (first, code) {
            (_, Some(byte)) => {
                bytes.push(byte);
                3
            }
            ('+', None) => {
                bytes.push(b' ');
                1
            }
            ('%', None) if file_name == "%" => 1,
            (other, None) => {
                bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                other.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    String::from_utf8(bytes).unwrap_or_else(|_| file_name.to_owned())
}

/// A readable part of a directory's name: everything but letters, digits, dots, dashes and underscores becomes a dash.
pub(super) fn slug(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '-' };
    let slug: String = name.chars().map(safe).collect();
    slug.trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_names_stay_readable() {
        for (name, file) in [
            ("mrs-l1-norm", "mrs-l1-norm"),
            ("mrs-l1-norm cut", "mrs-l1-norm+cut"),
            ("epsilon 8/255", "epsilon+8%2F255"),
            ("", "%"),
        ] {
            assert_eq!(file_name(name), file);
        }
    }

    proptest! {
        // Reading a name back gives the same name, so no two names share a file.
        #[test]
        fn every_name_has_a_safe_file_of_its_own(name in ".{0,12}") {
            let file = file_name(&name);
            prop_assert_eq!(name_of(&file), name);
            prop_assert!(!file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\\', '\0', ':']));
        }

        #[test]
        fn any_file_name_can_be_read(file in ".{0,12}") {
            name_of(&file);
        }
    }
}
