//! `mrpf plugins check`: does a plugin keep the laws of its kind?

use mrpf_api::conformance::{Finding, Surroundings, Verdict, examine};
use mrpf_api::registry::{Registration, registrations};
use mrpf_api::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::Path;

use crate::commands::Console;
use crate::experiment::assignment;
use crate::plugin_library;
use crate::plugin_listing::origin;

/// Examines every plugin of a library, or the plugins of a name, and prints what holds.
///
/// # Errors
/// [`ErrorKind::Plugin`] if a law is broken.
pub fn check(
    plugin: &str,
    set: &[String],
    data_dir: Option<&Path>,
    as_json: bool,
    console: &Console<'_>,
) -> Result<()> {
    let plugins = chosen(plugin)?;
    let mut settings = Map::new();
    for text in set {
        if let Value::Object(given) = assignment(text)? {
            settings.extend(given);
        }
    }
    let surroundings = Surroundings { settings, data_dir: data_dir.map(Path::to_owned) };
    let examined: Vec<(&Registration, Vec<Finding>)> =
        plugins.into_iter().map(|plugin| (plugin, examine(plugin, &surroundings))).collect();
    (console.print)(&if as_json { as_json_text(&examined) } else { as_text(&examined) });

    let is_broken = |finding: &&Finding| matches!(finding.verdict, Verdict::Broken(_));
    match examined.iter().flat_map(|(_, findings)| findings).filter(is_broken).count() {
        0 => Ok(()),
        broken => {
            let laws = if broken == 1 { "law is" } else { "laws are" };
            Err(Error::new(ErrorKind::Plugin, format!("{broken} {laws} broken")))
        }
    }
}

/// The plugins of a name, or of a library where the text is no plugin's name but looks like a file.
fn chosen(text: &str) -> Result<Vec<&'static Registration>> {
    let all = registrations();
    let named: Vec<_> = all.iter().copied().filter(|plugin| plugin.name == text).collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let path = Path::new(text);
    if !path.exists() && !text.contains(std::path::MAIN_SEPARATOR) && path.extension().is_none() {
        return Err(Error::unknown_name("plugin", text, all.iter().map(|plugin| plugin.name)));
    }
    let library = plugin_library::open_named(path)?;
    let mut plugins = registrations();
    plugins.retain(|plugin| plugin.origin.library() == Some(library));
    Ok(plugins)
}

fn as_text(examined: &[(&Registration, Vec<Finding>)]) -> String {
    let mut text = String::new();
    for (plugin, findings) in examined {
        let _ = writeln!(text, "{} `{}`, {}", plugin.kind().name(), plugin.name, origin(plugin));
        for finding in findings {
            let _ = match &finding.verdict {
                Verdict::Holds => writeln!(text, "  holds         {}", finding.law),
                Verdict::Broken(how) => writeln!(text, "  BROKEN        {}\n                {how}", finding.law),
                Verdict::NotExamined(why) => writeln!(text, "  not examined  {}\n                {why}", finding.law),
            };
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

fn as_json_text(examined: &[(&Registration, Vec<Finding>)]) -> String {
    let finding = |finding: &Finding| {
        let (verdict, reason) = match &finding.verdict {
            Verdict::Holds => ("holds", None),
            Verdict::Broken(how) => ("broken", Some(how)),
            Verdict::NotExamined(why) => ("not-examined", Some(why)),
        };
        json!({"law": finding.law, "verdict": verdict, "reason": reason})
    };
    let plugins: Vec<Value> = examined
        .iter()
        .map(|(plugin, findings)| {
            let findings: Vec<Value> = findings.iter().map(finding).collect();
            json!({"kind": plugin.kind().name(), "name": plugin.name, "findings": findings})
        })
        .collect();
    serde_json::to_string_pretty(&plugins).unwrap_or_default()
}
