//! Plots: what is drawn, as plain data, and the SVG that `plotters` makes of it.
//!
//! A plot holds numbers and the names of axes only. What users name stands in the legend beside it, which is HTML.

mod bars;
mod figure;
mod lines;
mod marker;
mod number;
mod palette;

pub use bars::{Bar, BarChart};
pub use figure::{figure, legend};
pub use lines::{LineChart, Point, Series};
pub use marker::Look;
pub use number::Numbers;
pub use palette::theme_css;

use mrpf_api::{Error, ErrorKind};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, TextStyle};

use palette::Colour;

/// Plots are drawn in units of half a pixel, since `plotters` places everything at whole units.
const UNITS: u32 = 2;
/// Height of letters, in pixels of a plot shown at its own size.
const LETTERS: f64 = 13.0;

/// Text of a plot.
fn text(colour: &Colour) -> TextStyle<'static> {
    // The SVG backend divides the size by this number.
    let size = LETTERS * f64::from(UNITS) * 1.24;
    let mut style = TextStyle::from(FontDesc::new(FontFamily::SansSerif, size, FontStyle::Normal));
    style.color = colour.rgb().to_backend_color();
    style
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Io, format!("a plot cannot be drawn: {error}"))
}
