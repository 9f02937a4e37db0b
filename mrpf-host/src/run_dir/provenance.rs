//! `run.json`: where a run comes from.

use mrpf_api::Result;
use mrpf_api::registry::registrations;
use std::time::SystemTime;

use super::RunDir;
use super::records::write_json;
use crate::experiment::Experiment;

impl RunDir {
    /// Writes where the run comes from.
    pub fn write_provenance(&self, experiment: &Experiment, arguments: &[String]) -> Result<()> {
        let plugins: Vec<_> = registrations()
            .into_iter()
            .map(|plugin| {
                serde_json::json!({
                    "kind": plugin.kind().name(),
                    "name": plugin.name,
                    "package": plugin.package,
                    "version": plugin.version,
                })
            })
            .collect();
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let threads = mrpf_api::rayon::current_num_threads();
        let provenance = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "seed": experiment.seed,
            "device": "cpu",
            "threads": threads,
            "started": utc(since_1970),
            "arguments": arguments,
            "plugins": plugins,
        });
        write_json(&self.path.join("run.json"), &provenance)
    }
}

/// `2026-01-31T23:59:59Z` of the seconds since 1970 began.
///
/// Years are counted from March, so that the leap day is the last of its year (Hinnant, "chrono-compatible low-level date algorithms").
fn utc(since_1970: u64) -> String {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    // Days from March of year 0 to January of 1970.
    let days = since_1970 / 86_400 + 719_468;
    let (era, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = 400 * era + year + u64::from(month <= 2);
    let (hour, minute, second) = (since_1970 / 3_600 % 24, since_1970 / 60 % 60, since_1970 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // As `date -u -d @SECONDS` prints them: around leap days, in a century year with one and in one without.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
