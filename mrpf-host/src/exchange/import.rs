//! A state dictionary becomes a network.

use mrpf_api::architecture::{Architecture, ArchitectureRequest};
use mrpf_api::data::ImageShape;
use mrpf_api::network::{Declaration, LayerKind, Network, Weights, statistic_specs};
use mrpf_api::{Context, Error, ErrorKind, Result};

use super::centred;
use super::matching::{Matched, Tensors, best, shapes};
use super::names::{Convention, PadShortcut};
use super::normalisation::{Normalisation, normalisation, set_normalisation};
use super::state_dict::StateDict;
use crate::experiment::PluginChoice;

/// Sides of images that are tried in this order, where nothing is said: the first at which all shapes fit is taken.
const SIDES: [usize; 8] = [32, 64, 28, 224, 96, 128, 16, 8];
/// The same for networks that begin with a convolution of at least this kernel, which are for large images.
const LARGE_SIDES: [usize; 5] = [224, 256, 64, 96, 32];
const LARGE_KERNEL: usize = 7;

/// What the file is expected to hold.
#[derive(Debug)]
pub enum Template {
    /// A network that an architecture declares.
    Architecture(PluginChoice),
    /// Other weights of a network that there is, for example a pruned one that was trained on elsewhere.
    Network(Box<Declaration>),
}

/// What is known about a file.
#[derive(Debug)]
pub struct Request {
    /// What it holds.
    pub template: Template,
    /// Shape of the images; found out from the weights as far as they tell when not given.
    pub input: Option<ImageShape>,
    /// Mean and standard deviation that the network shall subtract and divide by; one value stands for all channels.
    pub normalisation: Option<Normalisation>,
    /// Whose names the layers have; the convention that fits best when not given.
    pub names: Option<Convention>,
}

/// A network, and how the file was understood.
#[derive(Debug)]
pub struct Imported {
    /// The network.
    pub network: Network,
    /// The convention of names.
    pub names: Convention,
    /// What stood before all names and was removed.
    pub wrapping: String,
    /// What the first layer does.
    pub normalisation: Normalisation,
    /// Tensors of the file that belong to layers which the network never runs, or that the names say to leave out.
    pub ignored: usize,
    /// Tensors of the file that are equal to others: a second copy of the network.
    pub copies: usize,
    /// Whether the height and width of the images were assumed.
    pub size_assumed: bool,
}

/// Makes a network of the tensors in `file`.
///
/// # Errors
/// [`ErrorKind::Checkpoint`] telling all tensors that are missing, left over or of another shape; what the architecture refuses.
pub fn import(file: &StateDict, request: &Request) -> Result<Imported> {
    let guess = declare(request, &Guess { input: request.input.unwrap_or(square(3, SIDES[0])), classes: 10 })
        .or_else(|_| declare(request, &Guess { input: request.input.unwrap_or(square(3, 224)), classes: 10 }))?;
    let known = match &request.names {
        Some(convention) => vec![convention.clone()],
        None => Convention::built_in()?,
    };
    let ours = file.ours() || matches!(request.template, Template::Network(_));
    let matched = best(file, &guess, &known, ours)?;
    let name = &matched.convention.name;
    if matched.differences.count() > 0 {
        return Err(matched.differences.told(&whose(&guess, name), hint(file, &matched, request, &guess)));
    }
    // The shapes of the first and the last weight tell channels and classes.
    let (channels, classes) = ends(&guess, &matched.tensors);
    let large = guess.modules().next().is_some_and(|layer| match &layer.kind {
        LayerKind::Conv2d(conv) => conv.geometry.kernel[0] >= LARGE_KERNEL,
        _ => false,
    });
    let sides: &[usize] = if large { &LARGE_SIDES } else { &SIDES };
    let inputs = match (&request.template, request.input) {
        (Template::Network(declaration), _) => vec![declaration.input],
        (_, Some(input)) => vec![input],
        (_, None) => sides.iter().map(|&side| square(channels, side)).collect(),
    };
    let mut first_told = None;
    for &input in &inputs {
        let normalisation = normalisation(file, request, input.channels)?;
        let mut declaration = match declare(request, &Guess { input, classes }) {
            Ok(declaration) => declaration,
            // Images of that size are too small for the network.
            Err(_) if inputs.len() > 1 => continue,
            Err(error) => return Err(error),
        };
        set_normalisation(&mut declaration, &normalisation);
        let differences = shapes(&declaration, &matched);
        if differences.count() > 0 {
            first_told.get_or_insert_with(|| {
                differences.told(&whose(&declaration, name), hint(file, &matched, request, &declaration))
            });
            continue;
        }
        let Matched { convention, wrapping, tensors, ignored, copies, pad_shortcut, .. } = matched;
        let mut tensors: Weights = tensors.into_iter().map(|(name, (_, tensor))| (name, tensor)).collect();
        if pad_shortcut == PadShortcut::Centred {
            centred::reorder(&declaration, &mut tensors)?;
        }
        let statistics = statistic_specs(&declaration);
        let statistics = statistics.into_iter().filter_map(|spec| Some((tensors.remove(&spec.name)?, spec.name)));
        let statistics: Weights = statistics.map(|(tensor, name)| (name, tensor)).collect();
        let network = Network::from_tensors(declaration, tensors, statistics)?;
        let size_assumed = inputs.len() > 1;
        return Ok(Imported { network, names: convention, wrapping, normalisation, ignored, copies, size_assumed });
    }
    let nothing = || Error::new(ErrorKind::Declaration, "the network takes images of none of the usual sizes");
    Err(first_told.unwrap_or_else(|| nothing().hint("say what it takes with --input")))
}

