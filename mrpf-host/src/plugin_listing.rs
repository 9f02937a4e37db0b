//! The texts of `mrpf plugins`, made from what plugins say of themselves.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use mrpf_api::registry::{Kind, Registration, registrations};
use mrpf_api::{Error, Result};
use serde_json::{Value, json};
use std::fmt::Write;

/// All plugins, or those of one kind, one line each; then the libraries that were refused, and why.
///
/// # Errors
/// [`mrpf_api::ErrorKind::UnknownName`] for a kind that there is not.
pub fn list(kind: Option<&str>, as_json: bool, refused: &[Error]) -> Result<String> {
    let wanted = kind.map(parse_kind).transpose()?;
    let kinds = Kind::ALL.iter().copied().filter(|kind| wanted.is_none_or(|wanted| wanted == *kind));
    if as_json {
        let plugins: Vec<Value> = kinds.flat_map(of_kind).map(brief).collect();
        return Ok(pretty(&plugins));
    }
    let mut text = String::new();
    for kind in kinds {
        let mut table = Table::new();
        table.load_style(NOTHING);
        for plugin in of_kind(kind) {
            table.add_row([format!("  {}", plugin.name), plugin.summary.to_owned(), origin(plugin)]);
        }
        let _ = writeln!(text, "{}", kind.plural());
        for line in table.lines() {
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push('\n');
    }
    if !refused.is_empty() {
        text.push_str("not loaded\n");
        for error in refused {
            let _ = writeln!(text, "  {error}");
            if let Some(hint) = error.hint_text() {
                let _ = writeln!(text, "    hint: {hint}");
            }
        }
        text.push('\n');
    }
    text.push_str("`mrpf plugins show NAME` prints the settings of a plugin.");
    Ok(text)
}

/// Everything about the plugins of a name; the same name may stand for plugins of several kinds.
///
/// # Errors
/// [`mrpf_api::ErrorKind::UnknownName`] with the nearest known names.
pub fn show(name: &str, as_json: bool) -> Result<String> {
    let all = registrations();
    let named: Vec<&Registration> = all.iter().copied().filter(|plugin| plugin.name == name).collect();
    if named.is_empty() {
        return Err(Error::unknown_name("plugin", name, all.iter().map(|plugin| plugin.name)));
    }
    if as_json {
        let full = |plugin: &&Registration| {
            let mut value = brief(plugin);
            value["defaults"] = (plugin.defaults)();
            value["schema"] = (plugin.schema)();
            value
        };
        return Ok(pretty(&named.iter().map(full).collect::<Vec<_>>()));
    }
    Ok(named.into_iter().map(describe).collect::<Vec<_>>().join("\n\n"))
}

fn describe(plugin: &Registration) -> String {
    let mut text = format!("{} `{}`: {}\n", plugin.kind().name(), plugin.name, plugin.summary);
    let _ = writeln!(text, "source: {}\nfrom:   {}", plugin.source, origin(plugin));
    let (schema, defaults) = ((plugin.schema)(), (plugin.defaults)());
    let settings: Vec<_> = schema["properties"].as_object().into_iter().flatten().collect();
    if settings.is_empty() {
        text.push_str("no settings");
        return text;
    }
    text.push_str("settings:");
    for (key, property) in settings {
        let default = match &defaults[key] {
            Value::Null => "not set".into(),
            value => value.to_string(),
        };
        let _ = write!(text, "\n  {key} = {default}  ({})", type_name(property, &schema));
        let help = property["description"].as_str().map(str::to_owned);
        for line in help.iter().flat_map(|help| help.lines()) {
            let _ = write!(text, "\n      {line}");
        }
        for (value, meaning) in choices(property, &schema) {
            let meaning = if meaning.is_empty() { meaning } else { format!(": {meaning}") };
            let _ = write!(text, "\n      - {value}{meaning}");
        }
    }
    text.push_str("\nexample:");
    for assignment in example(plugin) {
        // A shell takes brackets and spaces apart unless they are quoted.
        let quote = if assignment.contains([' ', '[', '{']) { "'" } else { "" };
        let _ = write!(text, " --set {quote}{assignment}{quote}");
    }
    text
}

/// Assignments for `--set` that choose the plugin and give its first setting.
fn example(plugin: &Registration) -> Vec<String> {
    let (place, name) = (example_key(plugin.kind()), plugin.name);
    let defaults = (plugin.defaults)();
    let simple = |(_, value): &(&String, &Value)| !value.is_null() && !value.is_object();
    let first = defaults.as_object().and_then(|all| all.iter().find(simple));
    match (plugin.kind(), first) {
        // There may be several attacks, so the setting is a list and has no path to one attack's settings.
        (Kind::Attack, Some((key, value))) => vec![format!("{place}=[{{ name = \"{name}\", {key} = {value} }}]")],
        (_, Some((key, value))) => {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            vec![format!("{place}={name}"), format!("{place}.{key}={value}")]
        }
        (_, None) => vec![format!("{place}={name}")],
    }
}

/// The type of a setting in a word or two.
fn type_name(property: &Value, schema: &Value) -> String {
    if !choices(property, schema).is_empty() {
        return "choice".into();
    }
    let types = match &property["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        _ => Vec::new(),
    };
    match types.as_slice() {
        ["number", "string"] => "number or fraction".into(),
        ["integer"] => "whole number".into(),
        ["boolean"] => "true or false".into(),
        ["string"] => "text".into(),
        ["array"] => "list".into(),
        [] => "table".into(),
        others => others.join(" or "),
    }
}

/// The values that a setting may have, where they are a fixed few, with what each means.
pub(crate) fn choices(property: &Value, schema: &Value) -> Vec<(String, String)> {
    let mut candidates = vec![property];
    candidates.extend(property["anyOf"].as_array().into_iter().flatten());
    candidates.extend(property["allOf"].as_array().into_iter().flatten());
    let resolved = candidates.into_iter().map(|candidate| match candidate["$ref"].as_str() {
        Some(path) => path.rsplit('/').next().map_or(&Value::Null, |name| &schema["$defs"][name]),
        None => candidate,
    });
    let mut found = Vec::new();
    for value in resolved {
        // Values with a documentation comment stand by themselves, those without one in a list.
        for plain in value["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            found.push((plain.to_owned(), String::new()));
        }
        for variant in value["oneOf"].as_array().into_iter().flatten() {
            let meaning = variant["description"].as_str().unwrap_or_default().replace('\n', " ");
            found.extend(variant["const"].as_str().map(|value| (value.to_owned(), meaning)));
            let plain = variant["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            found.extend(plain.map(|value| (value.to_owned(), String::new())));
        }
    }
    found
}

/// A setting of the experiment that takes a plugin of this kind.
pub(crate) fn example_key(kind: Kind) -> &'static str {
    match kind {
        Kind::DataSet => "data.name",
        Kind::Architecture => "network.architecture",
        Kind::Trainer => "finetune.trainer",
        Kind::Sensitivity => "prune.sensitivity",
        Kind::Criterion => "prune.criterion",
        Kind::Allocation => "prune.allocation",
        Kind::Schedule => "prune.schedule",
        Kind::Attack => "evaluate.attacks",
    }
}

fn of_kind(kind: Kind) -> impl Iterator<Item = &'static Registration> {
    registrations().into_iter().filter(move |plugin| plugin.kind() == kind)
}

