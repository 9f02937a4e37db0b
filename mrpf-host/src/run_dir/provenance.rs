//! `run.json`: where a run comes from.

use mrpf_api::Result;
use mrpf_api::registry::registrations;
use serde_json::{Value, json};
use std::time::SystemTime;

use super::RunDir;
use super::records::read_json;
use crate::device::without_number;
use crate::event::{Event, EventSink};
use crate::experiment::Experiment;
use crate::files::path_text::encode;
use crate::plugin_library::opened;
use crate::stage_key::StageKey;

/// A call of the program, as a run's record keeps it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The command, such as `train`.
    pub command: &'a str,
    /// All arguments as typed.
    pub arguments: &'a [String],
    /// The device that it computes on.
    pub device: &'a str,
}

impl RunDir {
    /// Writes where the run comes from.
    pub fn write_provenance(&self, experiment: &Experiment, call: &Call<'_>) -> Result<()> {
        let plugins: Vec<_> = registrations()
            .into_iter()
            .map(|plugin| {
                json!({
                    "kind": plugin.kind().name(),
                    "name": plugin.name,
                    "package": plugin.package,
                    "version": plugin.version,
                    "library": plugin.origin.library().map(|library| encode(&library.path)),
                })
            })
            .collect();
        let threads = mrpf_api::rayon::current_num_threads();
        let provenance = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "seed": experiment.seed,
            "command": call.command,
            "device": call.device,
            "threads": threads,
            "started": now(),
            "arguments": call.arguments,
            "libraries": libraries(),
            "plugins": plugins,
            "experiment": experiment,
        });
        self.write_json(&self.path.join("run.json"), &provenance)
    }

    /// Adds a session that goes on with the run, and warns if settings or a plugin library are not those that the run was started
    /// with, or the device is another. What a stage that is done depends on may not change; that is checked stage by stage.
    pub fn add_session(&self, experiment: &Experiment, call: &Call<'_>, events: &dyn EventSink) -> Result<()> {
        let path = self.path.join("run.json");
        let Some(mut provenance) = read_json::<Value>(&path)? else { return Ok(()) };
        let Call { arguments, device, .. } = *call;
        let libraries = libraries();
        for message in changed(provenance["libraries"].as_array().map_or(&[], Vec::as_slice), &libraries) {
            events.send(Event::Warning { about: "plugin".into(), message });
        }
        if let Some(before) = provenance.get("experiment") {
            // Where files lie makes no difference.
            let [before, now] = [StageKey::default().with("", before)?, StageKey::default().with("", experiment)?]
                .map(|key| key.without(&["data.dir", "plugins"]));
            for difference in before.differences(&now) {
                let message = format!("experiment.toml has changed since this run was started: {difference}");
                events.send(Event::Warning { about: "settings".into(), message });
            }
        }
        let before = provenance["device"].as_str().unwrap_or("cpu");
        if without_number(before) != without_number(device) {
            let message = format!(
                "this run was started on {before} and goes on on {device}: its figures are not those that one device alone would give"
            );
            events.send(Event::Warning { about: "device".into(), message });
        }
        let session = json!({"started": now(), "device": device, "arguments": arguments, "libraries": libraries});
        match provenance["resumed"].as_array_mut() {
            Some(sessions) => sessions.push(session),
            None => provenance["resumed"] = json!([session]),
        }
        self.write_json(&path, &provenance)
    }
}

/// The plugin libraries that are open.
fn libraries() -> Vec<Value> {
    let record = |library: &&mrpf_api::registry::PluginLibrary| {
        json!({
            "path": encode(&library.path),
            "sha256": library.sha256,
            "package": library.package,
            "version": library.version,
        })
    };
    opened().iter().map(record).collect()
}

/// A sentence for each crate whose library now has other bytes than before.
fn changed(before: &[Value], now: &[Value]) -> Vec<String> {
    let differs = |old: &&Value, new: &Value| old["package"] == new["package"] && old["sha256"] != new["sha256"];
    let told = now.iter().filter_map(|new| {
        let old = before.iter().find(|old| differs(old, new))?;
        let [package, was, is] = [&old["package"], &old["sha256"], &new["sha256"]].map(|value| value.as_str().unwrap_or("?"));
        let [was, is] = [was, is].map(|hash| hash.get(..12).unwrap_or(hash));
        Some(format!(
            "library of {package} has changed since this run was started (sha256 {was} then, {is} now): its parts may not belong together"
        ))
    });
    told.collect()
}

/// The time in UTC.
fn now() -> String {
    utc(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs()))
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
    use super::{changed, utc};
    use serde_json::json;

    #[test]
    fn a_library_that_changed_is_told_with_both_hashes() {
        let library = |package: &str, hash: &str| json!({"package": package, "sha256": hash.repeat(64)});
        let before = [library("mine", "a"), library("yours", "b")];
        assert!(changed(&before, &before).is_empty());
        let told = changed(&before, &[library("mine", "c"), library("new", "d")]);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("library of mine has changed") && told[0].contains("aaaaaaaaaaaa then, cccccccccccc now")
        );
    }

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
