//! A plugin with a setting of every type, and the plugins of the program.

use super::*;
use crate::experiment::{Experiment, Sources};
use mrpf_api::fraction::Fraction;
use mrpf_api::schedule::PruningSchedule;
use mrpf_api::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

struct Listed;

impl PruningSchedule for Listed {
    fn ratio(&self, progress: f64, final_ratio: f64) -> f64 {
        progress * final_ratio
    }
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "mrpf_api::schemars")]
#[serde(rename_all = "kebab-case")]
enum Explained {
    /// The way
    /// up.
    #[default]
    Upwards,
    /// The way down.
    Downwards,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "mrpf_api::schemars")]
#[serde(rename_all = "kebab-case")]
enum Bare {
    #[default]
    Left,
    Right,
}

/// Settings of the listed plugin.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "mrpf_api::schemars")]
struct ListedSettings {
    /// A length, in pixels.
    length: f64,
    /// How many.
    count: usize,
    /// A radius.
    radius: Option<Fraction>,
    /// Whether it is so.
    so: bool,
    /// Where to.
    to: Explained,
    /// Which hand.
    hand: Option<Bare>,
    /// Some words.
    words: Vec<String>,
    /// A word.
    word: String,
}

mrpf_api::register_plugin! {
    kind: Schedule,
    name: "listed",
    summary: "a plugin of the tests",
    source: "own",
    settings: ListedSettings,
    make: |_settings| Ok(Box::new(Listed)),
}

// An allocation has this name too.
mrpf_api::register_plugin! {
    kind: Schedule,
    name: "uniform",
    summary: "a plugin of the tests",
    source: "own",
    settings: ListedSettings,
    make: |_settings| Ok(Box::new(Listed)),
}

#[test]
fn every_type_of_setting_is_shown() -> Result<()> {
    insta::assert_snapshot!(show("listed", false)?);
    Ok(())
}

#[test]
fn a_name_of_two_kinds_is_shown_twice() -> Result<()> {
    let text = show("uniform", false)?;
    let headings: Vec<_> = text.lines().filter(|line| line.contains("`uniform`: ")).collect();
    assert!(
        headings.len() == 2 && headings[0].starts_with("allocation") && headings[1].starts_with("pruning schedule")
    );
    let shown: Value = serde_json::from_str(&show("uniform", true)?).map_err(|error| wrong(&error))?;
    assert_eq!(shown.as_array().map(Vec::len), Some(2));
    assert_eq!(shown[1]["schema"]["properties"]["count"]["type"], "integer");
    Ok(())
}

#[test]
fn a_list_holds_the_plugins_of_its_kind_only() -> Result<()> {
    let text = list(Some("schedule"), false, &[])?;
    for word in ["pruning schedule", "pruning schedules", "schedules"] {
        assert_eq!(list(Some(word), false, &[])?, text);
    }
    assert!(text.contains("listed") && text.contains("one-shot") && !text.contains("trades"), "{text}");
    let all: Value = serde_json::from_str(&list(None, true, &[])?).map_err(|error| wrong(&error))?;
    assert_eq!(all.as_array().map(Vec::len), Some(registrations().len()));
    let error = show("liste", false).expect_err("no such plugin");
    assert!(error.hint_text().is_some_and(|hint| hint.starts_with("did you mean `listed`?")), "{error:?}");
    Ok(())
}

#[test]
fn every_example_that_is_shown_is_accepted() -> Result<()> {
    for plugin in registrations() {
        let set = example(plugin);
        let about = || format!("the example of {} `{}`: {set:?}", plugin.kind().name(), plugin.name);
        mrpf_api::Context::context(Experiment::load(&Sources { set: &set, ..Sources::default() }), about)?;
    }
    Ok(())
}

fn wrong(error: &serde_json::Error) -> Error {
    Error::new(mrpf_api::ErrorKind::Io, error.to_string())
}
