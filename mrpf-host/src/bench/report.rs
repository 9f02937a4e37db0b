//! What was measured, as lines of JSON or as a table, beside what another program measured.

use comfy_table::{CellAlignment, Table, presets};
use mrpf_api::numeric::Precision;
use mrpf_api::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::path::Path;

use super::Measurement;
use crate::files::{JSON, read_text};

/// A measurement of another program.
pub type Peer = Measurement;

/// Reads a file of measurements, one JSON object a line.
///
/// # Errors
/// [`ErrorKind::Io`] if it cannot be read, [`ErrorKind::Data`] naming the line that is no measurement.
pub fn read_peers(path: &Path) -> Result<Vec<Peer>> {
    let text = read_text(path, JSON).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot read the measurements {}: {error}", path.display()))
            .hint("expected a file of JSON objects, one a line, as `mrpf bench --json` prints them")
    })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_str(line).map_err(|error| {
                Error::new(ErrorKind::Data, format!("{} line {}: {error}", path.display(), at + 1))
                    .hint("expected a JSON object with `what`, `batch`, `threads` and `median`")
            })
        })
        .collect()
}

/// The shortest median among the peers that timed the same work.
fn best<'a>(measured: &Measurement, peers: &'a [Peer]) -> Option<&'a Peer> {
    let same = peers.iter().filter(|peer| measured.is_same_work(peer) && peer.median > 0.0);
    same.min_by(|a, b| a.median.total_cmp(&b.median))
}

/// One line of JSON; with a peer also its `against_median` and the `ratio` of ours to it.
pub fn as_json_line(measured: &Measurement, peers: &[Peer]) -> String {
    let mut line = serde_json::to_value(measured).unwrap_or_default();
    if let Some(peer) = best(measured, peers) {
        line["against_median"] = json!(peer.median);
        line["ratio"] = json!((measured.median / peer.median * 1e3).round() / 1e3);
    }
    Value::to_string(&line)
}

/// A table for people.
pub fn as_table(measured: &[Measurement], peers: &[Peer]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut heading = vec!["work", "median", "fastest", "slowest", "rate"];
    if !peers.is_empty() {
        heading.extend(["other", "ours / other"]);
    }
    table.set_header(&heading);
    for one in measured {
        let extreme = |pick: fn(f64, f64) -> f64| one.seconds.iter().copied().reduce(pick).unwrap_or(one.median);
        let mut row = vec![
            work(one),
            time(one.median),
            time(extreme(f64::min)),
            time(extreme(f64::max)),
            match (one.gflops, one.images_per_s) {
                (Some(gflops), _) => format!("{gflops:.1} GFLOP/s"),
                (None, Some(rate)) => format!("{rate:.1} images/s"),
                (None, None) => String::new(),
            },
        ];
        if !peers.is_empty() {
            row.extend(match best(one, peers) {
                Some(peer) => [time(peer.median), format!("{:.2}", one.median / peer.median)],
                None => ["not measured".into(), "-".into()],
            });
        }
        table.add_row(row);
    }
    (1..heading.len()).for_each(|at| {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    });
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The work in words.
fn work(one: &Measurement) -> String {
    let mut words = vec![one.what.clone()];
    words.extend(one.arch.clone());
    words.extend(one.macs.map(|share| format!("cut to {:.0} % of its MACs", 100.0 * share)));
    words.extend(one.trainer.clone());
    words.extend(one.attack_steps.map(|steps| format!("{steps} steps")));
    words.extend(one.images.map(|images| format!("{images} images")));
    words.extend(one.epochs.map(|epochs| format!("{epochs} epochs")));
    words.extend(one.shape.map(|[input, output, side]| format!("{input}->{output} {side}x{side}")));
    words.extend(one.pass.clone());
    words.extend(one.precision.filter(|precision| *precision != Precision::F32).map(|precision| precision.to_string()));
    words.push(format!("batch {}", one.batch));
    words.push(format!("{} threads", one.threads));
    words.join(", ")
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.2} ms", 1e3 * seconds) } else { format!("{seconds:.3} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(median: f64, batch: usize) -> Measurement {
        let (arch, trainer) = (Some("resnet18".into()), Some("pgd-at".into()));
        let seconds = vec![median, 1.1 * median];
        let what = "train_step".into();
        Measurement { what, arch, trainer, batch, threads: 2, seconds, median, ..Measurement::default() }
    }

    #[test]
    fn ours_is_set_beside_the_best_of_the_same_work() {
        let peers = [step(4.0, 64), step(2.0, 64), step(0.1, 32)];
        let line: Value = serde_json::from_str(&as_json_line(&step(1.0, 64), &peers)).expect("JSON");
        assert_eq!((&line["against_median"], &line["ratio"]), (&json!(2.0), &json!(0.5)));
        let table = as_table(&[step(1.0, 64), step(1.0, 16)], &peers);
        let words =
            |line: usize| table.lines().nth(line).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert!(words(1).is_some_and(|line| line.ends_with("1.100 s 2.000 s 0.50")), "{table}");
        assert!(words(2).is_some_and(|line| line.ends_with("1.100 s not measured -")), "{table}");
    }

    #[test]
    fn lines_are_read_as_they_are_written_and_as_others_write_them() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        let path = folder.path().join("lines");
        // A field that is not known, as other programs have them, changes nothing.
        let other =
            r#"{"what": "conv", "torch": "2.1", "threads": 2, "batch": 32, "device": "cpu", "channels_last": false,
            "pass": "forward", "shape": [3, 64, 32], "seconds": [0.2], "median": 0.2, "gflops": 1.5}"#
                .replace('\n', " ");
        let text = format!("{}\n\n{other}\n", as_json_line(&step(1.0, 64), &[]));
        std::fs::write(&path, text).map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        let read = read_peers(&path)?;
        assert_eq!(read[0], step(1.0, 64));
        assert_eq!((read[1].shape, read[1].gflops), (Some([3, 64, 32]), Some(1.5)));
        std::fs::write(&path, "{}\nno JSON\n").map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        let error = read_peers(&path).expect_err("the second line is wrong").to_string();
        assert!(error.contains("line 2: "), "{error}");
        Ok(())
    }
}
