//! How numbers are written, at axes and in tables.

use crate::output::{count, percent};

/// What kind of numbers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Shares from 0 to 1, written as percentages.
    Shares,
    /// Counts, written with k, M and G.
    Counts,
    /// Any others, written with three or four significant digits.
    Plain,
}

impl Numbers {
    /// In a table.
    pub fn written(self, value: f64) -> String {
        match self {
            Self::Shares => percent(value),
            Self::Counts if value >= 0.0 => count(value.round() as u64),
            Self::Counts | Self::Plain => plain(value),
        }
    }

    /// At an axis, where places are few.
    pub fn at_axis(self, value: f64) -> String {
        match self {
            Self::Shares => format!("{:.0} %", 100.0 * value),
            Self::Counts => short(value),
            Self::Plain => plain(value),
        }
    }
}

/// `1.5 M`, `200 k`.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, " G"),
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    format!("{}{unit}", (scaled * 100.0).round() / 100.0)
}

/// Four significant digits without trailing zeros; very small numbers as `1.2e-5`.
fn plain(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".into();
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let places = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 0.05, 1.23456, 17.0, 2345.6, 1.5e-5].map(plain),
            ["0", "0.05", "1.235", "17", "2346", "1.50e-5"]
        );
        assert_eq!([0.0, 950.0, 1500.0, 2.5e6].map(short), ["0", "950", "1.5 k", "2.5 M"]);
        assert_eq!(Numbers::Shares.written(0.4567), "45.7 %");
        assert_eq!(Numbers::Shares.at_axis(0.4567), "46 %");
    }
}
