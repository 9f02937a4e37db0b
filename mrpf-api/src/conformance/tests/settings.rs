//! Settings that are written or described otherwise than they are read are found out.

use super::*;

/// Settings that are written otherwise than they are read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Lossy {
    /// Written twice as large.
    #[serde(serialize_with = "doubled")]
    value: f64,
}

impl Default for Lossy {
    fn default() -> Self {
        Self { value: 1.0 }
    }
}

fn doubled<S: serde::Serializer>(value: &f64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(2.0 * value)
}

/// Settings whose schema knows less than they hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Hidden {
    /// In no schema.
    #[schemars(skip)]
    value: f64,
}

register_plugin! {
    kind: Schedule,
    name: "lossy-settings",
    summary: "settings that change when they are written",
    source: "own",
    settings: Lossy,
    make: |settings| Ok(Box::new(Broken::new(Breaks { how: if settings.value < 0.0 { "panics".into() } else { String::new() } }))),
}

register_plugin! {
    kind: Schedule,
    name: "hidden-settings",
    summary: "a setting that nobody is told of",
    source: "own",
    settings: Hidden,
    make: |settings| Ok(Box::new(Broken::new(Breaks { how: if settings.value < 0.0 { "panics".into() } else { String::new() } }))),
}

#[test]
fn settings_are_examined_for_every_kind() -> Result<()> {
    let found = |name: &str| -> Result<Vec<&'static str>> {
        let findings = examine(registry::find(Kind::Schedule, name)?, &Surroundings::default());
        Ok(findings
            .into_iter()
            .filter(|finding| finding.verdict != Verdict::Holds)
            .map(|finding| finding.law)
            .collect())
    };
    assert_eq!(found("lossy-settings")?, ["its settings survive being written and read"]);
    assert_eq!(found("hidden-settings")?, ["its schema describes every setting"]);
    Ok(())
}
