//! Example images: what the attacks make of them, for a dense network and one that was pruned from it.

use maud::{Markup, html};
use mrpf_api::attack::Attack;
use mrpf_api::candle_core::{DType, Device, Tensor};
use mrpf_api::context::CallContext;
use mrpf_api::data::{Batch, DataSource, ImageShape, LoadedData};
use mrpf_api::network::{Classifier, Network};
use mrpf_api::numeric::loss;
use mrpf_api::random::Streams;
use mrpf_api::{Error, ErrorKind, Result};
use std::path::Path;

use super::Section;
use super::picture::data_address;
use crate::comparison::findings::{DenseFinding, Finding, Findings};
use crate::comparison::grid::{Cell, Grid};
use crate::experiment::Experiment;
use crate::pipeline::read_model;

/// How many images are shown.
const IMAGES: usize = 6;

/// What an attack made of the images, for one network.
struct Attacked {
    /// What the network is called.
    network: String,
    /// Attacked images, each `[channel, height, width]` in [0, 1].
    images: Vec<Vec<f32>>,
    /// The class that the network gives each attacked image.
    predicted: Vec<u32>,
}

/// The section; none without a pruned network. Where networks or images are not there any more, it says so.
///
/// # Errors
/// [`ErrorKind::Checkpoint`] if a network that is there is broken; errors of the attack.
pub fn section(findings: &Findings, store_root: &Path) -> Result<Option<Section>> {
    let Some(finding) = findings.pruned.first() else { return Ok(None) };
    let Some(dense) = findings.dense_of(finding) else { return Ok(None) };
    let section = |body| Some(Section { id: "examples", title: "Example images", body });
    let paths = [&dense.network, &finding.network].map(|network| store_root.join(network));
    if paths.iter().any(|path| !path.is_file()) {
        return Ok(section(html! { p { "Left out, because the networks are not in the store any more." } }));
    }
    let grid = Grid::new(&findings.experiment)?;
    let Some(Cell { experiment, .. }) = grid.cells.into_iter().find(|cell| cell.place == finding.place) else {
        return Ok(section(html! { p { "Left out, because the settings have no such network any more." } }));
    };
    let source = experiment.data.name.make::<dyn DataSource>()?;
    let Ok(data) = source.load(experiment.data.dir.as_deref()) else {
        return Ok(section(html! { p { "Left out, because the images of the data set cannot be read any more." } }));
    };
    let chosen = chosen(dense, finding);
    if chosen.is_empty() || chosen.iter().any(|&index| index >= data.test.len()) {
        return Ok(section(html! { p { "Left out, because no test image is classified rightly by both networks." } }));
    }
    let clean = data.test.batch(&chosen, DType::F32, &Device::Cpu)?;
    let names = ["dense".to_owned(), finding.place.to_string()];
    let mut attacked = Vec::new();
    for (network, path) in names.into_iter().zip(&paths) {
        attacked.push(attack(network, &read_model(path)?, &experiment, &clean)?);
    }
    Ok(section(body(&experiment, &data, &clean, &attacked)?))
}

/// The first images that both networks classify rightly: before others those that the attacks of at least one of them broke.
fn chosen(dense: &DenseFinding, finding: &Finding) -> Vec<usize> {
    let pairs = || dense.evaluation.outcomes.iter().zip(&finding.evaluation.outcomes);
    let right = || pairs().filter(|(one, other)| one.index == other.index && one.is_right() && other.is_right());
    let (broken, whole): (Vec<_>, Vec<_>) = right().partition(|(one, other)| !one.survives(0) || !other.survives(0));
    broken.into_iter().chain(whole).take(IMAGES).map(|(one, _)| one.index).collect()
}

