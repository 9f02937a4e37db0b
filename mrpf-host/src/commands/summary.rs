//! `mrpf summary`: what a network consists of.

use mrpf_api::architecture::{Architecture, ArchitectureRequest};
use mrpf_api::data::ImageShape;
use mrpf_api::network::Declaration;
use mrpf_api::{Context, Error, ErrorKind, Result};
use serde_json::Value;

use super::Console;
use crate::cli::SummaryArgs;
use crate::experiment::{PluginChoice, architecture, assignment};
use crate::pipeline::read_model;
use crate::summary::{Summary, as_text};

/// Prints layers, groups and costs of an architecture or a saved network.
pub fn summary(args: &SummaryArgs, console: &Console<'_>) -> Result<()> {
    let declaration = match (&args.model, &args.arch) {
        (Some(path), _) => read_model(path)?.declaration().clone(),
        (None, Some(name)) => declare(name, args)?,
        (None, None) => {
            let message = "neither --arch NAME nor --model FILE is given, expected one of them";
            return Err(Error::new(ErrorKind::Settings, message));
        }
    };
    let summary = Summary::of(&declaration)?;
    (console.print)(&match args.json {
        true => serde_json::to_string_pretty(&summary)
            .map_err(|error| Error::new(ErrorKind::Io, format!("the summary cannot be written: {error}")))?,
        false => as_text(&summary),
    });
    Ok(())
}

/// An architecture by its name, with settings as `--set` gives them.
pub(super) fn chosen(name: &str, set: &[String]) -> Result<PluginChoice> {
    let mut choice = PluginChoice::named(name);
    for text in set {
        if let Value::Object(given) = assignment(text)? {
            choice.settings.extend(given);
        }
    }
    architecture(&choice)
}

fn declare(name: &str, args: &SummaryArgs) -> Result<Declaration> {
    let choice = chosen(name, &args.set)?;
    let about = || format!("architecture `{}`", choice.name);
    let input = image_shape(&args.input)?;
    if args.classes == 0 {
        return Err(Error::new(ErrorKind::Settings, "--classes 0, expected at least 1"));
    }
    // No data set is named whose means the network could subtract.
    let (mean, std) = (vec![0.0; input.channels], vec![1.0; input.channels]);
    let request = ArchitectureRequest { input, classes: args.classes, mean, std };
    choice.make::<dyn Architecture>()?.declare(&request).context(about)
}

/// Reads `3x32x32`.
pub(super) fn image_shape(text: &str) -> Result<ImageShape> {
    let sizes: Vec<Option<usize>> = text.split('x').map(|size| size.parse().ok()).collect();
    // Far beyond any image, and small enough that no count overflows.
    let fits = |size: usize| (1..=1 << 14).contains(&size);
    match sizes[..] {
        [Some(channels), Some(height), Some(width)] if [channels, height, width].into_iter().all(fits) => {
            Ok(ImageShape { channels, height, width })
        }
        _ => {
            let expected = "expected channels, height and width, each 1 to 16384, such as 3x32x32";
            Err(Error::new(ErrorKind::Settings, format!("--input {text}, {expected}")))
        }
    }
}
