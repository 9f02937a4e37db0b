//! Texts without the folders of the machine that they were written on.

use std::path::Path;

/// The text with every absolute path cut to what identifies it: below `store_root` the rest of the path, elsewhere its last part.
///
/// A path is what starts with `/` or with a drive such as `C:\`, at the beginning of a word or of a quotation. A page can then be shown to
/// others, and two machines write the same one.
pub fn without_folders(text: &str, store_root: &Path) -> String {
    let absolute = std::path::absolute(store_root).unwrap_or_else(|_| store_root.to_owned());
    let mut shorter = text.to_owned();
    for root in [absolute.as_path(), store_root] {
        let root = root.display().to_string();
        if root.len() > 1 {
            shorter = shorter.replace(&format!("{root}{}", std::path::MAIN_SEPARATOR), "");
        }
    }
    let mut result = String::with_capacity(shorter.len());
    let mut rest = shorter.as_str();
    let mut before = ' ';
    while let Some(letter) = rest.chars().next() {
        let starts_here = before.is_whitespace() || "\"'`([{=<".contains(before);
        match path_end(rest, before).filter(|_| starts_here) {
            Some(end) => {
                let path = &rest[..end];
                let last = path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
                result.push('…');
                result.push('/');
                result.push_str(last);
                before = '/';
                rest = &rest[end..];
            }
            None => {
                result.push(letter);
                before = letter;
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    result
}

/// Where the path ends that the text starts with, if it starts with one: at the closing quotation mark, or at the end of the word.
fn path_end(text: &str, before: char) -> Option<usize> {
    let bytes = text.as_bytes();
    let drive = bytes.len() > 3 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && b"\\/".contains(&bytes[2]);
    let slash = bytes.len() > 1 && bytes[0] == b'/' && !bytes[1].is_ascii_whitespace();
    if !drive && !slash {
        return None;
    }
    let end = match before {
        '"' | '\'' | '`' => text.find(before).or_else(|| text.find('\n')),
        _ => text.find(|letter: char| letter.is_whitespace() || ",;:)]}>".contains(letter) && !drive),
    };
    Some(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_and_everything_else_stays() {
        let root = Path::new("/somewhere/runs/store");
        for (text, expected) in [
            ("cannot read /somewhere/runs/store/prune-1/plan.json: gone", "cannot read prune-1/plan.json: gone"),
            ("the teacher /data/nets/big.safetensors, of 8/255", "the teacher …/big.safetensors, of 8/255"),
            ("dir = \"/my data/cifar 10\"\nx = 1", "dir = \"…/cifar 10\"\nx = 1"),
            ("`C:\\data\\images\\` is empty", "`…/images` is empty"),
            ("and/or 1 / 2 https://example.org/a", "and/or 1 / 2 https://example.org/a"),
            ("ends with ä /ö/ü", "ends with ä …/ü"),
        ] {
            assert_eq!(without_folders(text, root), expected);
        }
    }
}
