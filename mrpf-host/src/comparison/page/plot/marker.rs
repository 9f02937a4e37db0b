//! How a series looks: a colour and a shape, so that colour alone never tells two apart.

use mrpf_api::Result;
use plotters::coord::CoordTranslate;
use plotters::drawing::DrawingArea;
use plotters::element::{Circle, Cross, EmptyElement, PathElement, Polygon, Rectangle, TriangleMarker};
use plotters::prelude::{DrawingBackend, IntoDrawingArea, SVGBackend};
use plotters::style::{Color, ShapeStyle};

use super::palette::{Colour, INK, SERIES};
use super::{UNITS, failed};

/// The shapes of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
}

const SHAPES: [Shape; 5] = [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond, Shape::Cross];

/// Colour and shape of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    colour: &'static Colour,
    shape: Shape,
}

impl Look {
    /// The look of the series at this place; the first 35 differ.
    pub fn of(place: usize) -> Self {
        Self { colour: &SERIES[place % SERIES.len()], shape: SHAPES[place % SHAPES.len()] }
    }

    /// The look of dense networks.
    pub fn dense() -> Self {
        Self { colour: &INK, shape: Shape::Diamond }
    }

    /// Lines and filled shapes.
    pub(super) fn style(self, width: u32) -> ShapeStyle {
        self.colour.rgb().filled().stroke_width(width * UNITS)
    }

    /// Draws a point.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Io`] if it cannot be drawn.
    pub(super) fn draw<DB, Coordinates>(self, area: &DrawingArea<DB, Coordinates>, at: Coordinates::From) -> Result<()>
    where
        DB: DrawingBackend,
        Coordinates: CoordTranslate,
        Coordinates::From: Clone + 'static,
    {
        let (style, size) = (self.style(1), 4 * UNITS as i32);
        // Shapes with corners look smaller than a disc or a square as wide.
        let far = size + size / 3;
        let drawn = match self.shape {
            Shape::Circle => area.draw(&Circle::new(at, size, style)),
            Shape::Square => area.draw(&(EmptyElement::at(at) + Rectangle::new([(-size, -size), (size, size)], style))),
            Shape::Triangle => area.draw(&TriangleMarker::new(at, far, style)),
            Shape::Diamond => {
                let corners = vec![(-far, 0), (0, far), (far, 0), (0, -far)];
                area.draw(&(EmptyElement::at(at) + Polygon::new(corners, style)))
            }
            Shape::Cross => area.draw(&Cross::new(at, size, self.style(2))),
        };
        drawn.map_err(failed)
    }

    /// An SVG with a short line through one point, for a legend.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Io`] if it cannot be drawn.
    pub(super) fn swatch(self) -> Result<String> {
        let (width, height) = (32 * UNITS, 16 * UNITS);
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
            let (right, middle) = (width as i32, height as i32 / 2);
            area.draw(&PathElement::new(vec![(0, middle), (right, middle)], self.style(2))).map_err(failed)?;
            self.draw(&area, (right / 2, middle))?;
            area.present().map_err(failed)?;
        }
        Ok(svg)
    }
}
