//! Numbers that people write as fractions, kept as they were written.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind};

/// A number such as `8/255` or `0.031`, which are different numbers: the text is kept beside the value.
#[derive(Debug, Clone, PartialEq)]
pub struct Fraction {
    value: f64,
    text: String,
}

impl Fraction {
    /// `numerator / denominator`, written as such.
    pub fn new(numerator: u32, denominator: u32) -> Self {
        Self { value: f64::from(numerator) / f64::from(denominator), text: format!("{numerator}/{denominator}") }
    }

    /// What stands above the line of a fraction, or the number itself.
    pub fn numerator(&self) -> &str {
        self.text.split('/').next().unwrap_or(&self.text)
    }

    /// The number.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl From<f64> for Fraction {
    fn from(value: f64) -> Self {
        Self { value, text: value.to_string() }
    }
}

impl FromStr for Fraction {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |part: &str| part.trim().parse::<f64>().ok();
        let value = match text.split_once('/') {
            Some((above, below)) => number(above).zip(number(below)).map(|(above, below)| above / below),
            None => number(text),
        };
        match value {
            Some(value) if value.is_finite() => Ok(Self { value, text: text.trim().replace(' ', "") }),
            _ => {
                Err(Error::new(ErrorKind::Settings, format!("`{text}` is no number, expected one like 8/255 or 0.031")))
            }
        }
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.text.contains('/') {
            true => serializer.serialize_str(&self.text),
            false => serializer.serialize_f64(self.value),
        }
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Fraction;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a fraction such as \"8/255\"")
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Fraction, E> {
                Ok(value.into())
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Fraction, E> {
                Ok((value as f64).into())
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Fraction, E> {
                Ok((value as f64).into())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Fraction, E> {
                text.parse().map_err(|error: Error| E::custom(error))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Fraction {
    fn schema_name() -> Cow<'static, str> {
        "Fraction".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "string"], "pattern": "^ *[0-9.eE+-]+ *(/ *[0-9.eE+-]+ *)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_read_as_written_and_nonsense_is_refused() {
        for (text, value) in [("8/255", 8.0 / 255.0), ("0.031", 0.031), (" 2 / 255 ", 2.0 / 255.0), ("0", 0.0)] {
            assert_eq!(text.parse::<Fraction>().map(|fraction| fraction.value()).ok(), Some(value), "{text}");
        }
        for text in ["", "eight", "1/0", "8/", "/255", "nan", "1/2/3"] {
            assert!(text.parse::<Fraction>().is_err(), "{text}");
        }
    }
}
