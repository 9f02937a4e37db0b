//! Names come from files that others made: networks, data sets, experiments. Here they become harmless in each kind of output. HTML is not
//! here: its templates escape what they are given.

use std::borrow::Cow;
use std::fmt::Write;

/// Text for a terminal: what would move its cursor, change its colours or turn the direction of writing is shown as `\u001b`, which is
/// also what JSON writes for it. Line ends and tabs stay.
pub fn terminal(text: &str) -> Cow<'_, str> {
    visible(text, |sign| is_control(sign) && sign != '\n' && sign != '\t')
}

/// The same on one line: for a name, which has no line ends of its own.
pub fn one_line(text: &str) -> Cow<'_, str> {
    visible(text, is_control)
}

/// Text within a line or a table's cell of Markdown: no tags, no code, no links, no end of the cell or line.
pub fn markdown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = one_line(&line);
    let mut escaped = String::with_capacity(line.len());
    let mut signs = line.chars().peekable();
    while let Some(sign) = signs.next() {
        let begins_tag = |next: &char| next.is_ascii_alphabetic() || ['/', '!', '?'].contains(next);
        match sign {
            '<' if signs.peek().is_some_and(begins_tag) => escaped.push_str("&lt;"),
            // A backslash would not help: within code it is a backslash.
            '`' => escaped.push_str("&#96;"),
            '|' => escaped.push_str("\\|"),
            ']' if signs.peek() == Some(&'(') => escaped.push_str("]\\"),
            sign => escaped.push(sign),
        }
    }
    escaped
}

/// A block of code in Markdown, between fences that nothing in it can end.
pub fn markdown_code(language: &str, code: &str) -> String {
    let longest = code.split(|sign| sign != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}", terminal(code.trim_end()))
}

/// Text of a CSV cell that no spreadsheet takes for a formula (OWASP, "CSV injection"). Numbers stay numbers.
pub fn csv(text: &str) -> Cow<'_, str> {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err() {
        true => Cow::Owned(format!("'{text}")),
        false => Cow::Borrowed(text),
    }
}

/// Text within a line of LaTeX.
pub fn latex(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut escaped = String::new();
    for sign in one_line(&line).chars() {
        match sign {
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '±' => escaped.push_str("$\\pm$"),
            // A row that begins with a bracket would be read as an option of the line break before it.
            '[' => escaped.push_str("{[}"),
            '{' | '}' | '$' | '&' | '#' | '_' | '%' => escaped.extend(['\\', sign]),
            sign => escaped.push(sign),
        }
    }
    escaped
}

/// A block of code in LaTeX. The one text that would end it is broken up.
pub fn latex_code(code: &str) -> String {
    let code = terminal(code.trim_end()).replace("\\end{verbatim}", "\\end {verbatim}");
    format!("{{\\footnotesize\\begin{{verbatim}}\n{code}\n\\end{{verbatim}}}}")
}

fn visible(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for sign in text.chars() {
        match hidden(sign) {
            true => {
                let _ = write!(shown, "\\u{:04x}", u32::from(sign));
            }
            false => shown.push(sign),
        }
    }
    Cow::Owned(shown)
}

/// Control characters, and those of Unicode that turn the direction of writing or end a line.
fn is_control(sign: char) -> bool {
    let turns = matches!(sign, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    sign.is_control() || turns || matches!(sign, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_terminal_is_told_nothing() {
        assert_eq!(terminal("a\x1b[31mb\r\u{9b}2J\u{202e}c\n\td"), "a\\u001b[31mb\\u000d\\u009b2J\\u202ec\n\td");
        assert_eq!(one_line("a\nb\tc"), "a\\u000ab\\u0009c");
        assert_eq!(terminal("ResNet-18 ± ≤ 名"), "ResNet-18 ± ≤ 名");
    }

    #[test]
    fn markdown_has_no_tags_code_links_or_cells() {
        assert_eq!(markdown("<script>a|b</script>\n# c"), "&lt;script>a\\|b&lt;/script> # c");
        assert_eq!(markdown("`x` ![y](http://z) [0.1, 0.2]"), "&#96;x&#96; ![y]\\(http://z) [0.1, 0.2]");
        assert_eq!(markdown("p < 0.05 and l1-norm_2"), "p < 0.05 and l1-norm_2");
        assert_eq!(markdown_code("toml", "a = '```'\n"), "````toml\na = '```'\n````");
        assert_eq!(markdown_code("toml", "a = 1"), "```toml\na = 1\n```");
    }

    #[test]
    fn spreadsheets_compute_nothing() {
        for formula in ["=HYPERLINK(\"http://x\")", "+1+cmd", "-1+cmd", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(csv(formula), format!("'{formula}"));
        }
        for text in ["l1-norm", "-0.5", "+3", "-1e-9", "a=b", ""] {
            assert_eq!(csv(text), text);
        }
    }

    #[test]
    fn latex_runs_nothing() {
        assert_eq!(latex("\\input{x}\n[1] 5 %"), "\\textbackslash{}input\\{x\\} {[}1] 5 \\%");
        assert!(!latex_code("\\end{verbatim}\\input{x}").contains("\\end{verbatim}\\input"));
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            let shown = terminal(&text);
            prop_assert!(!shown.chars().any(|sign| sign.is_control() && sign != '\n' && sign != '\t'));
            prop_assert!(!one_line(&text).chars().any(char::is_control));
            prop_assert!(!markdown(&text).contains(['\n', '`']));
            // What is shown is shown the same when it is shown again.
            prop_assert_eq!(terminal(&shown).into_owned(), shown.into_owned());
        }

        #[test]
        fn json_that_is_printed_stays_json(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("a text");
            prop_assert_eq!(serde_json::from_str::<String>(&terminal(&json)).expect("JSON"), text);
        }
    }
}
