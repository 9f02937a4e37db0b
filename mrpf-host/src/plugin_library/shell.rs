//! A path as one word of a shell's command line, to be copied from a message.

use std::path::Path;

/// `None` for a path that cannot be shown in full.
pub(super) fn word(path: &Path) -> Option<String> {
    // Characters that are not shown as they are, such as those that change the direction of the text.
    let hidden = |c: char| !"'\"\\".contains(c) && c.escape_debug().len() > 1;
    let text = path.to_str().filter(|text| !text.is_empty() && !text.chars().any(hidden))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if text.chars().all(plain) && !text.starts_with('-') {
        return Some(text.to_owned());
    }
    // An option would be read from a word that begins with a hyphen.
    let dot = if text.starts_with('-') { "./" } else { "" };
    Some(format!("'{dot}{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_that_need_no_quotes_get_none() {
        assert_eq!(word(Path::new("/a/b-c_1.so")).as_deref(), Some("/a/b-c_1.so"));
        assert_eq!(word(Path::new("a b.so")).as_deref(), Some("'a b.so'"));
        assert_eq!(word(Path::new("it's.so")).as_deref(), Some(r"'it'\''s.so'"));
        assert_eq!(word(Path::new("-x.so")).as_deref(), Some("'./-x.so'"));
        assert_eq!((word(Path::new("a\u{1b}[2J.so")), word(Path::new(""))), (None, None));
        assert_eq!(word(Path::new("a\u{202e}os.b")), None);
    }

    #[cfg(unix)]
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_shell_reads_the_path_back(path in "[!-,.-~äß漢][ -~äß漢]{0,20}") {
            let word = word(Path::new(&path)).expect("it can be shown");
            let output = std::process::Command::new("sh").arg("-c").arg(format!("printf %s {word}")).output();
            prop_assert_eq!(output.expect("a shell").stdout, path.into_bytes());
        }
    }
}
