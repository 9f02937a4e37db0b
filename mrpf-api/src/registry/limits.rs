//! The limits that a settings type states in its schema, enforced when settings are read.
//!
//! `#[schemars(range(min = 1, max = 10_000))]` limits a number. `#[schemars(extend("x-length" = "linf"))]` says that a [`Fraction`] is a
//! length in the unit of the pixels in that norm, so that 8 in place of 8/255 is refused.

use serde_json::Value;

use crate::attack::{Norm, check_length};
use crate::fraction::Fraction;
use crate::{Error, ErrorKind, Result};

/// The key of a schema that makes a fraction a length.
const LENGTH: &str = "x-length";

/// Checks settings against the limits in their schema; gives what people should be told of unusual values.
///
/// # Errors
/// [`ErrorKind::Settings`] naming the setting, what was found and what was expected.
pub fn check_limits(schema: &Value, settings: &Value) -> Result<Vec<String>> {
    let mut remarks = Vec::new();
    check(schema, schema, settings, "", &mut remarks)?;
    Ok(remarks)
}

fn check(whole: &Value, schema: &Value, value: &Value, path: &str, remarks: &mut Vec<String>) -> Result<()> {
    if let Some(target) = schema["$ref"].as_str().and_then(|path| whole.pointer(path.trim_start_matches('#'))) {
        check(whole, target, value, path, remarks)?;
    }
    // Of alternatives those are looked at that the value may be; `null` has no limits.
    for alternative in ["anyOf", "allOf"].iter().flat_map(|key| schema[*key].as_array().into_iter().flatten()) {
        if !value.is_null() {
            check(whole, alternative, value, path, remarks)?;
        }
    }
    if let Some(table) = value.as_object() {
        for (key, value) in table {
            let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            if let Some(property) = schema["properties"].get(key) {
                check(whole, property, value, &full, remarks)?;
            }
        }
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        if schema["items"].is_object() {
            check(whole, &schema["items"], item, &format!("{path}[{at}]"), remarks)?;
        }
    }
    if let Some(number) = value.as_f64() {
        check_number(schema, number, value, path)?;
    }
    if let Some(norm) = schema[LENGTH].as_str()
        && let Some(length) = fraction(value)
    {
        let norm = norm_called(norm, path)?;
        remarks.extend(check_length(&format!("setting `{path}`:"), &length, norm, None)?);
    }
    Ok(())
}

fn check_number(schema: &Value, number: f64, value: &Value, path: &str) -> Result<()> {
    let limit = |key: &str| schema[key].as_f64();
    let (least, most) = (limit("minimum"), limit("maximum"));
    if least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most) {
        return Ok(());
    }
    let expected = match (least, most) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("at least {least}"),
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => return Ok(()),
    };
    Err(Error::new(ErrorKind::Settings, format!("setting `{path}`: found {value}, expected {expected}")))
}

fn fraction(value: &Value) -> Option<Fraction> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64().map(Fraction::from),
    }
}

fn norm_called(name: &str, path: &str) -> Result<Norm> {
    Norm::ALL.into_iter().find(|norm| norm.name() == name).ok_or_else(|| {
        let message = format!("the schema of setting `{path}` has `{LENGTH}` {name}, expected linf, l2 or l1");
        Error::new(ErrorKind::Plugin, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{parse_settings, settings_schema};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Sample {
        #[schemars(range(max = 100))]
        steps: usize,
        #[schemars(range(min = 2, max = 10))]
        images: Option<usize>,
        #[schemars(extend("x-length" = "linf"))]
        epsilon: Fraction,
        #[schemars(extend("x-length" = "linf"))]
        step_size: Option<Fraction>,
        inner: Inner,
        several: Vec<Inner>,
    }

    #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Inner {
        #[schemars(range(min = 0.0, max = 1.0))]
        share: f64,
    }

    impl Default for Sample {
        fn default() -> Self {
            let (inner, several) = (Inner::default(), Vec::new());
            Self { steps: 1, images: None, epsilon: Fraction::new(8, 255), step_size: None, inner, several }
        }
    }

    #[test]
    fn limits_are_enforced_wherever_they_stand() {
        for (given, told) in [
            (json!({"steps": 1_000_000_000}), "setting `steps`: found 1000000000, expected 0 to 100"),
            (json!({"images": 1}), "setting `images`: found 1, expected 2 to 10"),
            (json!({"images": 11}), "setting `images`: found 11, expected 2 to 10"),
            (json!({"inner": {"share": 1.5}}), "setting `inner.share`: found 1.5, expected 0 to 1"),
            (
                json!({"several": [{"share": 0.5}, {"share": 2.0}]}),
                "setting `several[1].share`: found 2.0, expected 0 to 1",
            ),
            (json!({"epsilon": 8}), "setting `epsilon`: 8, expected a length below 1"),
            (json!({"step_size": "510/255"}), "setting `step_size`: 510/255, expected a length below 1"),
        ] {
            let error = parse_settings::<Sample>(given.clone()).expect_err("out of range").to_string();
            assert!(error.starts_with(told), "{given}: {error}");
        }
        for given in [json!({}), json!({"steps": 100, "images": 2, "epsilon": 0, "step_size": "2/255"})] {
            assert!(parse_settings::<Sample>(given).is_ok());
        }
    }

    #[test]
    fn large_lengths_are_remarked() -> Result<()> {
        let given = json!({"epsilon": "64/255", "step_size": null});
        let remarks = check_limits(&settings_schema::<Sample>(), &given)?;
        assert_eq!(remarks.len(), 1);
        assert!(remarks[0].contains("did you mean 64/255?"), "{remarks:?}");
        Ok(())
    }
}
