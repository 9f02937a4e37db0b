//! Charts of horizontal bars with their names at the left.

use mrpf_api::Result;
use plotters::chart::ChartBuilder;
use plotters::element::{ErrorBar, Rectangle};
use plotters::prelude::{IntoDrawingArea, SVGBackend};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::marker::Look;
use super::number::Numbers;
use super::palette::{INK, RULE, SOFT_INK};
use super::{LETTERS, UNITS, failed, text};

/// Width, in pixels.
const WIDTH: u32 = 380;
/// Height of a bar with its space, in pixels.
const BAR: u32 = 17;
/// Longer names lose their middle.
const NAME: usize = 24;

/// A bar.
#[derive(Debug, Clone)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// Its value; not drawn if it is not finite.
    pub value: f64,
    /// Least and greatest value over seeds, if there are several.
    pub spread: Option<[f64; 2]>,
}

/// A chart.
#[derive(Debug, Clone)]
pub struct BarChart {
    /// What the bars show, with its unit.
    pub name: &'static str,
    /// How the numbers are written.
    pub numbers: Numbers,
    /// The end of the axis, where several charts share it; the greatest value otherwise.
    pub end: Option<f64>,
    /// Colour of the bars.
    pub look: Look,
    /// The bars from the top.
    pub bars: Vec<Bar>,
}

impl BarChart {
    /// The chart as SVG.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Io`] if it cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        let count = self.bars.len();
        let names: Vec<String> = self.bars.iter().map(|bar| shortened(&bar.name)).collect();
        let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let room = (longest as f64 * 0.58 * LETTERS) as u32 + 12;
        let (low, high) = self.range();
        let mut svg = String::new();
        {
            let size = (WIDTH * UNITS, (count as u32 * BAR + 54) * UNITS);
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            let mut chart = ChartBuilder::on(&area)
                .margin(6 * UNITS)
                .margin_right(24 * UNITS)
                .x_label_area_size(40 * UNITS)
                .y_label_area_size(room * UNITS)
                .build_cartesian_2d(low..high, 0.0..count.max(1) as f64)
                .map_err(failed)?;
            chart
                .configure_mesh()
                .disable_y_mesh()
                .disable_y_axis()
                .light_line_style(RULE.rgb().mix(0.0))
                .bold_line_style(RULE.rgb().stroke_width(UNITS))
                .axis_style(SOFT_INK.rgb().stroke_width(UNITS))
                .label_style(text(&SOFT_INK))
                .axis_desc_style(text(&SOFT_INK))
                .x_labels(4)
                .x_label_formatter(&|value| self.numbers.at_axis(*value))
                .x_desc(self.name)
                .draw()
                .map_err(failed)?;
            for (at, (bar, name)) in self.bars.iter().zip(&names).enumerate() {
                // The first bar stands at the top, where the vertical axis is greatest.
                let middle = (count - at) as f64 - 0.5;
                if bar.value.is_finite() {
                    let corners = [(0.0f64.max(low), middle - 0.32), (bar.value, middle + 0.32)];
                    let rectangle = Rectangle::new(corners, self.look.style(1));
                    chart.draw_series(std::iter::once(rectangle)).map_err(failed)?;
                }
                if let Some([least, most]) = bar.spread.filter(|ends| ends.iter().all(|end| end.is_finite())) {
                    let style = INK.rgb().stroke_width(UNITS);
                    let whisker = ErrorBar::new_horizontal(middle, least, bar.value, most, style, 6 * UNITS);
                    chart.draw_series(std::iter::once(whisker)).map_err(failed)?;
                }
                let (x, y) = chart.backend_coord(&(low, middle));
                let anchor = Pos::new(HPos::Right, VPos::Center);
                area.draw_text(name, &text(&SOFT_INK).pos(anchor), (x - 6 * UNITS as i32, y)).map_err(failed)?;
            }
            area.present().map_err(failed)?;
        }
        Ok(svg)
    }

    fn range(&self) -> (f64, f64) {
        let ends = self.bars.iter().flat_map(|bar| bar.spread.unwrap_or([bar.value; 2]).into_iter().chain([bar.value]));
        let (low, high) =
            ends.filter(|end| end.is_finite()).fold((0.0f64, 0.0f64), |(low, high), end| (low.min(end), high.max(end)));
        let high = self.end.unwrap_or(high);
        // Whiskers end inside the plot.
        if high > low { (low, high + 0.02 * (high - low)) } else { (low, low + 1.0) }
    }
}

/// `features.denseblock…conv1` of a long name.
fn shortened(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= NAME {
        return name.into();
    }
    let (head, tail) = (NAME / 2, letters.len() - (NAME - NAME / 2 - 1));
    letters[..head].iter().chain(&['…']).chain(&letters[tail..]).collect()
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(shortened("layer1.0.conv1"), "layer1.0.conv1");
        let short = shortened("features.denseblock3.denselayer12.conv1");
        assert!(short.starts_with("features") && short.contains('…') && short.ends_with(".conv1"), "{short}");
        assert_eq!(short.chars().count(), super::NAME);
    }
}