struct Guess {
    input: ImageShape,
    classes: usize,
}

fn square(channels: usize, side: usize) -> ImageShape {
    ImageShape { channels, height: side, width: side }
}

fn declare(request: &Request, guess: &Guess) -> Result<Declaration> {
    match &request.template {
        Template::Network(declaration) => Ok(Declaration::clone(declaration)),
        Template::Architecture(choice) => {
            let channels = guess.input.channels;
            let (mean, std) = (vec![0.0; channels], vec![1.0; channels]);
            let request = ArchitectureRequest { input: guess.input, classes: guess.classes, mean, std };
            let about = || format!("architecture `{}`", choice.name);
            choice.make::<dyn Architecture>().and_then(|made| made.declare(&request)).context(about)
        }
    }
}

/// Channels of the images and number of classes, from the weights that read the former and give the latter.
fn ends(declaration: &Declaration, tensors: &Tensors) -> (usize, usize) {
    let weight = |layer: Option<String>| tensors.get(&format!("{}.weight", layer?)).map(|(_, tensor)| tensor.dims());
    let (first, last) = (declaration.modules().next(), declaration.modules().last());
    let channels = match weight(first.map(|layer| layer.name.clone())) {
        Some(&[_, channels, _, _]) if channels > 0 => channels,
        _ => declaration.input.channels,
    };
    let classes = match weight(last.map(|layer| layer.name.clone())) {
        Some(&[classes, _]) if classes > 0 => classes,
        _ => declaration.classes,
    };
    (channels, classes)
}

fn whose(declaration: &Declaration, names: &str) -> String {
    let ImageShape { channels, height, width } = declaration.input;
    let Declaration { architecture, classes, .. } = declaration;
    format!(
        "this `{architecture}` for {channels}x{height}x{width} images in {classes} classes, by the names of `{names}`"
    )
}

fn hint(file: &StateDict, matched: &Matched, request: &Request, declaration: &Declaration) -> String {
    if let Some(scores) = file.scores.keys().next().filter(|_| !matched.differences.unusable.is_empty()) {
        return format!(
            "--popup-density D keeps the share D of each layer's weights, those with the highest `{}`, as HYDRA and edge-popup do; D is the \
             `k` of the training",
            scores.rsplit('.').next().unwrap_or(scores)
        );
    }
    if !matched.differences.unusable.is_empty() {
        return "quantised weights and values that are no numbers cannot be imported; what is no weight is left out by \
                `ignore = [\"*.NAME\"]` in a file of names for --names, and masks are multiplied into the weights in Python"
            .into();
    }
    let architecture = &declaration.architecture;
    let names = match &request.names {
        Some(_) => "leave --names out to have the names recognised",
        None => "--names NAME forces a convention of names, or your own, from a file NAME.toml",
    };
    match &request.template {
        Template::Network(_) => format!("--like takes the network that was exported; {names}"),
        Template::Architecture(_) => format!(
            "depth, width and form are settings: `mrpf plugins show {architecture}` lists them for --set; --input CxHxW is the \
             size of the images; {names}"
        ),
    }
}
