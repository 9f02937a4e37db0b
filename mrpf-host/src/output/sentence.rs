//! Events as sentences for people.

use crate::device::busy_text;
use crate::event::{AttackShare, Event};
use crate::safe_text::one_line;

/// The line for an event; `None` for progress, which is shown otherwise.
pub(super) fn sentence(event: &Event) -> Option<String> {
    Some(match event {
        Event::RunStarted { name, directory, seed, version, threads, device, resumed } => {
            let how = if *resumed { "going on with" } else { "running" };
            let plural = if *threads == 1 { "" } else { "s" };
            let on = if device == "cpu" { String::new() } else { format!(", on {device}") };
            let (name, directory) = (one_line(name), directory.display());
            format!("mrpf {version}: {how} `{name}` in {directory}, seed {seed}, {threads} thread{plural}{on}")
        }
        Event::LibraryOpened { package, version, path, .. } => {
            format!("plugin library {package} {version}: {}", path.display())
        }
        Event::DataLoaded { name, train, holdout, test, shape: [channels, height, width], classes } => format!(
            "data `{}`: {train} images to train on, {holdout} held out, {test} to test, {channels}x{height}x{width}, {classes} classes",
            one_line(name)
        ),
        Event::NetworkBuilt { architecture, params, macs } => {
            format!(
                "network `{}`: {} parameters, {} MACs an image",
                one_line(architecture),
                count(*params),
                count(*macs)
            )
        }
        Event::StageStarted { stage, number, of } => format!("[{number}/{of}] {}", one_line(stage)),
        Event::StageFinished { reused: true, .. } => "  done before, taken from the run directory".into(),
        Event::StageFinished { seconds, .. } => format!("  done in {}", duration(*seconds)),
        Event::Progress { .. } | Event::Downloading { .. } => return None,
        Event::ComparisonPlanned { name, directory, version, networks, stages, reused, to_compute, jobs, devices } => {
            let on = if devices.is_empty() { String::new() } else { format!(" on {} devices", devices.len()) };
            format!(
                "mrpf {version}: comparing `{}` in {}\n{networks} pruned networks, {stages} stages: {reused} there from \
                 before, {} to compute, {jobs} at a time{on}",
                one_line(name),
                directory.display(),
                to_compute.len()
            )
        }
        Event::JobStarted { .. } | Event::JobTold { .. } => return None,
        Event::JobFinished { stage, number, of, seconds, summary } => {
            let summary = summary.as_ref().map_or(String::new(), |summary| format!(": {summary}"));
            let width = of.to_string().len();
            format!("[{number:>width$}/{of}] {}{summary}  ({})", one_line(stage), duration(*seconds))
        }
        Event::ComparisonForecast { forecast } => forecast.to_string(),
        Event::JobTriedAgain { stage, device, reason } => {
            format!("{device} failed and {} is tried again: {reason}", one_line(stage))
        }
        Event::JobFailed { stage, reason } => format!("failed: {}: {reason}", one_line(stage)),
        Event::ComparisonFinished { seconds, computed, reused, failed, table, directory } => {
            let failed = if *failed > 0 { format!(", {failed} failed or left out") } else { String::new() };
            format!(
                "\n{table}\n\n{computed} stages computed, {reused} there from before{failed}; finished in {}\n\
                 the page is {}; beside it are the same tables as report.md, report.tex, results.csv, .json and .sqlite",
                duration(*seconds),
                directory.join("report.html").display()
            )
        }
        Event::Fetched { file, path, there: true } => format!("{file}: there already, {}", path.display()),
        Event::Fetched { file, path, there: false } => format!("{file}: fetched, {}", path.display()),
        Event::Epoch {
            epoch,
            epochs,
            loss,
            train_accuracy,
            holdout_clean,
            holdout_robust,
            images_per_s,
            gpu_busy,
            seconds,
            best,
            ..
        } => {
            let busy = gpu_busy.map_or(String::new(), |share| format!("{}  ", busy_text(share)));
            let held = match (holdout_clean, holdout_robust) {
                (Some(clean), Some(robust)) => {
                    format!("held-out {} clean, {} robust  ", percent(*clean), percent(*robust))
                }
                _ => String::new(),
            };
            let mark = if *best { "  best so far" } else { "" };
            let width = epochs.to_string().len();
            format!(
                "  epoch {epoch:>width$}/{epochs}  loss {loss:.3}  train {}  {held}{images_per_s:.0} images/s  {busy}{}{mark}",
                percent(*train_accuracy),
                duration(*seconds)
            )
        }
        Event::SensitivityMeasured { metric, modules } => {
            let longest = modules.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            let lines = modules.iter().map(|(name, value)| format!("    {:longest$}  {value:.4}", one_line(name)));
            format!("  {metric} of each module (higher is more sensitive)\n{}", lines.collect::<Vec<_>>().join("\n"))
        }
        Event::Pruned {
            budget,
            ratio_asked,
            ratio_achieved,
            macs_before,
            macs_after,
            params_before,
            params_after,
            shortfall,
            ..
        } => {
            let shortfall = shortfall.as_ref().map_or(String::new(), |why| format!("\n  note: {why}"));
            format!(
                "  {} of the {budget} asked to go, {} gone: {} MACs of {}, {} parameters of {}{shortfall}",
                percent(*ratio_asked),
                percent(*ratio_achieved),
                count(*macs_after),
                count(*macs_before),
                count(*params_after),
                count(*params_before)
            )
        }
        Event::Evaluated { when, attacks, images, clean_accuracy, robust_accuracy, images_per_s, .. } => {
            let when = if when == "pruned" { "as cut" } else { "in the end" };
            let (clean, robust) = (percent(*clean_accuracy), percent(*robust_accuracy));
            let names: Vec<_> = attacks.iter().map(|attack| one_line(&attack.name)).collect();
            let rate = images_per_s.map_or(String::new(), |rate| format!(", {rate:.1} images/s"));
            format!(
                "  {when}: {clean} clean, {robust} under {} ({images} images{rate}){}",
                names.join("+"),
                each_attack(attacks)
            )
        }
        Event::Warning { about, message } => format!("  warning: {about}: {message}"),
        Event::Note { about, message } => format!("  {about}: {message}"),
        Event::Written { what, path } => format!("{what}: {}", path.display()),
        Event::RunFinished { seconds, table } => format!("\n{table}\n\nfinished in {}", duration(*seconds)),
    })
}

