//! Architectures by names such as `resnet18`, `wide-resnet-34-10` and `mobilevit-xs`.

use mrpf_api::registry::{Kind, Registration, registrations};
use mrpf_api::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use super::PluginChoice;
use crate::plugin_listing::choices;

/// The architecture that is meant by a plugin's name, or by one with numbers and words behind it.
///
/// The numbers are the plugin's whole-number settings in the order in which it lists them, and words are settings that are one of a few:
/// `wide-resnet-34-10` is `wide-resnet` with `depth` 34 and `widen` 10, `mobilevit-xs-imagenet` is `mobilevit` with `size` xs and `form`
/// imagenet. Settings that are given beside the name count more.
///
/// # Errors
/// [`ErrorKind::UnknownName`] with the nearest known names, [`ErrorKind::Settings`] for more numbers than there are such settings.
pub fn architecture(choice: &PluginChoice) -> Result<PluginChoice> {
    let mut found: Option<(&Registration, Vec<Word>)> = None;
    for plugin in registrations().into_iter().filter(|plugin| plugin.kind() == Kind::Architecture) {
        // A name may itself end in a number, and then the longest one is meant.
        let is_longer = found.as_ref().is_none_or(|(other, _)| plugin.name.len() > other.name.len());
        if let (true, Some(rest)) = (is_longer, choice.name.strip_prefix(plugin.name))
            && let Some(words) = words(plugin, rest)?
        {
            found = Some((plugin, words));
        }
    }
    let Some((plugin, words)) = found else {
        let architectures = registrations().into_iter().filter(|plugin| plugin.kind() == Kind::Architecture);
        let without_numbers = choice.name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        return Err(Error::unknown_name("architecture", without_numbers, architectures.map(|plugin| plugin.name)));
    };
    let keys = whole_numbers(plugin)?;
    let count = words.iter().filter(|word| matches!(word, Word::Number(_))).count();
    if count > keys.len() {
        let message = format!("`{}`: found {count} numbers behind `{}`", choice.name, plugin.name);
        let expected = if keys.is_empty() { "none".into() } else { keys.join(", ") };
        return Err(Error::new(ErrorKind::Settings, format!("{message}, expected {expected}")));
    }
    let (mut keys, mut settings) = (keys.into_iter(), Map::new());
    for word in words {
        match word {
            Word::Number(number) => settings.extend(keys.next().map(|key| (key, number.into()))),
            Word::Choice { key, value } => drop(settings.insert(key, value.into())),
        }
    }
    settings.extend(choice.settings.clone());
    Ok(PluginChoice { name: plugin.name.to_owned(), settings })
}

/// No depth or width of a network is larger.
const LARGEST: usize = 1_000_000;

/// What stands behind a name.
enum Word {
    Number(usize),
    /// One of the few values that a setting may have.
    Choice {
        key: String,
        value: String,
    },
}

/// The words in `18`, `-34-10`, `-50-imagenet` or nothing; none if it is something else.
fn words(plugin: &'static Registration, text: &str) -> Result<Option<Vec<Word>>> {
    if text.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let Some(parts) = text.strip_prefix('-').or_else(|| text.starts_with(|c: char| c.is_ascii_digit()).then_some(text))
    else {
        return Ok(None);
    };
    let (mut parts, mut words): (Vec<&str>, Vec<Word>) = (parts.split('-').collect(), Vec::new());
    let schema = plugin.ask(|plugin| Ok((plugin.schema)()))?;
    while let Some(first) = parts.first() {
        if !first.is_empty() && first.bytes().all(|digit| digit.is_ascii_digit()) {
            let number = first.parse().ok().filter(|number| *number <= LARGEST);
            words.push(Word::Number(number.ok_or_else(|| {
                let message = format!("the number {first} behind `{}`, expected at most {LARGEST}", plugin.name);
                Error::new(ErrorKind::Settings, message)
                    .hint(format!("`mrpf plugins show {}` tells what its numbers are", plugin.name))
            })?));
            parts.remove(0);
            continue;
        }
        // A value may itself have a hyphen, and then the longest one is meant.
        let longest = (1..=parts.len())
            .rev()
            .find_map(|length| Some((length, chosen(&schema, &parts[..length].join("-"), &words)?)));
        let Some((length, word)) = longest else { return Ok(None) };
        words.push(word);
        parts.drain(..length);
    }
    Ok(Some(words))
}

