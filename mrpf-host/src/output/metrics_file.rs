//! `metrics.jsonl`: every event but progress, with the time since the start.

use mrpf_api::Result;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use crate::event::{Event, EventSink};
use crate::files::{failed, open_inside};

/// Appends events to a file, a JSON object a line.
pub struct MetricsFile {
    file: Mutex<File>,
    start: Instant,
}

impl MetricsFile {
    /// Opens the file, keeping what a session before has written.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Io`] with the path.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = open_inside(path, File::options().create(true).append(true).read(true))?;
        let mut end_line = || match ends_in_mid_line(&mut file)? {
            true => file.write_all(b"\n"),
            false => Ok(()),
        };
        end_line().map_err(|error| failed("write", path, &error))?;
        Ok(Self { file: Mutex::new(file), start: Instant::now() })
    }
}

/// Whether the session before was stopped, or its disk full, in the middle of a line: the next line must not be lost with it.
fn ends_in_mid_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

impl EventSink for MetricsFile {
    fn send(&self, event: Event) {
        if event.is_progress() {
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
            let none = None;
            sink.send(Event::Progress {
                what,
                done: 1,
                total: 2,
                loss: none,
                accuracy: none,
                images_per_s: none,
                gpu_busy: none,
            });
            sink.send(Event::Warning { about: "x".into(), message: "y".into() });
        }
        let text = std::fs::read_to_string(&path)?;
        assert_eq!(text.lines().count(), 2);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().ok_or("a line")?)?;
        assert_eq!((first["event"].as_str(), first["message"].as_str()), (Some("warning"), Some("y")));
        assert!(first["time"].is_number());
        Ok(())
    }

    #[test]
    fn a_line_that_was_cut_short_takes_no_other_with_it() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, "{\"event\":\"stage-sta")?;
        MetricsFile::open(&path)?.send(Event::Warning { about: "x".into(), message: "y".into() });
        let text = std::fs::read_to_string(&path)?;
        let whole: Vec<&str> = text.lines().skip(1).collect();
        assert!(whole.len() == 1 && serde_json::from_str::<serde_json::Value>(whole[0]).is_ok(), "{text}");
        Ok(())
    }
}