/// A line for each of several attacks, and for each attack of several parts.
fn each_attack(attacks: &[AttackShare]) -> String {
    let several = attacks.len() > 1;
    let lines = attacks.iter().filter(|attack| several || !attack.parts.is_empty()).map(|attack| {
        let parts =
            attack.parts.iter().map(|part| format!("{} {}", one_line(&part.name), percent(part.robust_accuracy)));
        let parts = parts.collect::<Vec<_>>().join(", then ");
        let after = if parts.is_empty() { parts } else { format!("  ({parts})") };
        format!("\n    {}: {}{after}", one_line(&attack.name), percent(attack.robust_accuracy))
    });
    lines.collect()
}

/// `12.3 M`, `456 k`, `789`.
pub(crate) fn count(value: u64) -> String {
    match value {
        0..10_000 => value.to_string(),
        10_000..1_000_000 => format!("{:.1} k", value as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", value as f64 / 1e6),
        _ => format!("{:.2} G", value as f64 / 1e9),
    }
}

/// `12.3 MB`.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// `41.2 %` of a share.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// `4.2 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_units() {
        assert_eq!([count(9_999), count(77_850), count(40_813_184)], ["9999", "77.8 k", "40.81 M"]);
        assert_eq!([duration(4.21), duration(185.0), duration(7800.0)], ["4.2 s", "3 min 5 s", "2 h 10 min"]);
        assert_eq!([percent(0.41239), megabytes(12_345_678)], ["41.2 %", "12.3 MB"]);
    }

    #[test]
    fn an_epoch_reads_as_a_line() {
        let event = Event::Epoch {
            stage: "train dense".into(),
            epoch: 3,
            epochs: 20,
            learning_rate: 0.1,
            loss: 1.8234,
            train_accuracy: 0.412,
            holdout_clean: Some(0.52),
            holdout_robust: Some(0.314),
            images_per_s: 412.3,
            gpu_busy: None,
            seconds: 12.0,
            best: true,
        };
        let expected = "  epoch  3/20  loss 1.823  train 41.2 %  held-out 52.0 % clean, 31.4 % robust  412 images/s  12 s  \
                        best so far";
        assert_eq!(sentence(&event).as_deref(), Some(expected));
        let mut on_gpu = event;
        if let Event::Epoch { gpu_busy, .. } = &mut on_gpu {
            *gpu_busy = Some(0.934);
        }
        let line = sentence(&on_gpu).unwrap_or_default();
        assert!(line.contains("412 images/s  GPU 93 %  12 s"), "{line}");
    }
}