/// The kind of that name, of one word of it, or without the space: `sensitivity metric`, `metric`, `data set`, `dataset`.
pub(crate) fn parse_kind(text: &str) -> Result<Kind> {
    let names = |kind: &Kind| [kind.name(), kind.plural()];
    let called = |name: &str| {
        name == text || name.split(' ').any(|word| word == text) || name.replace(' ', "") == text.replace('-', "")
    };
    let found = Kind::ALL.iter().find(|kind| names(kind).into_iter().any(called));
    found.copied().ok_or_else(|| Error::unknown_name("kind of plugin", text, Kind::ALL.iter().map(|kind| kind.name())))
}

/// The crate with its version, and the library that it came with.
pub(crate) fn origin(plugin: &Registration) -> String {
    let place = match plugin.origin.library() {
        None => "built in".into(),
        Some(library) => library.path.display().to_string(),
    };
    format!("{} {} ({place})", plugin.package, plugin.version)
}

fn brief(plugin: &Registration) -> Value {
    json!({
        "kind": plugin.kind().name(),
        "name": plugin.name,
        "summary": plugin.summary,
        "source": plugin.source,
        "package": plugin.package,
        "version": plugin.version,
        "library": plugin.origin.library().map(|library| &library.path),
        "sha256": plugin.origin.library().map(|library| &library.sha256),
    })
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
