//! Laws of settings, for plugins of every kind.

use serde_json::{Map, Value, json};

use super::{Finding, Subject, Verdict, holds_if, law};
use crate::registry::{Kind, objects};
use crate::{ErrorKind, Result};

pub(super) fn laws(subject: &Subject<'_>) -> Vec<Finding> {
    vec![
        law("it can be made with these settings", || made(subject)),
        law("its settings survive being written and read", || round_trip(subject)),
        law("its schema describes every setting", || described(subject)),
        law("a setting that it does not have is refused", || unknown_refused(subject)),
    ]
}

fn made(subject: &Subject<'_>) -> Result<Verdict> {
    match subject.plugin.kind() {
        Kind::DataSet => subject.make::<objects::DataSet>().map(drop),
        Kind::Architecture => subject.make::<objects::Architecture>().map(drop),
        Kind::Trainer => subject.make::<objects::Trainer>().map(drop),
        Kind::Sensitivity => subject.make::<objects::Sensitivity>().map(drop),
        Kind::Criterion => subject.make::<objects::Criterion>().map(drop),
        Kind::Allocation => subject.make::<objects::Allocation>().map(drop),
        Kind::Schedule => subject.make::<objects::Schedule>().map(drop),
        Kind::Attack => subject.make::<objects::Attack>().map(drop),
    }
    .map(|()| Verdict::Holds)
}

fn round_trip(subject: &Subject<'_>) -> Result<Verdict> {
    subject.plugin.ask(|plugin| {
        let defaults = (plugin.defaults)();
        let resolved = (plugin.resolve)(defaults.clone())?;
        if resolved != defaults {
            return Ok(Verdict::Broken(format!("its defaults are {defaults}, and {resolved} when read again")));
        }
        let changed = (plugin.resolve)(Value::Object(subject.surroundings.settings.clone()))?;
        let again = (plugin.resolve)(changed.clone())?;
        Ok(holds_if(changed == again, || format!("{changed} is {again} when read again")))
    })
}

fn described(subject: &Subject<'_>) -> Result<Verdict> {
    subject.plugin.ask(|plugin| {
        let (schema, defaults) = ((plugin.schema)(), (plugin.defaults)());
        let keys = |value: &Value| value.as_object().map(|table| table.keys().cloned().collect()).unwrap_or_default();
        let (mut described, mut known): (Vec<String>, Vec<String>) = (keys(&schema["properties"]), keys(&defaults));
        described.sort();
        known.sort();
        Ok(holds_if(described == known, || format!("the schema has {described:?}, the settings have {known:?}")))
    })
}

fn unknown_refused(subject: &Subject<'_>) -> Result<Verdict> {
    subject.plugin.ask(|plugin| {
        let wrong = Map::from_iter([("no_such_setting".to_owned(), json!(1))]);
        Ok(match (plugin.resolve)(Value::Object(wrong)) {
            Err(error) if error.kind() == ErrorKind::UnknownName => Verdict::Holds,
            Err(error) => Verdict::Broken(format!("it answers `{error}`")),
            Ok(_) => Verdict::Broken("`no_such_setting` is taken without a word".into()),
        })
    })
}
