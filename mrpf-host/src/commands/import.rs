//! `mrpf import`: weights of PyTorch become a saved network.

use mrpf_api::coupling::{Cost, cost};
use mrpf_api::data::LoadedData;
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde::Serialize;
use std::path::Path;

use super::Console;
use super::data::source;
use super::summary::{chosen, image_shape};
use crate::cli::ImportArgs;
use crate::event::Silent;
use crate::exchange::names::Convention;
use crate::exchange::{Imported, LeftOut, Normalisation, Request, StateDict, Template, import as read_weights};
use crate::files::{self, is_taken, write_output};
use crate::load_data::load_data;
use crate::output::count;
use crate::pipeline::read_model;

/// Reads the file, finds out what it holds, and writes the network.
pub fn import(args: &ImportArgs, console: &Console<'_>) -> Result<()> {
    if is_taken(&args.out) {
        let message = format!("{} exists already", args.out.display());
        return Err(Error::new(ErrorKind::Io, message).hint("remove it, or name another file with --out"));
    }
    let template = match (&args.like, &args.arch) {
        (Some(path), _) => Template::Network(Box::new(read_model(path)?.declaration().clone())),
        (None, Some(name)) => Template::Architecture(chosen(name, &args.set)?),
        (None, None) => {
            let message = "neither --arch NAME nor --like MODEL is given, expected one of them";
            return Err(Error::new(ErrorKind::Settings, message));
        }
    };
    let names = args.names.as_deref().map(Convention::named).transpose()?;
    let input = args.input.as_deref().map(image_shape).transpose()?;
    let about = || format!("importing {}", args.file.display());
    let bytes = files::read_regular(&args.file).map_err(|error| files::failed("read", &args.file, &error))?;
    let mut file = StateDict::from_bytes(&bytes).context(about)?;
    if let Some(density) = args.popup_density {
        file.apply_scores(density).context(about)?;
    }
    drop(bytes);
    let data = args.data.as_deref().map(|name| load(name, args, console)).transpose()?;
    let input = data.as_ref().map(LoadedData::shape).or(input);
    let said_in_file = file.mean.is_some() || file.std.is_some();
    let normalisation = match (args.mean.is_empty(), &data) {
        (false, _) => {
            let source = "the command line".into();
            Some(Normalisation { mean: args.mean.clone(), std: args.std.clone(), source })
        }
        (true, Some(data)) if !said_in_file => {
            let source = format!("data set `{}`", args.data.as_deref().unwrap_or_default());
            Some(Normalisation { mean: data.mean.clone(), std: data.std.clone(), source })
        }
        _ => None,
    };
    let imported = read_weights(&file, &Request { template, input, normalisation, names }).context(about)?;
    if let Some(data) = &data {
        check_classes(&imported, data).context(about)?;
    }
    write_output(&args.out, &imported.network.to_bytes()?)?;
    let report = Report::new(&imported, &file, &args.out)?;
    (console.print)(&match args.json {
        true => serde_json::to_string_pretty(&report)
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot be written as JSON: {error}")))?,
        false => report.text(),
    });
    Ok(())
}

fn load(name: &str, args: &ImportArgs, console: &Console<'_>) -> Result<LoadedData> {
    load_data(name, &*source(name, &[])?, args.data_dir.as_deref(), console.watcher, &Silent)
}

fn check_classes(imported: &Imported, data: &LoadedData) -> Result<()> {
    let (found, expected) = (imported.network.declaration().classes, data.classes());
    match found == expected {
        true => Ok(()),
        false => {
            let message = format!("the weights tell {found} classes apart, but the data set has {expected}");
            let hint = "name the data that the network was trained on with --data, or leave --data out and give --mean and --std";
            Err(Error::new(ErrorKind::Checkpoint, message).hint(hint))
        }
    }
}

/// What was done, for people and programs.
#[derive(Debug, Serialize)]
struct Report {
    architecture: String,
    params: u64,
    macs: u64,
    names: String,
    names_about: String,
    wrapping: String,
    input: [usize; 3],
    size_assumed: bool,
    classes: usize,
    mean: Vec<f64>,
    std: Vec<f64>,
    normalisation_source: String,
    converted: Vec<(String, usize)>,
    counters_ignored: usize,
    masked: Vec<String>,
    left_out: Vec<LeftOut>,
    copies_ignored: usize,
    tensors_ignored: usize,
    out: String,
}

impl Report {
    fn new(imported: &Imported, file: &StateDict, out: &Path) -> Result<Self> {
        let declaration = imported.network.declaration();
        let Cost { params, macs, .. } = cost(declaration)?;
        let normalisation = imported.normalisation.clone();
        let left_out = || file.left_out.iter().flat_map(|kind| &kind.tensors);
        Ok(Self {
            architecture: declaration.architecture.clone(),
            params,
            macs,
            names: imported.names.name.clone(),
            names_about: imported.names.about.clone(),
            wrapping: imported.wrapping.clone(),
            input: declaration.input.dims(),
            size_assumed: imported.size_assumed,
            classes: declaration.classes,
            mean: normalisation.mean,
            std: normalisation.std,
            normalisation_source: normalisation.source,
            converted: file.converted.clone(),
            counters_ignored: left_out().filter(|name| name.ends_with("num_batches_tracked")).count(),
            masked: file.masked.clone(),
            left_out: file.left_out.clone(),
            copies_ignored: imported.copies,
            tensors_ignored: imported.ignored,
            out: out.display().to_string(),
        })
    }

    fn text(&self) -> String {
        let [channels, height, width] = self.input;
        let mut lines = vec![
            format!(
                "network     {}: {} parameters, {} MACs an image",
                self.architecture,
                count(self.params),
                count(self.macs)
            ),
            format!("names       {} ({})", self.names, self.names_about),
        ];
        if !self.wrapping.is_empty() {
            lines.push(format!("            `{}` in front of all of them was removed", self.wrapping));
        }
        let assumed = if self.size_assumed { " (the size is assumed; --input CxHxW says another)" } else { "" };
        lines.push(format!("images      {channels}x{height}x{width} in {} classes{assumed}", self.classes));
        let (mean, std) = (list(&self.mean), list(&self.std));
        lines.push(format!("normalised  by mean {mean} and deviation {std} ({})", self.normalisation_source));
        for (kind, tensors) in &self.converted {
            lines.push(format!("converted   {tensors} tensors from {kind} to f32"));
        }
        if !self.masked.is_empty() {
            lines.push(format!("masked      {} tensors by their masks or scores in the file", self.masked.len()));
        }
        let left_out = self.left_out.iter().map(|kind| (kind.tensors.len(), kind.what.as_str()));
        let copies = (self.copies_ignored, "tensors that are copies of others");
        let never = (self.tensors_ignored, "tensors of layers that are never run, or that the names leave out");
        for (count, what) in left_out.chain([copies, never]) {
            if count > 0 {
                lines.push(format!("ignored     {count} {what}"));
            }
        }
        lines.push(format!("written     {}", self.out));
        lines.join("\n")
    }
}

fn list(values: &[f64]) -> String {
    values.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")
}
