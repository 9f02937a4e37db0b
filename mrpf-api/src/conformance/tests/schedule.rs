//! Broken pruning schedules are found out.

use super::*;

impl PruningSchedule for Broken {
    fn ratio(&self, progress: f64, final_ratio: f64) -> f64 {
        match self.how.as_str() {
            "panics" => panic!("no ratio today"),
            "short" => 0.9 * progress * final_ratio,
            "falls" => final_ratio * if progress < 0.5 { 2.0 * progress } else { progress },
            "over" => final_ratio * if progress < 1.0 { 1.5 * progress } else { 1.0 },
            _ => progress * final_ratio,
        }
    }
}

#[test]
fn schedules() -> Result<()> {
    let (ends, rises, inside) = ("it ends at its target", "it never falls", "it stays between nothing and its target");
    assert_broken(
        Kind::Schedule,
        "broken-schedule",
        &[("short", &[ends]), ("falls", &[rises]), ("over", &[rises, inside]), ("panics", &[ends, rises, inside])],
    )
}
