//! `mrpf data check`: what does a data set hold?

use mrpf_api::{Error, ErrorKind, Result};

use super::source;
use crate::cli::DataCheckArgs;
use crate::commands::Console;
use crate::data_check::{DataCheck, Told, as_text, contact_sheet};
use crate::event::Event;
use crate::files::write_output;
use crate::load_data::load_data;

/// Loads the data, prints what is in them, and draws the contact sheet.
pub fn check(args: &DataCheckArgs, console: &Console<'_>) -> Result<()> {
    let (source, told) = (source(&args.data, &args.set)?, Told::default());
    let data = load_data(&args.data, &*source, args.data_dir.as_deref(), console.watcher, &told)?;
    let found = DataCheck::new(&args.data, &data, told);
    if args.json {
        let text = serde_json::to_string_pretty(&found)
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot be written as JSON: {error}")))?;
        (console.print)(&text);
    } else {
        (console.print)(&as_text(&found));
    }
    if let Some(path) = &args.out {
        write_output(path, &contact_sheet(&data)?)?;
        if !args.json {
            console.events.send(Event::Written { what: "contact sheet".into(), path: path.clone() });
        }
    }
    Ok(())
}
