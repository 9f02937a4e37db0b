//! A plot on the page: its title, the SVG with a text in its place for those who do not see it, and its numbers as a table.

use maud::{Markup, PreEscaped, html};
use mrpf_api::Result;

use super::bars::BarChart;
use super::lines::LineChart;
use super::marker::Look;

/// What can be shown as a figure.
pub trait Plot {
    /// The SVG.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Io`] if it cannot be drawn.
    fn svg(&self) -> Result<String>;

    /// Headings of the table of its numbers.
    fn headings(&self) -> Vec<&str>;

    /// Rows of that table.
    fn rows(&self) -> Vec<Vec<String>>;
}

/// A figure. `alt` says what a reader sees in it.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Io`] if it cannot be drawn.
pub fn figure(title: &str, alt: &str, plot: &impl Plot) -> Result<Markup> {
    let svg = PreEscaped(plot.svg()?);
    Ok(html! {
        figure {
            figcaption { (title) }
            div.plot role="img" aria-label=(alt) { (svg) }
            details {
                summary { "Numbers" }
                div.scroll tabindex="0" role="region" aria-label={ "Numbers of " (title) } {
                    table {
                        caption.hidden { (title) }
                        thead { tr { @for heading in plot.headings() { th scope="col" { (heading) } } } }
                        tbody {
                            @for row in plot.rows() {
                                tr { @for (at, cell) in row.iter().enumerate() {
                                    @if at == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                                } }
                            }
                        }
                    }
                }
            }
        }
    })
}

/// The names of series beside a piece of each one's line.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Io`] if a piece cannot be drawn.
pub fn legend<'a>(entries: impl IntoIterator<Item = (&'a str, Look)>) -> Result<Markup> {
    let entries: Vec<(&str, String)> =
        entries.into_iter().map(|(name, look)| Ok((name, look.swatch()?))).collect::<Result<_>>()?;
    Ok(html! {
        ul.legend {
            @for (name, swatch) in entries { li { span aria-hidden="true" { (PreEscaped(swatch)) } (name) } }
        }
    })
}

impl Plot for LineChart {
    fn svg(&self) -> Result<String> {
        Self::svg(self)
    }

    fn headings(&self) -> Vec<&str> {
        vec!["series", self.x_name, self.y_name, "interval"]
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let points = self.series.iter().flat_map(|series| series.points.iter().map(move |point| (series, point)));
        let row = points.map(|(series, point)| {
            let write = |value| self.y_numbers.written(value);
            let interval =
                point.interval.map_or("-".into(), |[low, high]| format!("{} to {}", write(low), write(high)));
            vec![series.name.clone(), self.x_numbers.written(point.x), write(point.y), interval]
        });
        row.collect()
    }
}

impl Plot for BarChart {
    fn svg(&self) -> Result<String> {
        Self::svg(self)
    }

    fn headings(&self) -> Vec<&str> {
        vec!["layer", self.name, "least to greatest"]
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let row = |bar: &super::Bar| {
            let write = |value| self.numbers.written(value);
            let spread = bar.spread.map_or("-".into(), |[low, high]| format!("{} to {}", write(low), write(high)));
            vec![bar.name.clone(), write(bar.value), spread]
        };
        self.bars.iter().map(row).collect()
    }
}
