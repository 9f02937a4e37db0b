//! The program `mrpf`.

// The one place that names the shared library, so that host and run-time plugins see the same copy of mrpf-api and Candle.
#[cfg(feature = "dynamic-plugins")]
use mrpf_dylib as _;

use clap::Parser;
use mrpf_api::registry;
use mrpf_host::cli::Cli;
use mrpf_host::commands::{
    Console, device, dispatch, events_are_shown, events_as_json, name, needs_plugins, opens, quiet, reads_input,
    shared, side_by_side, threads,
};
use mrpf_host::device::{OpenDevice, open_first};
use mrpf_host::event::Event;
use mrpf_host::failure;
use mrpf_host::interrupt::Interrupt;
use mrpf_host::output::{self, Style};
use mrpf_host::plugin_library::{self, Found, Writable};
use std::process::ExitCode;

fn main() -> ExitCode {
    let notes = mrpf_host::threads::settle_pools();
    registry::tell_plugin_panics_as_errors();
    // Of the record of a run; what is not UTF-8 is shown as far as it is.
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return output::print_answer(&answer),
    };
    let _working = plugin_library::guard_process();
    let style = match &cli.command {
        command if events_as_json(command) => Style::JsonLines,
        command if quiet(command) => Style::Quiet,
        command => match Style::detect() {
            Style::Terminal if side_by_side(command) => Style::Dashboard,
            style => style,
        },
    };
    let sink = output::console(style);
    match registry::catch(|| run(&cli, &arguments, notes, sink.as_ref())).and_then(|()| output::check_printed()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            sink.close();
            output::print_error(&failure::text(&error));
            ExitCode::from(failure::exit_code(error.kind()))
        }
    }
}

fn run(
    cli: &Cli,
    arguments: &[String],
    mut notes: Vec<String>,
    sink: &dyn output::ConsoleSink,
) -> mrpf_api::Result<()> {
    let interrupt = Interrupt::listen()?;
    if let Some(threads) = threads(&cli.command) {
        notes.extend(mrpf_host::threads::limit(threads)?);
    }
    notes.into_iter().for_each(|note| warn(cli, "threads", note, sink));
    let found = open_plugins(cli)?;
    if shared(&cli.command).is_some() {
        for refused in &found.refused {
            let about = "plugin not loaded".to_owned();
            sink.events().send(Event::Warning { about, message: failure::text(refused) });
        }
    }
    let device = device(&cli.command).map_or(Ok(OpenDevice::default()), |asked| {
        open_first(&opens(&cli.command, asked.device)?, asked.arithmetic())
    })?;
    let hint = device.hint.as_ref().map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
    for note in &device.notes {
        warn(cli, "device", format!("{note}{hint}"), sink);
    }
    if reads_input(&cli.command) {
        interrupt.at_end_of_input();
    }
    let watcher = interrupt.watcher(sink.events());
    let console = Console {
        events: sink.events(),
        watcher: &watcher,
        print: &output::print_text,
        arguments,
        plugin_files: &cli.plugins.files,
        refused: &found.refused,
        device: &device,
        command: name(&cli.command),
    };
    dispatch(cli, &console)
}

/// Tells what the user should know: with the events, or beside an answer that stands alone.
fn warn(cli: &Cli, about: &str, message: String, sink: &dyn output::ConsoleSink) {
    match events_are_shown(&cli.command) {
        true => sink.events().send(Event::Warning { about: about.into(), message }),
        false => output::print_error(&format!("warning: {message}")),
    }
}

/// Opens the plugin libraries that the user names, and those in the searched places.
fn open_plugins(cli: &Cli) -> mrpf_api::Result<Found> {
    if cli.plugins.allow_writable_plugins {
        plugin_library::accept_writable(Writable::Accept);
    }
    if !needs_plugins(&cli.command) {
        return Ok(Found::default());
    }
    plugin_library::load(&cli.plugins.files)
}
