//! Which command made a run, and what goes on with it.

use mrpf_api::{Error, ErrorKind, Result};
use serde_json::Value;

use super::RunDir;
use super::records::read_json;

/// The commands that go on with what they began.
const RESUMABLE: [&str; 4] = ["run", "train", "finetune", "evaluate"];

impl RunDir {
    /// The command that made the run, if that is recorded.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if the record cannot be read.
    pub fn made_by(&self) -> Result<Option<String>> {
        let provenance: Option<Value> = read_json(&self.path.join("run.json"))?;
        Ok(provenance.and_then(|provenance| Some(provenance["command"].as_str()?.to_owned())))
    }

    /// What goes on with the run, in quotation marks; `None` where nothing does.
    pub fn way_on(&self) -> Option<String> {
        let command = self.made_by().ok().flatten().filter(|command| RESUMABLE.contains(&command.as_str()))?;
        Some(format!("`mrpf {command} --resume {}`", self.path.display()))
    }

    /// Checks that `command` made the run: another one would write its own results over those that are there.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] if another command did.
    pub fn check_made_by(&self, command: &str) -> Result<()> {
        let Some(maker) = self.made_by()?.filter(|maker| maker != command) else { return Ok(()) };
        let message =
            format!("{} was made by `mrpf {maker}`, `mrpf {command}` cannot go on with it", self.path.display());
        Err(Error::new(ErrorKind::Settings, message).hint(match self.way_on() {
            Some(way) => format!("{way} does"),
            None => format!("`mrpf {maker}` begins anew, with another --out"),
        }))
    }
}
