//! Colours that follow the reader's light or dark theme.
//!
//! A plot is drawn in the light colours; the style sheet replaces each by the theme's, so that the same SVG serves both.

use plotters::style::RGBColor;
use std::fmt::Write;

/// A colour in both themes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Colour {
    name: &'static str,
    light: u32,
    dark: u32,
}

impl Colour {
    const fn new(name: &'static str, light: u32, dark: u32) -> Self {
        Self { name, light, dark }
    }

    /// As it is drawn.
    pub fn rgb(&self) -> RGBColor {
        let [_, red, green, blue] = self.light.to_be_bytes();
        RGBColor(red, green, blue)
    }
}

/// Behind everything.
pub(super) static PAPER: Colour = Colour::new("paper", 0xFFFFFF, 0x14171A);
/// Text.
pub(super) static INK: Colour = Colour::new("ink", 0x1B1F23, 0xE6E8EA);
/// Text of axes.
pub(super) static SOFT_INK: Colour = Colour::new("soft-ink", 0x52595F, 0xADB5BD);
/// Lines of the grid.
pub(super) static RULE: Colour = Colour::new("rule", 0xDDE1E4, 0x373D43);

/// Colours of methods: neighbours are told apart with each kind of colour blindness, and all stand out from the paper by 3 to 1.
///
/// After Okabe and Ito (2008), "Color Universal Design", darkened for white and lightened for black paper.
pub(super) static SERIES: [Colour; 7] = [
    Colour::new("blue", 0x0B62A8, 0x6DB6FF),
    Colour::new("vermilion", 0xC44F00, 0xFF9E4A),
    Colour::new("green", 0x00795C, 0x3FCFA2),
    Colour::new("purple", 0xA0358C, 0xEC8FD8),
    Colour::new("ochre", 0x7A6200, 0xE3C545),
    Colour::new("sky", 0x1A7F99, 0x72D5EC),
    Colour::new("grey", 0x5B5B5C, 0xBDBDBE),
];

fn all() -> impl Iterator<Item = &'static Colour> {
    [&PAPER, &INK, &SOFT_INK, &RULE].into_iter().chain(&SERIES)
}

/// The colours as variables of both themes, and the rules that put them in place of those that plots are drawn in.
pub fn theme_css() -> String {
    let variables = |value: fn(&Colour) -> u32| {
        all().fold(String::new(), |mut text, colour| {
            let _ = write!(text, "--{}:#{:06X};", colour.name, value(colour));
            text
        })
    };
    let mut css = format!(
        ":root{{color-scheme:light dark;{}}}\n@media (prefers-color-scheme:dark){{:root{{{}}}}}\n",
        variables(|colour| colour.light),
        variables(|colour| colour.dark)
    );
    for Colour { name, light, .. } in all() {
        let _ = writeln!(css, "svg [fill=\"#{light:06X}\"]{{fill:var(--{name})}}");
        let _ = writeln!(css, "svg [stroke=\"#{light:06X}\"]{{stroke:var(--{name})}}");
    }
    css
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance (WCAG 2.2).
    fn luminance(colour: u32) -> f64 {
        let [_, rgb @ ..] = colour.to_be_bytes();
        let linear = rgb.map(|byte| match f64::from(byte) / 255.0 {
            value if value <= 0.04045 => value / 12.92,
            value => ((value + 0.055) / 1.055).powf(2.4),
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    fn contrast(one: u32, other: u32) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        one.max(other) / one.min(other)
    }

    #[test]
    fn everything_stands_out_from_the_paper_in_both_themes() {
        for (colours, least) in [(&[&INK, &SOFT_INK][..], 4.5), (&SERIES.each_ref()[..], 3.0)] {
            for colour in colours {
                assert!(contrast(colour.light, PAPER.light) >= least, "{} on light paper", colour.name);
                assert!(contrast(colour.dark, PAPER.dark) >= least, "{} on dark paper", colour.name);
            }
        }
    }

    #[test]
    fn a_drawn_colour_has_one_meaning() {
        let drawn: Vec<u32> = all().map(|colour| colour.light).collect();
        assert!(drawn.iter().enumerate().all(|(at, colour)| !drawn[..at].contains(colour)));
    }
}
