//! Which tensor of a file is which of a network.

use mrpf_api::candle_core::Tensor;
use mrpf_api::network::{Declaration, LayerKind, TensorSpec, parameter_specs, statistic_specs};
use mrpf_api::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};

use super::differences::Differences;
use super::names::{Convention, LayerNames, PadShortcut};
use super::state_dict::StateDict;

/// By our names: the names in the file, with the rows where it is a part of a tensor, and the tensors.
pub(super) type Tensors = BTreeMap<String, (String, Tensor)>;

/// A file as one convention reads it.
pub(super) struct Matched {
    pub convention: Convention,
    pub wrapping: String,
    pub tensors: Tensors,
    pub differences: Differences,
    pub ignored: usize,
    /// Tensors that are equal to others which were taken.
    pub copies: usize,
    pub pad_shortcut: PadShortcut,
}

/// The reading with the fewest differences; of equal ones that with the shortest wrapping, by the first convention.
///
/// `ours` says that the file was made of a network of ours.
pub(super) fn best(file: &StateDict, declaration: &Declaration, known: &[Convention], ours: bool) -> Result<Matched> {
    let needed: Vec<TensorSpec> = specs(declaration);
    let pads = declaration.layers.iter().any(|layer| matches!(layer.kind, LayerKind::PadShortcut { .. }));
    let mut best: Option<Matched> = None;
    for wrapping in file.wrappings() {
        let copies = file.copies(&wrapping)?;
        for convention in known {
            let names = convention.of(&declaration.architecture);
            let found = read(file, &needed, &wrapping, &copies, convention, &names)?;
            // Names do not tell where zero channels lie: a convention that says it is meant, except in files of our own.
            let centred = pads && !ours && names.pad_shortcut != PadShortcut::After;
            let rank = |matched: &Matched| matched.differences.count();
            let better = best.as_ref().is_none_or(|best| {
                rank(&found) < rank(best) || (rank(&found) == rank(best) && centred && best.wrapping == wrapping)
            });
            if better {
                best = Some(found);
            }
        }
    }
    best.ok_or_else(|| Error::new(ErrorKind::Settings, "no convention of names is known"))
}

fn read(
    file: &StateDict,
    order: &[TensorSpec],
    wrapping: &str,
    copies: &BTreeSet<String>,
    convention: &Convention,
    names: &LayerNames,
) -> Result<Matched> {
    let needed: BTreeMap<&str, &str> = order.iter().map(|spec| (spec.name.as_str(), spec.role)).collect();
    let mut matched = Matched {
        convention: convention.clone(),
        wrapping: wrapping.to_owned(),
        tensors: BTreeMap::new(),
        differences: Differences::default(),
        ignored: 0,
        copies: 0,
        pad_shortcut: names.pad_shortcut,
    };
    let called = |in_file: &str| names.ours(in_file.strip_prefix(wrapping).unwrap_or(in_file));
    // What is told of these is that they cannot be taken, not that they are missing.
    let mut held: BTreeSet<String> = BTreeSet::new();
    for (in_file, why) in told_apart(file) {
        match called(in_file) {
            ours if ours.is_empty() => matched.ignored += 1,
            ours => {
                held.extend(ours);
                matched.differences.unusable.push((in_file.clone(), why.to_owned()));
            }
        }
    }
    for (in_file, tensor) in &file.tensors {
        if copies.contains(in_file) {
            matched.copies += 1;
            continue;
        }
        let ours = called(in_file);
        if ours.is_empty() {
            matched.ignored += 1;
            continue;
        }
        let Some(parts) = rows(in_file, tensor, ours.len())? else {
            matched.differences.whole.push((in_file.clone(), tensor.dims().to_vec(), ours));
            continue;
        };
        for (ours, (in_file, tensor)) in ours.into_iter().zip(parts) {
            let spec = needed.get(ours.as_str()).filter(|_| !matched.tensors.contains_key(&ours));
            match spec {
                Some(&VARIANCE) if least(&tensor)? < 0.0 => {
                    let why = format!("holds the variance {}, expected 0 or more", least(&tensor)?);
                    matched.differences.unusable.push((in_file, why));
                    held.insert(ours);
                }
                Some(_) => drop(matched.tensors.insert(ours, (in_file, tensor))),
                None => matched.differences.left_over.push((in_file, ours)),
            }
        }
    }
    // What a tensor holds that cannot be split is told there.
    held.extend(matched.differences.whole.iter().flat_map(|(_, _, parts)| parts).cloned());
    let missing = order.iter().map(|spec| &spec.name);
    let missing = missing.filter(|name| !matched.tensors.contains_key(*name) && !held.contains(*name));
    matched.differences.missing = missing.cloned().collect();
    Ok(matched)
}

/// The role of running variances.
const VARIANCE: &str = "running_var";

const SCORES: &str = "scores of a mask, without which it is another network";

/// The tensors that cannot be taken for weights, and why.
fn told_apart(file: &StateDict) -> impl Iterator<Item = (&String, &str)> {
    let unusable = file.unusable.iter().map(|(name, why)| (name, why.as_str()));
    unusable.chain(file.scores.keys().map(|name| (name, SCORES)))
}

fn least(tensor: &Tensor) -> Result<f32> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().fold(f32::INFINITY, f32::min))
}

/// The rows of `tensor` in so many equal parts, each called as Python slices them; none if that cannot be.
fn rows(name: &str, tensor: &Tensor, parts: usize) -> Result<Option<Vec<(String, Tensor)>>> {
    if parts == 1 {
        return Ok(Some(vec![(name.to_owned(), tensor.clone())]));
    }
    let Some(rows) = tensor.dims().first().filter(|rows| **rows > 0 && rows.is_multiple_of(parts)) else {
        return Ok(None);
    };
    let each = rows / parts;
    let part =
        |at: usize| Ok((format!("{name}[{}:{}]", at * each, (at + 1) * each), tensor.narrow(0, at * each, each)?));
    (0..parts).map(part).collect::<Result<_>>().map(Some)
}

/// What is of another shape than a network of that declaration needs.
pub(super) fn shapes(declaration: &Declaration, matched: &Matched) -> Differences {
    let mut differences = Differences::default();
    for spec in specs(declaration) {
        match matched.tensors.get(&spec.name) {
            Some((_, tensor)) if tensor.dims() == spec.shape => {}
            Some((name, tensor)) => differences.shapes.push((name.clone(), tensor.dims().to_vec(), spec.shape)),
            None => differences.missing.push(spec.name),
        }
    }
    differences
}

fn specs(declaration: &Declaration) -> Vec<TensorSpec> {
    parameter_specs(declaration).into_iter().chain(statistic_specs(declaration)).collect()
}
