//! `mrpf export`: a saved network for other tools.

use mrpf_api::{Context, Error, ErrorKind, Result};

use super::Console;
use crate::cli::{ExportArgs, Format};
use crate::exchange::pytorch;
use crate::files::{is_taken, remove_if_there, write_output};
use crate::pipeline::read_model;

/// Writes the files and says how they are used.
pub fn export(args: &ExportArgs, console: &Console<'_>) -> Result<()> {
    let network = read_model(&args.model)?;
    let stem = args.model.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = pytorch::module_name(args.name.as_deref().unwrap_or(&stem));
    let about = || format!("exporting {}", args.model.display());
    let files = match args.format {
        Format::Pytorch => {
            let exported = pytorch::export(&network, &name).context(about)?;
            [
                (args.out.join(format!("{name}.py")), exported.module.into_bytes()),
                (args.out.join(format!("{name}.safetensors")), exported.weights),
            ]
        }
    };
    if let Some((path, _)) = files.iter().find(|(path, _)| is_taken(path)) {
        let message = format!("{} exists already", path.display());
        return Err(Error::new(ErrorKind::Io, message)
            .hint("remove it, or choose another folder with --out or another name with --name"));
    }
    for (at, (path, bytes)) in files.iter().enumerate() {
        if let Err(error) = write_output(path, bytes) {
            // Half an export would stand in the way of the next attempt. Why it failed is told, even where the half cannot be removed.
            let _ = files[..at].iter().try_for_each(|(path, _)| remove_if_there(path));
            return Err(error);
        }
    }
    let paths: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
    (console.print)(&match args.json {
        true => serde_json::json!({ "name": name, "written": paths }).to_string(),
        false => format!(
            "written     {}\nin Python   import {name}; network = {name}.load(); logits = network(images)  # pixels from 0 to 1",
            paths.join(", ")
        ),
    });
    Ok(())
}
