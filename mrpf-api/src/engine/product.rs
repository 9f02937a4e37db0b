//! Matrix products with a matrix that stays: it is put in the order in which the processor wants it once, and the other is read where it
//! lies.
//!
//! A general product copies both factors into blocks first, which takes as long as the product itself where the matrices are small, as
//! they are for 16 to 64 channels. Here a row is a list of runs of numbers anywhere in a slice, so that the window of a convolution is a
//! row without being copied together.

#![allow(
    clippy::needless_range_loop,
    clippy::manual_memcpy,
    reason = "constant bounds over fixed arrays become registers; iterators and copies do not always"
)]

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::sync::Arc;

use super::memory::{Buffer, Memory};

/// Columns of a panel: a register of the widest processors.
pub(super) const PANEL: usize = 16;

pub(super) type PanelRow = [f32; PANEL];

/// Matrices `[rows, columns]` of one size in panels of sixteen columns, `[panel, matrix, row, 16]`; the last panel is filled up with zeros.
#[derive(Debug)]
pub(super) struct Panels {
    count: usize,
    rows: usize,
    columns: usize,
    values: Buffer,
}

/// A run of numbers of each row: where it begins, counted from the row's start, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub offset: usize,
    pub length: usize,
}

/// The rows of the left factor.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub values: &'a [f32],
    /// Where each row starts.
    pub starts: &'a [usize],
    /// The runs that make up a row, one after the other; the same for all.
    pub runs: &'a [Run],
}

/// Where the product goes.
pub(super) struct Target<'a> {
    pub values: &'a mut [f32],
    /// Where each row starts.
    pub starts: &'a [usize],
    /// Whether it is added to what is there.
    pub accumulate: bool,
    /// Whether every row has room for whole panels; what comes into the rest of the last one is unspecified.
    pub has_whole_panels: bool,
}

impl Panels {
    /// Room for `count` matrices; what they hold is for [`Panels::panels_mut`] to write.
    pub fn unwritten(memory: &Arc<Memory>, count: usize, [rows, columns]: [usize; 2]) -> Self {
        let values = memory.take(count * rows * columns.div_ceil(PANEL) * PANEL);
        Self { count, rows, columns, values }
    }

    /// One matrix from its numbers.
    pub fn new(memory: &Arc<Memory>, [rows, columns]: [usize; 2], number: impl Fn(usize, usize) -> f32 + Sync) -> Self {
        let mut panels = Self::unwritten(memory, 1, [rows, columns]);
        panels.panels_mut().enumerate().for_each(|(panel, values)| {
            let columns = PANEL.min(columns - panel * PANEL);
            for (row, values) in values.iter_mut().enumerate() {
                let numbers = values.iter_mut().enumerate();
                numbers.for_each(|(at, to)| *to = if at < columns { number(row, panel * PANEL + at) } else { 0.0 });
            }
        });
        panels
    }

    /// Size of all numbers.
    pub fn bytes(&self) -> usize {
        4 * self.values.len()
    }

    /// The panels one by one, each `[matrix, row, 16]`.
    pub fn panels_mut(&mut self) -> rayon::slice::ChunksMut<'_, PanelRow> {
        let step = self.count * self.rows;
        self.values.as_chunks_mut::<PANEL>().0.par_chunks_mut(step.max(1))
    }

    /// `to = rows * matrix`, on the calling thread alone; `rows` have as many numbers as the matrix has rows.
    ///
    /// Every sum is taken from its first term to its last, whatever the processor and however the work is cut.
    pub fn multiply(&self, matrix: usize, rows: Rows<'_>, to: Target<'_>) {
        debug_assert_eq!(rows.runs.iter().map(|run| run.length).sum::<usize>(), self.rows);
        let panels = &self.values.as_chunks::<PANEL>().0[matrix * self.rows..];
        let panel_step = self.count * self.rows;
        Arch::new().dispatch(Multiply { panels, panel_step, columns: self.columns, rows, to });
    }
}

struct Multiply<'a> {
    /// The first panel of the matrix, and how far on the next one begins.
    panels: &'a [PanelRow],
    panel_step: usize,
    columns: usize,
    rows: Rows<'a>,
    to: Target<'a>,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // Sums that are kept in registers: rows, panels, vectors of a panel.
        match PANEL / S::F32_LANES {
            1 => {
                // A panel that is not full is for the one that takes panels one by one.
                let (full, all) = (self.columns / PANEL, self.columns.div_ceil(PANEL));
                let mut first = self.by_panels::<S, 6, 4, 1>(simd, 0, full);
                first = self.by_panels::<S, 12, 2, 1>(simd, first, full);
                self.by_panels::<S, 12, 1, 1>(simd, first, all);
            }
            2 => {
                // Half of the last panel may hold nothing but zeros.
                let whole = (self.columns + PANEL / 2 - 1) / PANEL;
                self.by_panels::<S, 6, 1, 2>(simd, 0, whole);
                self.by_panels::<S, 12, 1, 1>(simd, whole, self.columns.div_ceil(PANEL));
            }
            4 => drop(self.by_panels::<S, 6, 1, 4>(simd, 0, self.columns.div_ceil(PANEL))),
            _ => drop(self.by_panels::<S, 1, 1, PANEL>(simd, 0, self.columns.div_ceil(PANEL))),
        }
    }
}

