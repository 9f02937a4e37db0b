//! Experiment files, and those that they extend, laid over one another.

use mrpf_api::{Context, Error, ErrorKind, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::load::BUILT_IN;
use super::merge::merge;
use crate::files::path_text::{decode, encode};
use crate::files::{SETTINGS, read_text};

/// The key by which a file names the files that it is laid over, the first lowest.
const EXTENDS: &str = "extends";
/// What a file extends to be laid over the built-in experiment.
const BUILT_IN_NAME: &str = "built-in";
/// The most files that are laid over one another, each counted as often as it is extended.
const MOST: usize = 256;
/// The most files that extend one another in a row.
const DEEPEST: usize = 32;

/// Lays `files` over `settings` in their order, each after those that it extends.
///
/// # Errors
/// [`ErrorKind::Io`] if a file cannot be read, [`ErrorKind::Settings`] or [`ErrorKind::UnknownName`] for what does not fit, and for
/// a file that extends itself by others; each names its file.
pub(super) fn lay_files(settings: &mut Value, files: &[PathBuf]) -> Result<()> {
    let mut layers = Layers::default();
    files.iter().try_for_each(|file| layers.lay(settings, file))
}

/// The files that were read, each once, and those whose `extends` is being followed.
#[derive(Default)]
struct Layers {
    read: BTreeMap<PathBuf, Map<String, Value>>,
    open: Vec<PathBuf>,
    laid: usize,
}

impl Layers {
    fn lay(&mut self, settings: &mut Value, file: &Path) -> Result<()> {
        let about = || format!("reading {}", file.display());
        let place = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        if self.open.contains(&place) {
            let message = format!("`{EXTENDS}` leads back to {}", file.display());
            return Err(
                Error::new(ErrorKind::Settings, message).hint(format!("take one `{EXTENDS}` out of the circle"))
            );
        }
        self.laid += 1;
        if self.open.len() >= DEEPEST || self.laid > MOST {
            let message = format!(
                "`{EXTENDS}` names more files than are read: {} of {MOST} in all, {} of {DEEPEST} within one another",
                self.laid,
                self.open.len() + 1
            );
            return Err(Error::new(ErrorKind::Settings, message)
                .hint("a file counts each time that it is extended; name it once"));
        }
        let mut table = match self.read.get(&place) {
            Some(table) => table.clone(),
            None => {
                let text = read_text(file, SETTINGS).map_err(|error| {
                    Error::new(ErrorKind::Io, format!("cannot read the experiment file {}: {error}", file.display()))
                        .hint("the built-in experiment runs when no file is given; examples/ holds others")
                })?;
                let table = parse(&text).context(about)?;
                self.read.entry(place.clone()).or_insert(table).clone()
            }
        };
        let folder = file.parent().unwrap_or(Path::new(""));
        self.open.push(place);
        for below in extended(table.remove(EXTENDS)).context(about)? {
            if below == BUILT_IN_NAME {
                merge(settings, Value::Object(parse(BUILT_IN)?), "").context(|| "the built-in experiment".into())?;
                continue;
            }
            self.lay(settings, &folder.join(below)).context(about)?;
        }
        self.open.pop();
        // Libraries are named as they lie beside the file, wherever it is read from.
        for plugin in table.get_mut("plugins").and_then(Value::as_array_mut).into_iter().flatten() {
            *plugin = plugin.as_str().map(|path| encode(&folder.join(decode(path)))).into();
        }
        merge(settings, Value::Object(table), "").context(about)
    }
}

/// TOML as a tree.
///
/// # Errors
/// [`ErrorKind::Settings`] for what is no TOML, and for `nan` and `inf`, which JSON would take for settings that are not given.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>> {
    let table: toml::Table =
        toml::from_str(text).map_err(|error| Error::new(ErrorKind::Settings, format!("not valid TOML: {error}")))?;
    for (key, value) in &table {
        check_finite(key, value)?;
    }
    // Read once more, for the order of the keys.
    toml::from_str(text).map_err(|error| Error::new(ErrorKind::Settings, format!("not valid TOML: {error}")))
}

fn check_finite(path: &str, value: &toml::Value) -> Result<()> {
    match value {
        toml::Value::Float(number) if !number.is_finite() => {
            let message = format!("setting `{path}`: found {number}, expected a finite number");
            Err(Error::new(ErrorKind::Settings, message).hint("leave the setting out to have its default"))
        }
        toml::Value::Table(table) => {
            table.iter().try_for_each(|(key, value)| check_finite(&format!("{path}.{key}"), value))
        }
        toml::Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(at, item)| check_finite(&format!("{path}[{at}]"), item))
        }
        toml::Value::Float(_)
        | toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => Ok(()),
    }
}