/// Attacks as the evaluation did, with the same random numbers, so that each image is the one that was judged.
fn attack(network: String, saved: &Network, experiment: &Experiment, clean: &Batch) -> Result<Attacked> {
    let frozen = saved.freeze()?;
    let settings = &experiment.evaluate;
    let Some(choice) = settings.attacks.first() else {
        return Err(Error::new(ErrorKind::Settings, "setting `evaluate.attacks`: found an empty list"));
    };
    let cx =
        CallContext::unwatched(Streams::new(experiment.seed).child("evaluate").child("attack").child(&choice.name));
    let outcome = choice.make::<dyn Attack>()?.attack(&cx, &frozen, &settings.threat, clean)?;
    let predicted = loss::predictions(&frozen.logits(&outcome.images)?)?;
    Ok(Attacked { network, images: rows(&outcome.images)?, predicted })
}

/// The values of each image of a batch.
fn rows(images: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(images.flatten_from(1)?.to_dtype(DType::F32)?.to_vec2::<f32>()?)
}

fn body(experiment: &Experiment, data: &LoadedData, clean: &Batch, attacked: &[Attacked]) -> Result<Markup> {
    let (originals, shape) = (rows(&clean.images)?, data.shape());
    let labels: Vec<u32> = clean.labels.to_vec1()?;
    let class = |class: u32| data.class_names.get(class as usize).cloned().unwrap_or_else(|| class.to_string());
    let factor = magnification(&originals, attacked);
    let mut cards = Vec::new();
    for (at, (original, &label)) in originals.iter().zip(&labels).enumerate() {
        let about = format!("test image {}, class {}", clean.indices[at], class(label));
        let mut lines = Vec::new();
        for network in attacked {
            let predicted = network.predicted[at];
            let pictures = Pictures::new(original, &network.images[at], factor, shape)?;
            lines.push((network.network.as_str(), class(predicted), predicted != label, pictures));
        }
        cards.push(card(&about, &data_address(original, shape)?, &class(label), &lines));
    }
    let settings = &experiment.evaluate;
    let name = settings.attacks.first().map_or("", |attack| attack.name.as_str());
    Ok(html! {
        p {
            "The first test images that both networks classify rightly, before others those that the attack " strong { (name) }
            " turns for one of them, as the evaluation attacked them. Changes are magnified " (format!("{factor:.1}"))
            " times around grey: grey is no change."
        }
        div.pictures { @for card in cards { (card) } }
    })
}

/// So that the greatest change of all reaches black or white.
fn magnification(originals: &[Vec<f32>], attacked: &[Attacked]) -> f32 {
    let changes = attacked.iter().flat_map(|network| network.images.iter().zip(originals));
    let values = changes.flat_map(|(image, original)| image.iter().zip(original).map(|(a, b)| (a - b).abs()));
    let greatest = values.filter(|change| change.is_finite()).fold(0.0, f32::max);
    if greatest > 0.0 { 0.5 / greatest } else { 1.0 }
}

/// Addresses of an attacked image and of its change.
struct Pictures {
    attacked: String,
    change: String,
}

impl Pictures {
    fn new(original: &[f32], attacked: &[f32], factor: f32, shape: ImageShape) -> Result<Self> {
        let change: Vec<f32> = attacked.iter().zip(original).map(|(a, b)| 0.5 + factor * (a - b)).collect();
        Ok(Self { attacked: data_address(attacked, shape)?, change: data_address(&change, shape)? })
    }
}

fn card(about: &str, clean: &str, class: &str, lines: &[(&str, String, bool, Pictures)]) -> Markup {
    html! {
        table {
            caption { (about) }
            thead { tr { th scope="col" { "network" } th scope="col" { "attacked" } th scope="col" { "change" } } }
            tbody {
                tr {
                    th scope="row" { "without attack" }
                    td { img src=(clean) alt={ (about) }; (class) }
                    td {}
                }
                @for (network, predicted, wrong, pictures) in lines {
                    tr {
                        th scope="row" { (network) }
                        td {
                            img src=(pictures.attacked) alt={ (about) ", attacked: " (network) " sees " (predicted) };
                            span.wrong[*wrong] { @if *wrong { "✗ " } @else { "✓ " } (predicted) }
                        }
                        td { img src=(pictures.change) alt={ "magnified change of " (about) " for " (network) }; }
                    }
                }
            }
        }
    }
}
