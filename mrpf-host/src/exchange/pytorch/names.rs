//! Names of modules, attributes and variables of Python, made of those of layers and files.

use std::collections::BTreeSet;

/// Words that no name may be: Python's own, and what a generated module uses itself.
const TAKEN: &[&str] = &[
    "False",
    "None",
    "True",
    "and",
    "as",
    "assert",
    "async",
    "await",
    "break",
    "class",
    "continue",
    "def",
    "del",
    "elif",
    "else",
    "except",
    "finally",
    "for",
    "from",
    "global",
    "if",
    "import",
    "in",
    "is",
    "lambda",
    "nonlocal",
    "not",
    "or",
    "pass",
    "raise",
    "return",
    "try",
    "while",
    "with",
    "yield",
    "self",
    "x",
    "nn",
    "F",
    "torch",
    "safetensors",
    "Path",
    "Normalize",
    "attention",
    "load",
    "load_file",
    "network",
];

/// Modules of Python's standard library (`sys.stdlib_module_names`) and packages that PyTorch imports, one a line.
const PYTHON_MODULES: &str = include_str!("python_modules.txt");

/// Attributes of PyTorch's modules and dictionaries of modules, which no submodule may hide.
const ATTRIBUTES: &[&str] = &[
    "add_module",
    "apply",
    "bfloat16",
    "buffers",
    "children",
    "clear",
    "compile",
    "cpu",
    "cuda",
    "double",
    "eval",
    "extra_repr",
    "float",
    "forward",
    "get_buffer",
    "get_parameter",
    "get_submodule",
    "half",
    "ipu",
    "items",
    "keys",
    "load_state_dict",
    "modules",
    "mtia",
    "named_buffers",
    "named_children",
    "named_modules",
    "named_parameters",
    "parameters",
    "pop",
    "register_buffer",
    "register_module",
    "register_parameter",
    "requires_grad_",
    "set_submodule",
    "share_memory",
    "state_dict",
    "to",
    "to_empty",
    "train",
    "training",
    "type",
    "update",
    "values",
    "xpu",
    "zero_grad",
    "dump_patches",
    "call_super_init",
    "T_destination",
];

/// Whether a submodule may have this name.
pub(super) fn may_name_a_submodule(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('_') && !ATTRIBUTES.contains(&name)
}

/// Whether Python reads it as one name.
pub(super) fn is_identifier(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !TAKEN.contains(&name)
}

/// A text in quotes as Python reads it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// The name of the Python module for a file of that stem: `mrs-l1-norm` becomes `mrs_l1_norm`.
pub fn module_name(stem: &str) -> String {
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = name.trim_matches('_').to_owned();
    // In the folder of a script it would be found in place of Python's own, by everything that the script imports.
    let hides = PYTHON_MODULES.lines().any(|module| module == name);
    match is_identifier(&name) && !hides {
        true => name,
        false => format!("network_{name}").trim_end_matches('_').to_owned(),
    }
}

/// The name of the class in that module: `MrsL1Norm`.
pub(super) fn class_name(module: &str) -> String {
    let parts = module.split('_').filter(|part| !part.is_empty());
    let name: String = parts.map(|part| part[..1].to_ascii_uppercase() + &part[1..]).collect();
    if is_identifier(&name) { name } else { format!("{name}Network") }
}

/// Names of variables, each given once.
#[derive(Debug, Default)]
pub(super) struct Variables(BTreeSet<String>);

impl Variables {
    /// A variable for what a layer gives.
    pub fn of(&mut self, layer: &str) -> String {
        let mut name: String = layer.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if !is_identifier(&name) {
            name = format!("layer_{name}");
        }
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !self.0.contains(name));
        let free = free.unwrap_or(name);
        self.0.insert(free.clone());
        free
    }
}
