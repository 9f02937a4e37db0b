//! Architectures by names such as `resnet18` and `wide-resnet-34-10`.

use mrpf_api::registry::{Kind, Registration, registrations};
use mrpf_api::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use super::PluginChoice;

/// The architecture that is meant by a plugin's name, or by one with numbers behind it.
///
/// The numbers are the plugin's whole-number settings in the order in which it lists them: `wide-resnet-34-10` is `wide-resnet` with
/// `depth` 34 and `widen` 10. Settings that are given beside the name count more.
///
/// # Errors
/// [`ErrorKind::UnknownName`] with the nearest known names, [`ErrorKind::Settings`] for more numbers than there are such settings.
pub fn architecture(choice: &PluginChoice) -> Result<PluginChoice> {
    let known = registrations().into_iter().filter(|plugin| plugin.kind() == Kind::Architecture);
    let named = known.filter_map(|plugin| Some((plugin, numbers(choice.name.strip_prefix(plugin.name)?)?)));
    // A name may itself end in a number, and then the longest one is meant.
    let Some((plugin, numbers)) = named.max_by_key(|(plugin, _)| plugin.name.len()) else {
        let architectures = registrations().into_iter().filter(|plugin| plugin.kind() == Kind::Architecture);
        let without_numbers = choice.name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        return Err(Error::unknown_name("architecture", without_numbers, architectures.map(|plugin| plugin.name)));
    };
    let mut settings = Map::new();
    let keys = whole_numbers(plugin)?;
    if numbers.len() > keys.len() {
        let message = format!("`{}`: found {} numbers behind `{}`", choice.name, numbers.len(), plugin.name);
        let expected = if keys.is_empty() { "none".into() } else { keys.join(", ") };
        return Err(Error::new(ErrorKind::Settings, format!("{message}, expected {expected}")));
    }
    settings.extend(keys.into_iter().zip(numbers.into_iter().map(Value::from)));
    settings.extend(choice.settings.clone());
    Ok(PluginChoice { name: plugin.name.to_owned(), settings })
}

/// The numbers in `18`, `-34-10` or nothing; none if it is something else.
fn numbers(text: &str) -> Option<Vec<usize>> {
    match text.strip_prefix('-').unwrap_or(text) {
        "" => text.is_empty().then(Vec::new),
        numbers => numbers.split('-').map(|number| number.parse().ok()).collect(),
    }
}

fn whole_numbers(plugin: &Registration) -> Result<Vec<String>> {
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
    fn numbers_behind_a_name_are_its_first_settings() -> Result<()> {
        for (text, name, settings) in [
            ("resnet", "resnet", r#"{"extra":true}"#),
            ("resnet18", "resnet", r#"{"depth":18,"extra":true}"#),
            ("resnet-18", "resnet", r#"{"depth":18,"extra":true}"#),
            ("preact-resnet-18", "preact-resnet", r#"{"depth":18,"extra":true}"#),
            ("wide-resnet-34-10", "wide-resnet", r#"{"depth":34,"widen":10,"extra":true}"#),
            ("densenet-100-12", "densenet", r#"{"depth":100,"growth":12,"extra":true}"#),
            ("mobilenet-v2", "mobilenet-v2", r#"{"extra":true}"#),
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
            ("resnext50", "unknown architecture `resnext`"),
            ("resnet-", "unknown architecture `resnet`"),
            ("resnet-x", "unknown architecture `resnet-x`"),
            ("resnet-18-4", "`resnet-18-4`: found 2 numbers behind `resnet`, expected depth"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
