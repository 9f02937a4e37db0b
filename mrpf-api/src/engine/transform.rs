//! The transforms of F(4x4, 3x3): of filters, of tiles of pixels, and back (Lavin and Gray 2016, equations 13 to 15).

#![allow(
    clippy::needless_range_loop,
    reason = "constant bounds over fixed arrays become registers; iterators and copies do not always"
)]

use pulp::{Arch, Simd};

use super::product::PanelRow;

/// Transformed values of a tile.
pub(super) const PLANES: usize = 36;
/// Rows and columns of output that a tile makes.
pub(super) const SIDE: usize = 4;

/// Six rows of six, each a register of channels.
pub(super) type Tile<S> = [<S as Simd>::f32s; PLANES];

/// Values of a tile by row and column.
pub(super) trait Read<S: Simd> {
    fn read(&self, simd: S, row: usize, column: usize) -> S::f32s;
}

/// What takes values by row and column.
pub(super) trait Write<S: Simd> {
    fn write(&mut self, simd: S, row: usize, column: usize, value: S::f32s);
}

/// Six numbers a channel.
type Six<S> = [<S as Simd>::f32s; 6];

/// `B^T d` of six values.
#[inline(always)]
fn input_side<S: Simd>(simd: S, d: Six<S>) -> Six<S> {
    let (two, four, five) = (simd.splat_f32s(2.0), simd.splat_f32s(4.0), simd.splat_f32s(5.0));
    let even = simd.negate_mul_add_e_f32s(four, d[2], d[4]);
    let odd = simd.negate_mul_add_e_f32s(four, d[1], d[3]);
    let near = simd.sub_f32s(d[4], d[2]);
    let far = simd.mul_f32s(two, simd.sub_f32s(d[3], d[1]));
    [
        simd.mul_add_e_f32s(four, d[0], simd.negate_mul_add_e_f32s(five, d[2], d[4])),
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        simd.add_f32s(near, far),
        simd.sub_f32s(near, far),
        simd.mul_add_e_f32s(four, d[1], simd.negate_mul_add_e_f32s(five, d[3], d[5])),
    ]
}

/// `A^T m` of six values.
#[inline(always)]
fn output_side<S: Simd>(simd: S, m: Six<S>) -> [S::f32s; SIDE] {
    let (two, four, eight) = (simd.splat_f32s(2.0), simd.splat_f32s(4.0), simd.splat_f32s(8.0));
    let (near, far) = (simd.add_f32s(m[1], m[2]), simd.add_f32s(m[3], m[4]));
    let (near_odd, far_odd) = (simd.sub_f32s(m[1], m[2]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(simd.add_f32s(m[0], near), far),
        simd.mul_add_e_f32s(two, far_odd, near_odd),
        simd.mul_add_e_f32s(four, far, near),
        simd.add_f32s(simd.mul_add_e_f32s(eight, far_odd, near_odd), m[5]),
    ]
}

#[inline(always)]
fn column_of<S: Simd>(simd: S, from: &impl Read<S>, column: usize) -> Six<S> {
    [
        from.read(simd, 0, column),
        from.read(simd, 1, column),
        from.read(simd, 2, column),
        from.read(simd, 3, column),
        from.read(simd, 4, column),
        from.read(simd, 5, column),
    ]
}

/// `B^T d B`.
#[inline(always)]
pub(super) fn transform_input<S: Simd>(simd: S, half: &mut Tile<S>, d: &impl Read<S>, to: &mut impl Write<S>) {
    for column in 0..6 {
        let side = column_of(simd, d, column);
        let side = input_side(simd, side);
        for row in 0..6 {
            half[6 * row + column] = side[row];
        }
    }
    for row in 0..6 {
        let r = 6 * row;
        let side = input_side(simd, [half[r], half[r + 1], half[r + 2], half[r + 3], half[r + 4], half[r + 5]]);
        for column in 0..6 {
            to.write(simd, row, column, side[column]);
        }
    }
}

/// `A^T m A`.
#[inline(always)]
pub(super) fn transform_output<S: Simd>(simd: S, half: &mut Tile<S>, m: &impl Read<S>, to: &mut impl Write<S>) {
    for column in 0..6 {
        let side = column_of(simd, m, column);
        let side = output_side(simd, side);
        for row in 0..SIDE {
            half[6 * row + column] = side[row];
        }
    }
    for row in 0..SIDE {
        let r = 6 * row;
        let side = output_side(simd, [half[r], half[r + 1], half[r + 2], half[r + 3], half[r + 4], half[r + 5]]);
        for column in 0..SIDE {
            to.write(simd, row, column, side[column]);
        }
    }
}

/// `G g G^T` of sixteen filters; gives each plane with its values to `put`.
pub(super) fn transform_filter(g: &[PanelRow; 9], put: &mut impl FnMut(usize, &PanelRow)) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut half = [[PanelRow::default(); 3]; 6];
            for column in 0..3 {
                let side = filter_side([&g[column], &g[3 + column], &g[6 + column]]);
                for row in 0..6 {
                    half[row][column] = side[row];
                }
            }
            for (row, [a, b, c]) in half.iter().enumerate() {
                let side = filter_side([a, b, c]);
                for column in 0..6 {
                    put(6 * row + column, &side[column]);
                }
            }
        },
    );
}

