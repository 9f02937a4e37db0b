//! The texts of `mrpf plugins`, made from what plugins say of themselves.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use mrpf_api::registry::{Kind, Registration, registrations};
use mrpf_api::{Error, Result};
use serde_json::{Value, json};
use std::fmt::Write;

/// All plugins, or those of one kind, one line each.
///
/// # Errors
/// [`mrpf_api::ErrorKind::UnknownName`] for a kind that there is not.
pub fn list(kind: Option<&str>, as_json: bool) -> Result<String> {
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
        let _ = write!(text, "\n  {key} = {default}");
        let help = property["description"].as_str().map(str::to_owned);
        for line in help.iter().flat_map(|help| help.lines()) {
            let _ = write!(text, "\n      {line}");
        }
        for (value, meaning) in choices(property, &schema) {
            let _ = write!(text, "\n      - {value}: {meaning}");
        }
    }
    let where_to = example_key(plugin.kind());
    let _ = write!(text, "\nexample: --set {where_to}={}", plugin.name);
    if let Some((key, value)) =
        defaults.as_object().and_then(|all| all.iter().find(|(_, value)| !value.is_null() && !value.is_object()))
    {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = write!(text, " --set {where_to}.{key}={value}");
    }
    text
}

/// The values that a setting may have, where they are a fixed few, with what each means.
fn choices(property: &Value, schema: &Value) -> Vec<(String, String)> {
    let mut candidates = vec![property];
    candidates.extend(property["anyOf"].as_array().into_iter().flatten());
    candidates.extend(property["allOf"].as_array().into_iter().flatten());
    let resolved = candidates.into_iter().map(|candidate| match candidate["$ref"].as_str() {
        Some(path) => path.rsplit('/').next().map_or(&Value::Null, |name| &schema["$defs"][name]),
        None => candidate,
    });
    let variants = resolved.flat_map(|value| value["oneOf"].as_array().into_iter().flatten());
    let named = variants.filter_map(|variant| {
        let value = variant["const"].as_str()?;
        Some((value.to_owned(), variant["description"].as_str().unwrap_or_default().replace('\n', " ")))
    });
    named.collect()
}

/// A setting of the experiment that takes a plugin of this kind.
fn example_key(kind: Kind) -> &'static str {
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

fn parse_kind(text: &str) -> Result<Kind> {
    let found = Kind::ALL
        .iter()
        .find(|kind| [kind.name(), kind.plural()].contains(&text) || kind.name().split(' ').next() == Some(text));
    found.copied().ok_or_else(|| Error::unknown_name("kind of plugin", text, Kind::ALL.iter().map(|kind| kind.name())))
}

fn origin(plugin: &Registration) -> String {
    format!("{} {}", plugin.package, plugin.version)
}

fn brief(plugin: &Registration) -> Value {
    json!({
        "kind": plugin.kind().name(),
        "name": plugin.name,
        "summary": plugin.summary,
        "source": plugin.source,
        "package": plugin.package,
        "version": plugin.version,
    })
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
