//! The text of the Python module.

use mrpf_api::coupling::cost;
use mrpf_api::network::{Declaration, LayerKind, Shape, Wiring};
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::layer::{constructor, expression};
use super::names::{Variables, class_name, is_identifier, may_name_a_submodule, quoted};

/// What wraps a mean and a deviation; written where a network normalises.
const NORMALIZE: &str = include_str!("normalize.py.txt");
/// What attends; written where a network does.
const ATTENTION: &str = include_str!("attention.py.txt");

/// The layers that have tensors, by the parts of their names.
#[derive(Default)]
struct Tree {
    /// The call that makes the layer.
    layer: Option<String>,
    /// In the order in which they run.
    parts: Vec<(String, Tree)>,
}

/// The module for a network.
///
/// # Errors
/// [`ErrorKind::Declaration`] for a layer that cannot be written, saying which and why.
pub(super) fn text(declaration: &Declaration, name: &str) -> Result<String> {
    let wiring = declaration.wiring()?;
    let class = class_name(name);
    let mut tree = Tree::default();
    for layer in &declaration.layers {
        if let Some(call) = constructor(&layer.kind) {
            tree.insert(&layer.name, call).context(|| format!("layer {}", quoted(&layer.name)))?;
        }
    }
    let mut text = heading(declaration, name, &class)?;
    if declaration.layers.iter().any(|layer| matches!(layer.kind, LayerKind::Normalize { .. })) {
        text.push_str(NORMALIZE);
    }
    if declaration.layers.iter().any(|layer| matches!(layer.kind, LayerKind::Attention(_))) {
        text.push_str(ATTENTION);
    }
    let input = declaration.input;
    let _ = write!(
        text,
        "\n\nclass {class}(nn.Module):\n    \"\"\"Images [batch, {}, {}, {}] with values from 0 to 1 in, logits [batch, {}] out.\"\"\"\n\n    \
         def __init__(self):\n        super().__init__()\n",
        input.channels, input.height, input.width, declaration.classes
    );
    for (name, part) in &tree.parts {
        let made = part.text(2);
        let _ = match is_identifier(name) {
            true => writeln!(text, "        self.{name} = {made}"),
            false => writeln!(text, "        self.add_module({}, {made})", quoted(name)),
        };
    }
    text.push_str(&forward(declaration, &wiring)?);
    let _ = write!(text, include_str!("load.py.txt"), class = class, name = name);
    Ok(text)
}

fn heading(declaration: &Declaration, name: &str, class: &str) -> Result<String> {
    let cost = cost(declaration)?;
    let architecture: String =
        declaration.architecture.chars().filter(|c| c.is_ascii_alphanumeric() || "-_ .".contains(*c)).collect();
    Ok(format!(
        "\"\"\"A network of mrpf (architecture {architecture}): {} parameters, {} multiply-accumulates an image.\n\n\
         Needs torch, and safetensors to read the weights; `mrpf export` wrote it.\n\n    \
         import {name}\n    network = {name}.load()  # {name}.safetensors, beside this file\n    \
         logits = network(images)  # pixels from 0 to 1: {class} normalises them itself\n\"\"\"\n\
         from pathlib import Path\n\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n",
        cost.params, cost.macs
    ))
}

impl Tree {
    fn insert(&mut self, name: &str, call: String) -> Result<()> {
        let mut at = self;
        for part in name.split('.') {
            if !may_name_a_submodule(part) || at.layer.is_some() {
                let message = format!("PyTorch can have no submodule called {} there", quoted(part));
                return Err(Error::new(ErrorKind::Declaration, message));
            }
            let place = at.parts.iter().position(|(name, _)| name == part).unwrap_or(at.parts.len());
            if place == at.parts.len() {
                at.parts.push((part.to_owned(), Tree::default()));
            }
            at = &mut at.parts[place].1;
        }
        if !at.parts.is_empty() {
            return Err(Error::new(ErrorKind::Declaration, "the name of a layer begins the names of others"));
        }
        at.layer = Some(call);
        Ok(())
    }

    fn text(&self, depth: usize) -> String {
        if let Some(call) = &self.layer {
            return call.clone();
        }
        let indent = "    ".repeat(depth + 1);
        let parts =
            self.parts.iter().map(|(name, part)| format!("{indent}{}: {},\n", quoted(name), part.text(depth + 1)));
        format!("nn.ModuleDict({{\n{}{}}})", parts.collect::<String>(), "    ".repeat(depth))
    }
}

/// One line for each layer, with the shape of what it gives.
fn forward(declaration: &Declaration, wiring: &Wiring) -> Result<String> {
    let mut text = String::from("\n    def forward(self, x):\n");
    let (mut variables, mut held): (Variables, BTreeMap<usize, String>) = Default::default();
    // The input and what only the next layer reads are called `x`; what is read later has the name of its layer.
    let read_late = |at: Option<usize>| {
        let next = at.map_or(0, |at| at + 1);
        wiring.inputs.iter().enumerate().any(|(reader, inputs)| reader != next && inputs.contains(&at))
    };
    let mut block = "";
    let images = if read_late(None) { "images" } else { "x" };
    if images != "x" {
        text.push_str("        images = x\n");
    }
    for (at, layer) in declaration.layers.iter().enumerate() {
        let within = layer.name.rsplit_once('.').map_or("", |(block, _)| block);
        let new_block = within.split('.').take(2).ne(block.split('.').take(2));
        if new_block && !within.is_empty() {
            let title: Vec<&str> = within.split('.').take(2).collect();
            let _ = writeln!(text, "        # {}", quoted(&title.join(".")).trim_matches('"'));
        }
        block = within;
        let name = |input: &Option<usize>| match input {
            None => images.to_owned(),
            Some(input) => held.get(input).cloned().unwrap_or_else(|| "x".to_owned()),
        };
        let inputs: Vec<String> = wiring.inputs[at].iter().map(name).collect();
        let shape = match wiring.inputs[at].first() {
            Some(Some(input)) => wiring.shapes[*input],
            _ => Shape::Map(declaration.input),
        };
        let value = expression(&layer.kind, &access(&layer.name), &inputs, &shape)
            .context(|| format!("layer {}", quoted(&layer.name)))?;
        let variable = match read_late(Some(at)) {
            true => variables.of(&layer.name),
            false => "x".to_owned(),
        };
        let _ = writeln!(text, "        {variable} = {value}  # {}", wiring.shapes[at]);
        if variable != "x" {
            held.insert(at, variable);
        }
    }
    let last = declaration.layers.len().saturating_sub(1);
    let _ = writeln!(text, "        return {}", held.get(&last).map_or("x", String::as_str));
    Ok(text)
}

/// How a layer's module is reached: `self.layer1["0"]["conv1"]`.
fn access(name: &str) -> String {
    let mut parts = name.split('.');
    let first = parts.next().unwrap_or_default();
    let first = match is_identifier(first) {
        true => format!("self.{first}"),
        false => format!("self.get_submodule({})", quoted(first)),
    };
    parts.fold(first, |path, part| format!("{path}[{}]", quoted(part)))
}
