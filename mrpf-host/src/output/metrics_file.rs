//! `metrics.jsonl`: every event but progress, with the time since the start.

use mrpf_api::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use crate::event::{Event, EventSink};

/// Appends events to a file, a JSON object a line.
pub struct MetricsFile {
    file: Mutex<File>,
    start: Instant,
}

impl MetricsFile {
    /// Opens the file, keeping what a session before has written.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with the path.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        let failed = |error| Error::new(ErrorKind::Io, format!("cannot write {}: {error}", path.display()));
        Ok(Self { file: Mutex::new(file.map_err(failed)?), start: Instant::now() })
    }
}

impl EventSink for MetricsFile {
    fn send(&self, event: Event) {
        if matches!(event, Event::Progress { .. }) {
            return;
        }
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::to_value(&event) else { return };
        fields.insert("time".into(), serde_json::json!((self.start.elapsed().as_secs_f64() * 1e3).round() / 1e3));
        let line = serde_json::Value::Object(fields).to_string() + "\n";
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A line that cannot be written is no reason to throw a training away; results are checked when they are written.
        let _ = file.write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_kept_across_sessions_and_progress_is_not() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("metrics.jsonl");
        for _ in 0..2 {
            let sink = MetricsFile::open(&path)?;
            let what = String::from("epoch 1/2");
            sink.send(Event::Progress { what, done: 1, total: 2, loss: None, accuracy: None, images_per_s: None });
            sink.send(Event::Warning { about: "x".into(), message: "y".into() });
        }
        let text = std::fs::read_to_string(&path)?;
        assert_eq!(text.lines().count(), 2);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().ok_or("a line")?)?;
        assert_eq!((first["event"].as_str(), first["message"].as_str()), (Some("warning"), Some("y")));
        assert!(first["time"].is_number());
        Ok(())
    }
}