impl Multiply<'_> {
    /// All rows for as many panels from `first` to `end` as come in groups of `P`, by the first `V` registers of each; the first panel
    /// that is left over.
    #[inline(always)]
    fn by_panels<S: Simd, const M: usize, const P: usize, const V: usize>(
        &mut self,
        simd: S,
        first: usize,
        end: usize,
    ) -> usize {
        let mut panel = first;
        while panel + P <= end {
            let mut row = 0;
            while row < self.rows.starts.len() {
                row += match self.rows.starts.len() - row {
                    left if left >= M => self.block::<S, M, P, V>(simd, row, panel),
                    6.. => self.block::<S, 6, P, V>(simd, row, panel),
                    3.. => self.block::<S, 3, P, V>(simd, row, panel),
                    2 => self.block::<S, 2, P, V>(simd, row, panel),
                    _ => self.block::<S, 1, P, V>(simd, row, panel),
                };
            }
            panel += P;
        }
        panel
    }

    /// `M` rows of `P` panels of `V` registers; gives back `M`.
    #[inline(always)]
    fn block<S: Simd, const M: usize, const P: usize, const V: usize>(
        &mut self,
        simd: S,
        first_row: usize,
        first_panel: usize,
    ) -> usize {
        let mut sums = [[[simd.splat_f32s(0.0); V]; P]; M];
        let mut depth = 0;
        for run in self.rows.runs {
            let mut rows: [&[f32]; M] = [&[]; M];
            for at in 0..M {
                rows[at] = &self.rows.values[self.rows.starts[first_row + at] + run.offset..][..run.length];
            }
            let mut panels: [&[PanelRow]; P] = [&[]; P];
            for at in 0..P {
                panels[at] = &self.panels[(first_panel + at) * self.panel_step + depth..][..run.length];
            }
            for k in 0..run.length {
                // All weights first: a row's number is then needed for a moment only, and the sums stay in registers.
                let mut weights = [[simd.splat_f32s(0.0); V]; P];
                for panel in 0..P {
                    let from = S::as_simd_f32s(&panels[panel][k]).0;
                    for v in 0..V {
                        weights[panel][v] = from[v];
                    }
                }
                for row in 0..M {
                    let x = simd.splat_f32s(rows[row][k]);
                    for panel in 0..P {
                        for v in 0..V {
                            sums[row][panel][v] = simd.mul_add_e_f32s(x, weights[panel][v], sums[row][panel][v]);
                        }
                    }
                }
            }
            depth += run.length;
        }
        let first = first_panel * PANEL;
        let width = P * V * S::F32_LANES;
        let columns = (self.columns - first).min(width);
        if columns == width || self.to.has_whole_panels {
            for row in 0..M {
                let to = &mut self.to.values[self.to.starts[first_row + row] + first..][..width];
                write::<S, P, V>(simd, to, &sums[row], self.to.accumulate);
            }
        } else {
            // The last panel is not full: its rows are put together elsewhere, so that the sums stay in registers.
            let mut whole = [[0.0; PANEL]; M];
            for row in 0..M {
                write::<S, P, V>(simd, &mut whole[row], &sums[row], false);
            }
            for (row, whole) in whole.iter().enumerate() {
                let to = &mut self.to.values[self.to.starts[first_row + row] + first..][..columns];
                for (to, sum) in to.iter_mut().zip(whole) {
                    *to = if self.to.accumulate { *to + sum } else { *sum };
                }
            }
        }
        M
    }
}

/// Writes, or adds, the sums of a row.
#[inline(always)]
fn write<S: Simd, const P: usize, const V: usize>(simd: S, to: &mut [f32], sums: &[[S::f32s; V]; P], accumulate: bool) {
    let to = S::as_mut_simd_f32s(to).0;
    for panel in 0..P {
        for v in 0..V {
            // Without room for a further panel there is none.
            if let Some(to) = to.get_mut(panel * V + v) {
                *to = if accumulate { simd.add_f32s(*to, sums[panel][v]) } else { sums[panel][v] };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_product_is_the_sum_of_products(
            rows in 1..30usize, columns in 1..90usize, runs in prop::collection::vec((0..40usize, 1..20usize), 1..4), accumulate: bool,
        ) {
            let runs: Vec<Run> = runs.into_iter().map(|(offset, length)| Run { offset, length }).collect();
            let depth = runs.iter().map(|run| run.length).sum();
            let number = |row: usize, column: usize| ((row * 7 + column * 3) % 11) as f32 - 5.0;
            let panels = Panels::new(&Arc::default(), [depth, columns], number);
            let values: Vec<f32> = (0..rows * 13 + 60).map(|at| (at * 5 % 9) as f32 - 4.0).collect();
            let starts: Vec<usize> = (0..rows).map(|row| row * 13 % (rows * 13)).collect();
            let mut out = vec![1.0; rows * columns];
            let to: Vec<usize> = (0..rows).map(|row| row * columns).collect();
            panels.multiply(
                0,
                Rows { values: &values, starts: &starts, runs: &runs },
                Target { values: &mut out, starts: &to, accumulate, has_whole_panels: false },
            );
            for row in 0..rows {
                for column in 0..columns {
                    let numbers = runs.iter().flat_map(|run| &values[starts[row] + run.offset..][..run.length]);
                    let sum: f32 = numbers.enumerate().map(|(k, x)| x * number(k, column)).sum();
                    // Whole numbers of this size are exact.
                    prop_assert_eq!(out[row * columns + column], sum + f32::from(accumulate));
                }
            }
        }
    }
}
