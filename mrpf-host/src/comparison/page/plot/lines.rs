//! Charts of lines through points, with intervals.

use mrpf_api::Result;
use plotters::chart::ChartBuilder;
use plotters::element::{ErrorBar, PathElement};
use plotters::prelude::{IntoDrawingArea, SVGBackend};
use plotters::style::Color;
use std::ops::Range;

use super::marker::Look;
use super::number::Numbers;
use super::palette::{RULE, SOFT_INK};
use super::{UNITS, failed, text};

/// Width and height, in pixels.
const SIZE: (u32, u32) = (400, 270);
/// More points than this on a line are drawn without markers.
const MARKED: usize = 30;

/// A point of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Where it stands on the horizontal axis.
    pub x: f64,
    /// Its value.
    pub y: f64,
    /// Lower and upper end of the value's interval, if it has one.
    pub interval: Option<[f64; 2]>,
}

/// Points that belong together.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// How it looks.
    pub look: Look,
    /// Its points; a line goes through them in this order.
    pub points: Vec<Point>,
}

/// A chart.
#[derive(Debug, Clone)]
pub struct LineChart {
    /// What the horizontal axis shows, with its unit.
    pub x_name: &'static str,
    /// How its numbers are written.
    pub x_numbers: Numbers,
    /// What the vertical axis shows, with its unit.
    pub y_name: &'static str,
    /// How its numbers are written.
    pub y_numbers: Numbers,
    /// The series; those without a finite point are not drawn.
    pub series: Vec<Series>,
}

impl LineChart {
    /// The chart as SVG.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Io`] if it cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        {
            let size = (SIZE.0 * UNITS, SIZE.1 * UNITS);
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            let mut chart = ChartBuilder::on(&area)
                .margin(8 * UNITS)
                .margin_right(22 * UNITS)
                .x_label_area_size(44 * UNITS)
                .y_label_area_size(62 * UNITS)
                .build_cartesian_2d(self.x_range(), self.y_range())
                .map_err(failed)?;
            chart
                .configure_mesh()
                .light_line_style(RULE.rgb().mix(0.0))
                .bold_line_style(RULE.rgb().stroke_width(UNITS))
                .axis_style(SOFT_INK.rgb().stroke_width(UNITS))
                .label_style(text(&SOFT_INK))
                .axis_desc_style(text(&SOFT_INK))
                .x_labels(5)
                .y_labels(6)
                .x_label_formatter(&|value| self.x_numbers.at_axis(*value))
                .y_label_formatter(&|value| self.y_numbers.at_axis(*value))
                .x_desc(self.x_name)
                .y_desc(self.y_name)
                .draw()
                .map_err(failed)?;
            for series in &self.series {
                let points: Vec<(f64, f64)> = finite(series).map(|point| (point.x, point.y)).collect();
                let intervals = finite(series).filter_map(|point| {
                    let [low, high] = point.interval?;
                    Some(ErrorBar::new_vertical(point.x, low, point.y, high, series.look.style(1), 6 * UNITS))
                });
                chart.draw_series(intervals).map_err(failed)?;
                if points.len() > 1 {
                    let line = PathElement::new(points.clone(), series.look.style(2));
                    chart.draw_series(std::iter::once(line)).map_err(failed)?;
                }
                if points.len() <= MARKED {
                    points.into_iter().try_for_each(|at| series.look.draw(chart.plotting_area(), at))?;
                }
            }
            area.present().map_err(failed)?;
        }
        Ok(svg)
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        self.series.iter().flat_map(finite)
    }

    fn x_range(&self) -> Range<f64> {
        let (low, high) = ends(self.points().map(|point| point.x));
        let margin = 0.05 * (high - low).max(1e-9 * high.abs().max(1e-300));
        match high > low {
            true => (low - margin)..(high + margin),
            false => (low - 0.5 * low.abs().max(1e-3))..(high + 0.5 * high.abs().max(1e-3)),
        }
    }

    fn y_range(&self) -> Range<f64> {
        let values =
            self.points().flat_map(|point| point.interval.unwrap_or([point.y; 2]).into_iter().chain([point.y]));
        let (low, high) = ends(values);
        let margin = 0.08 * (high - low).max(0.02 * high.abs().max(0.1));
        match self.y_numbers {
            Numbers::Shares => (low - margin).max(0.0)..(high + margin).min(1.0).max(low + 1e-3),
            _ => (low - margin)..(high + margin),
        }
    }
}

fn finite(series: &Series) -> impl Iterator<Item = &Point> {
    series.points.iter().filter(|point| {
        let [low, high] = point.interval.unwrap_or([0.0; 2]);
        [point.x, point.y, low, high].iter().all(|value| value.is_finite())
    })
}

/// The least and the greatest value; 0 and 1 if there is none.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}
