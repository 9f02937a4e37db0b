//! Colours, for people who want them.

use crate::event::Event;

const BOLD: &str = "\x1b[1m";
const YELLOW: &str = "\x1b[33m";
/// Ends a colour.
pub(super) const RESET: &str = "\x1b[0m";

/// Whether a terminal shall be coloured: not with `NO_COLOR` (no-color.org), and not where it cannot show colours.
pub(super) fn wanted(no_color: Option<&str>, term: Option<&str>) -> bool {
    no_color.is_none_or(str::is_empty) && term != Some("dumb")
}

/// The colour of an event's line: headings stand out, and warnings do more so.
pub(super) fn of(event: &Event) -> Option<&'static str> {
    match event {
        Event::StageStarted { .. } => Some(BOLD),
        Event::Warning { .. } => Some(YELLOW),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_not_forced_on_anyone() {
        assert!(wanted(None, Some("xterm")) && wanted(Some(""), None));
        assert!(!wanted(Some("1"), Some("xterm")) && !wanted(None, Some("dumb")));
    }

    #[test]
    fn headings_and_warnings_stand_out() {
        let heading = Event::StageStarted { stage: "train dense".into(), number: 1, of: 9 };
        assert_eq!(of(&heading), Some("\x1b[1m"));
        let warning = Event::Warning { about: "dense".into(), message: "no gradient".into() };
        assert_eq!(of(&warning), Some("\x1b[33m"));
        let finished = Event::StageFinished { stage: "train dense".into(), seconds: 1.0, reused: false };
        assert_eq!(of(&finished), None);
    }
}
