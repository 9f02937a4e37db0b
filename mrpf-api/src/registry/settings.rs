//! Typed settings: defaults, schema, and answers to what does not fit.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::limits::check_limits;
use crate::{Error, ErrorKind, Result};

/// What a settings type must be able to do; every type with these four derives does.
pub trait Settings: Default + Serialize + DeserializeOwned + JsonSchema {}

impl<T: Default + Serialize + DeserializeOwned + JsonSchema> Settings for T {}

/// The settings when nothing is said.
pub fn default_settings<T: Settings>() -> Value {
    serde_json::to_value(T::default()).unwrap_or(Value::Null)
}

/// JSON schema of the settings.
pub fn settings_schema<T: Settings>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// Reads settings from a JSON object; what is not given has its default.
///
/// # Errors
/// [`ErrorKind::UnknownName`] for a key that the type does not have, with the nearest one that it has; [`ErrorKind::Settings`] for a
/// value of the wrong type or beyond the limits in the schema, with the key.
pub fn parse_settings<T: Settings>(given: Value) -> Result<T> {
    let mut settings = default_settings::<T>();
    overlay(&mut settings, given, "")?;
    let parsed = serde_path_to_error::deserialize(&settings).map_err(|error| {
        let path = error.path().to_string();
        Error::new(ErrorKind::Settings, format!("setting `{path}`: {}", error.into_inner()))
    })?;
    check_limits(&settings_schema::<T>(), &settings)?;
    Ok(parsed)
}

/// Settings as given in, all settings out.
///
/// # Errors
/// As [`parse_settings`], and [`ErrorKind::Settings`] if they cannot be written.
pub fn resolve_settings<T: Settings>(given: Value) -> Result<Value> {
    serde_json::to_value(parse_settings::<T>(given)?)
        .map_err(|error| Error::new(ErrorKind::Settings, format!("the settings cannot be written: {error}")))
}

/// Lays `given` over `base`, key by key; keys that `base` lacks are refused.
pub fn overlay(base: &mut Value, given: Value, path: &str) -> Result<()> {
    match (base, given) {
        (Value::Object(base), Value::Object(given)) => overlay_object(base, given, path),
        (Value::Object(base), other) => {
            let keys = base.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let place = if path.is_empty() { "settings".to_owned() } else { format!("setting `{path}`") };
            Err(Error::new(ErrorKind::Settings, format!("{place}: found {other}, expected a table with {keys}")))
        }
        (base, given) => {
            *base = given;
            Ok(())
        }
    }
}

fn overlay_object(base: &mut Map<String, Value>, given: Map<String, Value>, path: &str) -> Result<()> {
    for (key, value) in given {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match base.get_mut(&key) {
            Some(slot) => overlay(slot, value, &full)?,
            None => return Err(Error::unknown_name("setting", &full, base.keys().map(String::as_str))),
        }
    }
    Ok(())
}
