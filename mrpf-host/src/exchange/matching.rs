//! Which tensor of a file is which of a network.

use mrpf_api::candle_core::Tensor;
use mrpf_api::network::{Declaration, LayerKind, TensorSpec, parameter_specs, statistic_specs};
use mrpf_api::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

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
        for convention in known {
            let names = convention.of(&declaration.architecture);
            let found = read(file, &needed, &wrapping, convention, &names)?;
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
    needed: &[TensorSpec],
    wrapping: &str,
    convention: &Convention,
    names: &LayerNames,
) -> Result<Matched> {
    let mut matched = Matched {
        convention: convention.clone(),
        wrapping: wrapping.to_owned(),
        tensors: BTreeMap::new(),
        differences: Differences::default(),
        ignored: 0,
        pad_shortcut: names.pad_shortcut,
    };
    for (in_file, tensor) in &file.tensors {
        let bare = in_file.strip_prefix(wrapping).unwrap_or(in_file);
        let (layer, role) = bare.rsplit_once('.').unwrap_or((bare, ""));
        let layers = names.ours(layer);
        if layers.is_empty() {
            matched.ignored += 1;
            continue;
        }
        let ours: Vec<String> = layers.iter().map(|layer| format!("{layer}.{role}")).collect();
        let Some(parts) = rows(in_file, tensor, ours.len())? else {
            matched.differences.whole.push((in_file.clone(), tensor.dims().to_vec(), ours));
            continue;
        };
        for (ours, (in_file, tensor)) in ours.into_iter().zip(parts) {
            let wanted = needed.iter().any(|spec| spec.name == ours) && !matched.tensors.contains_key(&ours);
            match wanted {
                true => drop(matched.tensors.insert(ours, (in_file, tensor))),
                false => matched.differences.left_over.push((in_file, ours)),
            }
        }
    }
    // What a tensor holds that cannot be split is told there.
    let held: Vec<&String> = matched.differences.whole.iter().flat_map(|(_, _, parts)| parts).collect();
    let missing = needed.iter().map(|spec| &spec.name);
    let missing = missing.filter(|name| !matched.tensors.contains_key(*name) && !held.contains(name));
    matched.differences.missing = missing.cloned().collect();
    Ok(matched)
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
