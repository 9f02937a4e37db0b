//! A plugin chosen by name, with settings that differ from its defaults.

use mrpf_api::registry::{self, PluginKind};
use mrpf_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

/// `"trades"`, or `{ name = "trades", beta = 3.0 }`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginChoice {
    /// The plugin's name.
    pub name: String,
    /// Settings that differ from its defaults.
    pub settings: Map<String, Value>,
}

impl PluginChoice {
    /// A plugin with its default settings.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), settings: Map::new() }
    }

    /// The same with one setting changed.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(key.into(), value.into());
        self
    }

    /// Makes the plugin.
    ///
    /// # Errors
    /// As [`registry::make`]: unknown name, unknown setting, wrong type, value out of range.
    pub fn make<T: PluginKind + ?Sized>(&self) -> Result<Box<T>> {
        registry::make::<T>(&self.name, Value::Object(self.settings.clone()))
    }

    /// Reads `name` or a table with a `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] if it is neither.
    pub fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::String(name) => Ok(Self { name, settings: Map::new() }),
            Value::Object(mut settings) => match settings.remove("name") {
                Some(Value::String(name)) => Ok(Self { name, settings }),
                found => {
                    let found = found.map_or("no name".into(), |value| format!("name = {value}"));
                    let message = format!("found a table with {found}, expected name = \"...\" in it");
                    Err(Error::new(ErrorKind::Settings, message))
                }
            },
            other => {
                let message = format!("found {other}, expected a plugin's name, or a table with its name and settings");
                Err(Error::new(ErrorKind::Settings, message))
            }
        }
    }
}

impl Serialize for PluginChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.settings.is_empty() {
            return serializer.serialize_str(&self.name);
        }
        let mut table = Map::from_iter([("name".to_owned(), Value::String(self.name.clone()))]);
        table.extend(self.settings.clone());
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PluginChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
