//! What an imported network does to the images first.

use mrpf_api::network::{Declaration, LayerKind};
use mrpf_api::{Error, ErrorKind, Result};

use super::import::{Request, Template};
use super::state_dict::StateDict;

/// What the first layer does, and who says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalisation {
    /// Subtracted from each channel.
    pub mean: Vec<f64>,
    /// Divides each channel.
    pub std: Vec<f64>,
    /// Where the two come from, in words.
    pub source: String,
}

/// What the user says, else what the file says, else what the network of the template does, else nothing.
pub(super) fn normalisation(file: &StateDict, request: &Request, channels: usize) -> Result<Normalisation> {
    let found = match (&request.normalisation, &file.mean, &file.std, &request.template) {
        (Some(given), ..) => {
            let unused = [&file.mean, &file.std]
                .into_iter()
                .flatten()
                .map(|buffer| format!("; `{}` in the file is not used", buffer.name));
            Normalisation { source: given.source.clone() + &unused.collect::<String>(), ..given.clone() }
        }
        (None, Some(mean), Some(std), _) => Normalisation {
            mean: mean.values.clone(),
            std: std.values.clone(),
            source: format!("`{}` and `{}` in the file", mean.name, std.name),
        },
        // A wrapper may do one of the two alone.
        (None, Some(mean), None, _) => Normalisation {
            mean: mean.values.clone(),
            std: vec![1.0],
            source: format!("`{}` in the file, which has no deviation", mean.name),
        },
        (None, None, Some(std), _) => Normalisation {
            mean: vec![0.0],
            std: std.values.clone(),
            source: format!("`{}` in the file, which has no mean", std.name),
        },
        (None, None, None, template) => match template {
            Template::Network(declaration) => of_template(declaration, channels),
            Template::Architecture(_) => nothing(channels),
        },
    };
    let broadcast = |values: Vec<f64>| if values.len() == 1 { vec![values[0]; channels] } else { values };
    let (mean, std) = (broadcast(found.mean), broadcast(found.std));
    let wrong = |why: String| {
        let about = format!("normalisation from {}: {why}", found.source);
        let kind = if request.normalisation.is_some() { ErrorKind::Settings } else { ErrorKind::Checkpoint };
        Err(Error::new(kind, about).hint("say what is subtracted and divided by with --mean and --std"))
    };
    if mean.len() != channels || std.len() != channels {
        return wrong(format!("{} means and {} deviations for {channels} channels", mean.len(), std.len()));
    }
    if mean.iter().any(|value| !value.is_finite()) || std.iter().any(|value| !value.is_finite() || *value <= 0.0) {
        return wrong(format!("mean {mean:?} and deviation {std:?}, expected numbers, deviations above 0"));
    }
    Ok(Normalisation { mean, std, source: found.source })
}

const NOT_SAID: &str =
    "nothing is said; if images were normalised outside of the network, give --mean and --std, or --data";

fn nothing(channels: usize) -> Normalisation {
    Normalisation { mean: vec![0.0; channels], std: vec![1.0; channels], source: NOT_SAID.into() }
}

fn of_template(declaration: &Declaration, channels: usize) -> Normalisation {
    let first = declaration.layers.iter().find_map(|layer| match &layer.kind {
        LayerKind::Normalize { mean, std } => Some((mean.clone(), std.clone())),
        _ => None,
    });
    first.map_or(nothing(channels), |(mean, std)| Normalisation { mean, std, source: "as the other network".into() })
}

/// Puts it into the network's first layer.
pub(super) fn set_normalisation(declaration: &mut Declaration, new: &Normalisation) {
    for layer in &mut declaration.layers {
        if let LayerKind::Normalize { mean, std } = &mut layer.kind {
            mean.clone_from(&new.mean);
            std.clone_from(&new.std);
        }
    }
}
