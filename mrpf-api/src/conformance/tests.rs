//! For each law a plugin that breaks it: the law is found broken, and no other that has nothing to do with it.

mod allocation;
mod architecture;
mod attack;
mod criterion;
mod data;
mod schedule;
mod sensitivity;
mod settings;
mod trainer;

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::prelude::*;
use crate::register_plugin;

/// Which law is broken.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Breaks {
    /// A word for it; none keeps every law.
    how: String,
}

/// Counts the plugins made, for those that do something else each time.
static MADE: AtomicU64 = AtomicU64::new(0);

struct Broken {
    how: String,
    number: u64,
    seen: u64,
}

impl Broken {
    fn new(settings: Breaks) -> Self {
        Self { how: settings.how, number: MADE.fetch_add(1, Ordering::SeqCst), seen: 0 }
    }

    fn is(&self, how: &str) -> bool {
        self.how == how
    }

    /// A fraction that those made shortly before and after do not come near, whatever tests made in the meantime.
    fn fraction(&self) -> f64 {
        (self.number as f64 * 0.618_033_988_749_895).fract()
    }
}

macro_rules! broken {
    ($($kind:ident $name:literal;)*) => { $(
        register_plugin! {
            kind: $kind,
            name: $name,
            summary: "breaks a law when it is told to",
            source: "own",
            settings: Breaks,
            make: |settings| Ok(Box::new(Broken::new(settings))),
        }
    )* };
}

broken! {
    Trainer "broken-trainer";
    Criterion "broken-criterion";
    Sensitivity "broken-metric";
    Schedule "broken-schedule";
    Attack "broken-attack";
    Allocation "broken-allocation";
    Architecture "broken-architecture";
    DataSet "broken-data";
}

/// The laws that are found broken.
fn broken(kind: Kind, name: &str, how: &str) -> Result<Vec<&'static str>> {
    let settings = serde_json::Map::from_iter([("how".to_owned(), Value::from(how))]);
    let surroundings = Surroundings { settings, data_dir: None };
    let findings = examine(registry::find(kind, name)?, &surroundings);
    Ok(findings
        .into_iter()
        .filter(|finding| matches!(finding.verdict, Verdict::Broken(_)))
        .map(|finding| finding.law)
        .collect())
}

/// Asserts that exactly these laws are found broken.
#[track_caller]
fn assert_broken(kind: Kind, name: &str, cases: &[(&str, &[&str])]) -> Result<()> {
    assert_eq!(broken(kind, name, "")?, [""; 0], "without a fault");
    for (how, laws) in cases {
        assert_eq!(&broken(kind, name, how)?, laws, "{name} with {how}");
    }
    Ok(())
}

#[test]
fn what_is_broken_fails_a_plugins_own_test() {
    assert!(require(Kind::Schedule, "broken-schedule").is_ok());
    let error = require(Kind::Schedule, "lossy-settings").expect_err("a law is broken");
    assert_eq!(error.kind(), ErrorKind::Plugin);
    assert!(error.to_string().contains("`lossy-settings` breaks its laws: its settings survive"), "{error}");
}
