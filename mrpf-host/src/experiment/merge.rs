//! Lays settings over others: a file over the defaults, `--set` over the file.

use mrpf_api::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

/// Keys whose value is a [`super::PluginChoice`].
const CHOICES: &[&str] = &[
    "data.name",
    "network.architecture",
    "pretrain.trainer",
    "finetune.trainer",
    "prune.sensitivity",
    "prune.criterion",
    "prune.allocation",
    "prune.schedule",
];

/// The key below which settings are named by their paths.
const VARIED: &str = "grid.vary";

/// Lays `given` over `base`, key by key. Keys that `base` lacks are refused with the nearest one it has.
///
/// A plugin's name replaces the plugin, and its settings unless it is the same plugin; a table without a name changes settings
/// of the plugin that is there.
pub fn merge(base: &mut Value, given: Value, path: &str) -> Result<()> {
    if CHOICES.contains(&path) {
        return merge_choice(base, given);
    }
    match (base, given) {
        // Its keys are paths of settings; which there are is not known here.
        (Value::Object(base), Value::Object(given)) if path == VARIED => {
            given.into_iter().for_each(|(setting, values)| vary(base, setting, values));
            Ok(())
        }
        (Value::Object(base), Value::Object(given)) => {
            for (key, value) in given {
                let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match base.get_mut(&key) {
                    Some(slot) => merge(slot, value, &full)?,
                    None => return Err(unknown_setting(&full, path, base)),
                }
            }
            Ok(())
        }
        (Value::Object(base), other) => {
            let keys: Vec<&str> = base.keys().map(String::as_str).collect();
            let message = format!("setting `{path}`: found {other}, expected a table with {}", keys.join(", "));
            Err(Error::new(ErrorKind::Settings, message))
        }
        // A list may be given as text on the command line.
        (base @ Value::Array(_), Value::String(text)) => {
            *base = text.split(',').map(|item| Value::String(item.trim().to_owned())).collect();
            Ok(())
        }
        (base, given) => {
            *base = given;
            Ok(())
        }
    }
}

/// Notes the values of a varied setting. TOML takes `prune.ratio = [...]` for a table in a table where the path has no quotation marks.
fn vary(base: &mut Map<String, Value>, setting: String, values: Value) {
    match values {
        Value::Object(inner) => {
            inner.into_iter().for_each(|(key, values)| vary(base, format!("{setting}.{key}"), values));
        }
        values => {
            base.insert(setting, values);
        }
    }
}

fn unknown_setting(full: &str, path: &str, base: &Map<String, Value>) -> Error {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    let known: Vec<String> = base.keys().map(|key| format!("{prefix}{key}")).collect();
    Error::unknown_name("setting", full, known.iter().map(String::as_str))
}

fn merge_choice(base: &mut Value, given: Value) -> Result<()> {
    let name = |value: &Value| match value {
        Value::String(name) => Some(name.clone()),
        Value::Object(table) => table.get("name").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    let (old, new) = (name(base), name(&given));
    match given {
        Value::String(_) if old == new => {}
        Value::Object(changes) if new.is_none() || (old == new && base.is_object()) => {
            let mut table = match base.take() {
                Value::Object(table) => table,
                name => Map::from_iter([("name".to_owned(), name)]),
            };
            table.extend(changes);
            *base = Value::Object(table);
        }
        given => *base = given,
    }
    Ok(())
}

/// `key=value` as a tree: `prune.ratio=0.5` becomes `{"prune": {"ratio": 0.5}}`.
///
/// The value is read as TOML, and as plain text where it is not TOML (`trades`, `8/255`).
pub fn assignment(text: &str) -> Result<Value> {
    let malformed = || {
        let message = format!("`{text}` is no assignment, expected key=value such as prune.ratio=0.5");
        Error::new(ErrorKind::Settings, message).context("reading --set")
    };
    let (key, value) = text.split_once('=').ok_or_else(malformed)?;
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() || key.split('.').any(|part| part.trim().is_empty()) {
        return Err(malformed());
    }
    let parsed = toml::from_str::<Map<String, Value>>(&format!("value = {value}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        // `nan` and `inf` are numbers of TOML that no setting can hold; here they are words.
        .filter(|value| !value.is_null());
    let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    Ok(at_path(key, value))
}

/// A tree that holds `value` at a path of keys with dots between.
pub fn at_path(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, part| Value::Object(Map::from_iter([(part.trim().to_owned(), inner)])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn base() -> Value {
        json!({"seed": 0, "prune": {"ratio": 0.5, "criterion": "l1-norm"}, "evaluate": {"attacks": ["pgd"]},
               "finetune": {"trainer": {"name": "trades", "beta": 3.0}}})
    }

    fn set(text: &str) -> Result<Value> {
        let mut value = base();
        merge(&mut value, assignment(text)?, "")?;
        Ok(value)
    }

    #[test]
    fn assignments_change_what_they_name() -> Result<()> {
        assert_eq!(set("prune.ratio=0.25")?["prune"]["ratio"], json!(0.25));
        assert_eq!(set("prune.criterion=random")?["prune"]["criterion"], json!("random"));
        assert_eq!(set("prune.criterion=nan")?["prune"]["criterion"], json!("nan"));
        assert_eq!(
            set("prune.criterion.reduction=max")?["prune"]["criterion"],
            json!({"name": "l1-norm", "reduction": "max"})
        );
        assert_eq!(set("finetune.trainer=trades")?["finetune"]["trainer"], json!({"name": "trades", "beta": 3.0}));
        assert_eq!(set("finetune.trainer=pgd-at")?["finetune"]["trainer"], json!("pgd-at"));
        assert_eq!(set("finetune.trainer.epsilon=8/255")?["finetune"]["trainer"]["epsilon"], json!("8/255"));
        assert_eq!(set("evaluate.attacks=fgsm, pgd")?["evaluate"]["attacks"], json!(["fgsm", "pgd"]));
        Ok(())
    }

    #[test]
    fn varied_settings_need_no_quotation_marks() -> Result<()> {
        let mut value = json!({"grid": {"vary": {}}});
        let given =
            json!({"grid": {"vary": {"prune": {"ratio": [0.5], "constraints": {"multiple": [1, 8]}}, "seed.x": [1]}}});
        merge(&mut value, given, "")?;
        let vary = json!({"prune.ratio": [0.5], "prune.constraints.multiple": [1, 8], "seed.x": [1]});
        assert_eq!(value["grid"]["vary"], vary);
        Ok(())
    }

    #[test]
    fn wrong_keys_are_answered_with_the_nearest() {
        for (text, message, hint) in [
            ("prune.ration=0.5", "unknown setting `prune.ration`", "did you mean `prune.ratio`"),
            ("sed=1", "unknown setting `sed`", "did you mean `seed`"),
        ] {
            let error = set(text).expect_err(text);
            assert_eq!(error.to_string(), message);
            assert!(error.hint_text().is_some_and(|found| found.starts_with(hint)), "{error:?}");
        }
        for text in ["seed", "=1", "prune.=1"] {
            assert!(set(text).is_err(), "{text}");
        }
        assert!(set("prune=3").expect_err("a table").to_string().contains("expected a table with"));
    }
}
