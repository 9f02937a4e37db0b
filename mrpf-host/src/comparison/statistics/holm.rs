//! Correction for many tests at once.

/// Holm's corrected p values, in the order of `raw`: the chance that any of the differences below a level is none stays below that level
/// (Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979).
pub fn holm(raw: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..raw.len()).collect();
    order.sort_by(|&a, &b| raw[a].total_cmp(&raw[b]));
    let mut corrected = vec![0.0; raw.len()];
    let mut largest: f64 = 0.0;
    for (before, &at) in order.iter().enumerate() {
        largest = largest.max(raw[at] * (raw.len() - before) as f64).min(1.0);
        corrected[at] = largest;
    }
    corrected
}