fn extended(given: Option<Value>) -> Result<Vec<String>> {
    let wrong = |found: &Value| {
        let message = format!("setting `{EXTENDS}`: found {found}, expected a file or a list of files");
        Error::new(ErrorKind::Settings, message)
    };
    match given {
        None => Ok(Vec::new()),
        Some(Value::String(file)) => Ok(vec![file]),
        Some(Value::Array(files)) => {
            files.iter().map(|file| file.as_str().map(str::to_owned).ok_or_else(|| wrong(file))).collect()
        }
        Some(other) => Err(wrong(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn laid(files: &[(&str, &str)], which: &[&str]) -> Result<Value> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let mut settings = json!({"seed": 0, "prune": {"ratio": 0.5, "rounds": 1}, "plugins": []});
        let which: Vec<PathBuf> = which.iter().map(|name| folder.path().join(name)).collect();
        lay_files(&mut settings, &which)?;
        for plugin in settings["plugins"].as_array_mut().into_iter().flatten() {
            let shown = plugin.as_str().unwrap_or_default().replace(&format!("{}/", folder.path().display()), "");
            *plugin = shown.into();
        }
        Ok(settings)
    }

    #[test]
    fn the_later_lies_over_the_earlier() -> Result<()> {
        let files = [
            ("recipe.toml", "seed = 1\nplugins = [\"a.so\"]\n[prune]\nratio = 0.1\nrounds = 7"),
            ("cell.toml", "extends = \"recipe.toml\"\n[prune]\nratio = 0.2"),
            ("quick.toml", "[prune]\nrounds = 2"),
            ("both.toml", "extends = [\"cell.toml\", \"quick.toml\"]\nseed = 3"),
        ];
        let plugins = json!(["a.so"]);
        assert_eq!(
            laid(&files, &["cell.toml"])?,
            json!({"seed": 1, "prune": {"ratio": 0.2, "rounds": 7}, "plugins": plugins})
        );
        let both = json!({"seed": 1, "prune": {"ratio": 0.2, "rounds": 2}, "plugins": plugins});
        assert_eq!(laid(&files, &["cell.toml", "quick.toml"])?, both);
        assert_eq!(laid(&files, &["both.toml"])?["seed"], 3);
        Ok(())
    }

    #[test]
    fn nan_is_not_taken_for_a_setting_that_is_not_given() {
        for (text, told) in [
            ("[data]\ntrain_images = nan", "setting `data.train_images`: found NaN, expected a finite number"),
            ("data.split_seed = inf", "setting `data.split_seed`: found inf, expected a finite number"),
            ("evaluate.attacks = [{name = \"pgd\", steps = -inf}]", "setting `evaluate.attacks[0].steps`: found -inf"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with(told), "{error}");
        }
        assert!(parse("seed = 1\ndata.holdout = 0.1").is_ok());
    }

    #[test]
    fn circles_and_wrong_lists_are_answered() {
        let files =
            [("a.toml", "extends = \"b.toml\""), ("b.toml", "extends = [\"a.toml\"]"), ("c.toml", "extends = 3")];
        let told = |name: &str| laid(&files, &[name]).expect_err(name).to_string();
        assert!(told("a.toml").contains("leads back to"), "{}", told("a.toml"));
        assert!(told("c.toml").contains("found 3, expected a file or a list of files"), "{}", told("c.toml"));
        assert!(told("d.toml").contains("cannot read the experiment file"));
    }

    #[test]
    fn files_that_extend_others_without_end_are_answered() {
        let told = |count: usize, extends: fn(usize) -> String| {
            let names: Vec<String> = (0..=count).map(|at| format!("{at}.toml")).collect();
            let texts: Vec<String> = (0..count).map(|at| format!("extends = {}", extends(at + 1))).collect();
            let last = [(names[count].as_str(), "seed = 1")];
            let files: Vec<(&str, &str)> =
                names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).chain(last).collect();
            laid(&files, &["0.toml"])
        };
        // Each extends the next twice: 2^24 files were they all laid.
        let error = told(24, |next| format!("[\"{next}.toml\", \"{next}.toml\"]")).expect_err("too many").to_string();
        assert!(error.contains("257 of 256 in all"), "{error}");
        let once = |next| format!("\"{next}.toml\"");
        assert_eq!(told(31, once).expect("they are few enough")["seed"], 1);
        let error = told(32, once).expect_err("too deep").to_string();
        assert!(error.contains("33 of 32 within one another"), "{error}");
    }

    #[test]
    fn the_built_in_experiment_can_be_extended() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mine.toml");
        std::fs::write(&file, "extends = \"built-in\"\nname = \"mine\"").expect("a file");
        let sources = crate::experiment::Sources { files: &[file], ..Default::default() };
        let experiment = crate::experiment::Experiment::load(&sources)?;
        assert_eq!((experiment.name.as_str(), experiment.data.name.name.as_str()), ("mine", "digits"));
        Ok(())
    }

    #[test]
    fn a_file_extended_twice_is_no_circle() -> Result<()> {
        let files = [("a.toml", "seed = 1"), ("b.toml", "extends = [\"a.toml\", \"a.toml\"]")];
        assert_eq!(laid(&files, &["b.toml"])?["seed"], 1);
        Ok(())
    }
}
