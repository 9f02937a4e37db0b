//! Windows of an image held as plain numbers.

use mrpf_api::attack::search::Form;

/// A square of an image, cut to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub row: usize,
    pub column: usize,
    pub side: usize,
}

impl Window {
    /// For each value of the window in one channel: its place in the image, and in the window.
    pub fn places(self, form: &Form, channel: usize) -> impl Iterator<Item = (usize, usize)> {
        let (height, width, Self { row, column, side }) = (form.height, form.width, self);
        let rows = (0..side).filter(move |at| row + at < height);
        rows.flat_map(move |down| {
            let columns = (0..side).filter(move |at| column + at < width);
            columns.map(move |right| ((channel * height + row + down) * width + column + right, down * side + right))
        })
    }

    fn holds(self, row: usize, column: usize) -> bool {
        (self.row..self.row + self.side).contains(&row) && (self.column..self.column + self.side).contains(&column)
    }

    /// The places of one channel that are in one of two windows.
    pub fn union(self, other: Self, form: &Form, channel: usize) -> impl Iterator<Item = usize> {
        let (height, width) = (form.height, form.width);
        let is_in = move |at: &usize| {
            let (row, column) = (at / width, at % width);
            self.holds(row, column) || other.holds(row, column)
        };
        (0..height * width).filter(is_in).map(move |at| channel * height * width + at)
    }
}