/// The first setting that may have this value and has none yet.
fn chosen(schema: &Value, value: &str, before: &[Word]) -> Option<Word> {
    let given = |key: &str| before.iter().any(|word| matches!(word, Word::Choice { key: other, .. } if other == key));
    let mut settings = schema["properties"].as_object().into_iter().flatten().filter(|(key, _)| !given(key));
    let (key, _) =
        settings.find(|(_, property)| choices(property, schema).iter().any(|(choice, _)| choice == value))?;
    Some(Word::Choice { key: key.clone(), value: value.to_owned() })
}

fn whole_numbers(plugin: &'static Registration) -> Result<Vec<String>> {
    let defaults = plugin.ask(|plugin| Ok((plugin.defaults)()))?;
    let settings = defaults.as_object().into_iter().flatten();
    Ok(settings.filter(|(_, value)| value.is_u64()).map(|(key, _)| key.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Result<(String, String)> {
        let choice = architecture(&PluginChoice::named(name).with("extra", true))?;
        Ok((choice.name, Value::Object(choice.settings).to_string()))
    }

    #[test]
    fn numbers_and_words_behind_a_name_are_its_settings() -> Result<()> {
        for (text, name, settings) in [
            ("resnet", "resnet", r#"{"extra":true}"#),
            ("resnet18", "resnet", r#"{"depth":18,"extra":true}"#),
            ("resnet-18", "resnet", r#"{"depth":18,"extra":true}"#),
            ("preact-resnet-18", "preact-resnet", r#"{"depth":18,"extra":true}"#),
            ("wide-resnet-34-10", "wide-resnet", r#"{"depth":34,"widen":10,"extra":true}"#),
            ("densenet-100-12", "densenet", r#"{"depth":100,"growth":12,"extra":true}"#),
            ("mobilenet-v2", "mobilenet-v2", r#"{"extra":true}"#),
            ("mobilevit-xxs", "mobilevit", r#"{"size":"xxs","extra":true}"#),
            (
                "mobilevit-s-tiny-imagenet-head",
                "mobilevit",
                r#"{"size":"s","form":"tiny-imagenet","attention_unit":"head","extra":true}"#,
            ),
            ("resnet-50-imagenet", "resnet", r#"{"depth":50,"form":"imagenet","extra":true}"#),
            ("vgg16-three-layer", "vgg", r#"{"depth":16,"head":"three-layer","extra":true}"#),
        ] {
            assert_eq!(read(text)?, (name.to_owned(), settings.to_owned()), "{text}");
        }
        Ok(())
    }

    #[test]
    fn settings_beside_the_name_count_more() -> Result<()> {
        let choice = architecture(&PluginChoice::named("resnet18").with("depth", 34))?;
        assert_eq!(choice, PluginChoice::named("resnet").with("depth", 34));
        Ok(())
    }

    #[test]
    fn what_is_no_architecture_is_answered() {
        for (text, told) in [
            ("resnet99999999999999999999", "the number 99999999999999999999 behind `resnet`, expected at most 1000000"),
            ("wide-resnet-28-10000000", "the number 10000000 behind `wide-resnet`, expected at most 1000000"),
            ("resnext50", "unknown architecture `resnext`"),
            ("resnet-", "unknown architecture `resnet`"),
            ("resnet-x", "unknown architecture `resnet-x`"),
            ("mobilevitxs", "unknown architecture `mobilevitxs`"),
            ("mobilevit-xs-s", "unknown architecture `mobilevit-xs-s`"),
            ("mobilevit-xs-4", "`mobilevit-xs-4`: found 1 numbers behind `mobilevit`, expected none"),
            ("resnet-18-4", "`resnet-18-4`: found 2 numbers behind `resnet`, expected depth"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
