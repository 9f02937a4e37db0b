//! The dashboard as it is drawn, in a few lines at the bottom of the terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{LineGauge, Paragraph, Sparkline};
use std::time::Instant;

use super::state::{Running, State};
use crate::device::busy_text;
use crate::output::sentence::{duration, percent};

/// Stages that are shown while they run; more are counted.
const SHOWN: usize = 4;
/// Lines of the whole: a head, two lines for each stage, and what is next.
pub const HEIGHT: u16 = 2 + 2 * SHOWN as u16;

/// Draws the state as it is at `now`.
pub fn draw(frame: &mut Frame<'_>, state: &State, now: Instant) {
    let shown = state.running.len().min(SHOWN);
    let lines = std::iter::once(1).chain(std::iter::repeat_n(2, shown)).chain([1]).map(Constraint::Length);
    let areas = Layout::vertical(lines).split(frame.area());
    head(frame, areas[0], state, now);
    for (running, area) in state.running.iter().take(SHOWN).zip(&areas[1..]) {
        stage(frame, *area, running, now);
    }
    frame.render_widget(Paragraph::new(next(state)).dim(), areas[shown + 1]);
}

fn head(frame: &mut Frame<'_>, area: Rect, state: &State, now: Instant) {
    let elapsed = now.duration_since(state.start).as_secs_f64();
    let left = state.left(now).map_or(String::new(), |left| format!(", about {} left", duration(left)));
    let failed = if state.failed > 0 { format!(", {} failed", state.failed) } else { String::new() };
    let on = if state.devices > 0 { format!(" on {} devices", state.devices) } else { String::new() };
    let label = format!("{}/{} stages{on}{failed}  {}{left}", state.ended, state.total, duration(elapsed));
    let gauge = LineGauge::default()
        .label(label)
        .ratio(ratio(state.ended as u64, state.total as u64))
        .filled_style(Style::new().green())
        .unfilled_style(Style::new().dark_gray());
    frame.render_widget(gauge, area);
}

fn stage(frame: &mut Frame<'_>, area: Rect, running: &Running, now: Instant) {
    let [above, below] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let time = duration(now.duration_since(running.start).as_secs_f64());
    let mut line = vec![Span::raw(running.stage.clone()).bold(), Span::raw(format!("  {time}")).dim()];
    if let Some(device) = &running.device {
        line.push(Span::raw(format!("  {device}")).dim());
    }
    if let Some(share) = running.gpu_busy {
        line.push(Span::raw(format!("  {}", busy_text(share))));
    }
    if let Some(loss) = running.losses.last() {
        line.push(Span::raw(format!("  loss {loss:.3}")));
    }
    if let Some(robust) = running.robust.last() {
        line.push(Span::raw(format!("  held-out {} robust", percent(*robust))));
    }
    frame.render_widget(Paragraph::new(Line::from(line)), above);
    let [gauge, curve] = Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(below);
    let (done, total) = running.steps.unwrap_or_default();
    let label = if running.what.is_empty() { "starting".into() } else { format!("{} {done}/{total}", running.what) };
    let bar = LineGauge::default()
        .label(label)
        .ratio(ratio(done, total))
        .filled_style(Style::new().cyan())
        .unfilled_style(Style::new().dark_gray());
    frame.render_widget(bar, gauge);
    frame.render_widget(Sparkline::default().data(curve_of(running, curve.width)).style(Style::new().cyan()), curve);
}

/// The robust accuracy of the last epochs, and the loss where nothing is held out, in thousandths of its largest.
fn curve_of(running: &Running, width: u16) -> Vec<u64> {
    let values = if running.robust.is_empty() { &running.losses } else { &running.robust };
    let largest = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let last = values.len().saturating_sub(usize::from(width));
    values[last..].iter().map(|value| (1000.0 * value / largest).max(0.0) as u64).collect()
}

fn next(state: &State) -> String {
    let hidden = state.running.len().saturating_sub(SHOWN);
    let more = if hidden > 0 { format!("{hidden} more running  ") } else { String::new() };
    match state.next.as_slice() {
        [] => more,
        [one] => format!("{more}next: {one}"),
        [one, two, rest @ ..] if !rest.is_empty() => format!("{more}next: {one}; {two}; {} more", rest.len()),
        [one, two, ..] => format!("{more}next: {one}; {two}"),
    }
}

fn ratio(done: u64, total: u64) -> f64 {
    (done as f64 / total.max(1) as f64).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;
    use std::time::Duration;

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    fn in_the_middle() -> State {
        let mut state = State::default();
        let stages =
            ["train dense", "measure mrs", "prune l1-norm, seed 0", "prune l1-norm, seed 1", "attack l1-norm, seed 0"];
        state.note(&Event::ComparisonPlanned {
            name: "digits".into(),
            directory: "digits".into(),
            version: "0.1.0".into(),
            networks: 2,
            stages: 6,
            reused: 1,
            to_compute: stages.map(str::to_owned).to_vec(),
            jobs: 2,
            devices: Vec::new(),
        });
        let started =
            |stage: &str| Event::JobStarted { stage: stage.into(), number: 1, of: 5, threads: 1, device: None };
        state.note(&started("train dense"));
        state.note(&Event::JobFinished { stage: "train dense".into(), number: 1, of: 5, seconds: 9.0, summary: None });
        state.note(&started("measure mrs"));
        state.note(&started("prune l1-norm, seed 0"));
        for epoch in 1..=3 {
            let told =
                json!({"event": "epoch", "loss": 2.0 / f64::from(epoch), "holdout_robust": 0.1 * f64::from(epoch)});
            state.note(&Event::JobTold { stage: "prune l1-norm, seed 0".into(), told });
        }
        let told = json!({"event": "progress", "what": "epoch 4/8", "done": 12, "total": 40});
        state.note(&Event::JobTold { stage: "prune l1-norm, seed 0".into(), told });
        state
    }

    #[test]
    fn it_shows_what_runs_and_what_is_next() -> Outcome {
        let state = in_the_middle();
        let mut terminal = Terminal::new(TestBackend::new(90, HEIGHT))?;
        terminal.draw(|frame| draw(frame, &state, state.start + Duration::from_secs(61)))?;
        insta::assert_snapshot!(terminal.backend());
        Ok(())
    }

    #[test]
    fn it_fits_any_terminal() -> Outcome {
        let mut state = in_the_middle();
        for at in 0..9 {
            let stage = format!("stage {at}");
            state.note(&Event::JobStarted { stage, number: 1, of: 5, threads: 1, device: Some("cuda:1".into()) });
        }
        for (width, height) in [(1, 1), (10, 3), (40, HEIGHT), (300, 50)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height))?;
            terminal.draw(|frame| draw(frame, &state, state.start + Duration::from_secs(5)))?;
        }
        Ok(())
    }
}