/// `G g` of three values.
#[inline(always)]
fn filter_side(g: [&PanelRow; 3]) -> [PanelRow; 6] {
    let mut out = [PanelRow::default(); 6];
    for lane in 0..g[0].len() {
        let (even, odd) = (g[0][lane] + g[2][lane], g[1][lane]);
        let (far_even, far_odd) = (g[0][lane] + 4.0 * g[2][lane], 2.0 * g[1][lane]);
        out[0][lane] = g[0][lane] / 4.0;
        out[1][lane] = -(even + odd) / 6.0;
        out[2][lane] = -(even - odd) / 6.0;
        out[3][lane] = (far_even + far_odd) / 24.0;
        out[4][lane] = (far_even - far_odd) / 24.0;
        out[5][lane] = g[2][lane];
    }
    out
}

/// `A g` of four values.
#[inline(always)]
fn gradient_side<S: Simd>(simd: S, g: [S::f32s; SIDE]) -> Six<S> {
    let (two, four, eight) = (simd.splat_f32s(2.0), simd.splat_f32s(4.0), simd.splat_f32s(8.0));
    let (even, odd) = (simd.add_f32s(g[0], g[2]), simd.add_f32s(g[1], g[3]));
    let far_even = simd.mul_add_e_f32s(four, g[2], g[0]);
    let far_odd = simd.mul_add_e_f32s(eight, g[3], simd.mul_f32s(two, g[1]));
    [
        g[0],
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        simd.add_f32s(far_even, far_odd),
        simd.sub_f32s(far_even, far_odd),
        g[3],
    ]
}

/// `A g A^T`.
#[inline(always)]
pub(super) fn transform_gradient<S: Simd>(simd: S, half: &mut Tile<S>, g: &impl Read<S>, to: &mut impl Write<S>) {
    for column in 0..SIDE {
        let side = gradient_side(
            simd,
            [g.read(simd, 0, column), g.read(simd, 1, column), g.read(simd, 2, column), g.read(simd, 3, column)],
        );
        for row in 0..6 {
            half[6 * row + column] = side[row];
        }
    }
    for row in 0..6 {
        let r = 6 * row;
        let side = gradient_side(simd, [half[r], half[r + 1], half[r + 2], half[r + 3]]);
        for column in 0..6 {
            to.write(simd, row, column, side[column]);
        }
    }
}

/// `G^T s G` of sixteen filters: their nine weights, row by row.
pub(super) fn transform_weight_gradient(s: &[PanelRow; PLANES]) -> [PanelRow; 9] {
    let mut out = [PanelRow::default(); 9];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut half = [[PanelRow::default(); 6]; 3];
            for column in 0..6 {
                let side = weight_side([
                    &s[column],
                    &s[6 + column],
                    &s[12 + column],
                    &s[18 + column],
                    &s[24 + column],
                    &s[30 + column],
                ]);
                for row in 0..3 {
                    half[row][column] = side[row];
                }
            }
            for (row, [a, b, c, d, e, f]) in half.iter().enumerate() {
                let side = weight_side([a, b, c, d, e, f]);
                for column in 0..3 {
                    out[3 * row + column] = side[column];
                }
            }
        },
    );
    out
}

/// `G^T s` of six values.
#[inline(always)]
fn weight_side(s: [&PanelRow; 6]) -> [PanelRow; 3] {
    let mut out = [PanelRow::default(); 3];
    for lane in 0..s[0].len() {
        let (near, far) = ((s[1][lane] + s[2][lane]) / 6.0, s[3][lane] + s[4][lane]);
        out[0][lane] = s[0][lane] / 4.0 - near + far / 24.0;
        out[1][lane] = (s[2][lane] - s[1][lane]) / 6.0 + (s[3][lane] - s[4][lane]) / 12.0;
        out[2][lane] = far / 6.0 - near + s[5][lane];
    }
    out
}
