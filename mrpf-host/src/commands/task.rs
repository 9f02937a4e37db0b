//! `task.json`: the saved network that a command works on, so that it can go on with the same one.

use mrpf_api::network::Network;
use mrpf_api::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use super::Console;
use crate::files::{path_text, sha256};
use crate::pipeline::read_model;
use crate::run_dir::RunDir;

/// A saved network by its file and what was in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedNetwork {
    /// The file.
    #[serde(with = "path_text::one")]
    pub model: PathBuf,
    /// SHA-256 of its weights and declaration.
    sha256: String,
}

impl SavedNetwork {
    /// That of a network which was read from the file `model`.
    pub fn new(model: &Path, network: &Network) -> Result<Self> {
        let model = std::path::absolute(model).unwrap_or_else(|_| model.to_owned());
        Ok(Self { model, sha256: sha256(&network.to_bytes()?) })
    }

    /// Reads the network again, on the device.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if it cannot be read or is another one by now.
    pub fn read(&self, console: &Console<'_>) -> Result<Network> {
        let network = read_model(&self.model)?.to_device(&console.device.device)?;
        if sha256(&network.to_bytes()?) == self.sha256 {
            return Ok(network);
        }
        let message = format!("{} is not the network that the command was started with", self.model.display());
        Err(Error::new(ErrorKind::Checkpoint, message)
            .hint("put the old file back, or begin anew into another directory, with --out"))
    }
}

/// The task of the run that is gone on with.
///
/// # Errors
/// [`ErrorKind::Checkpoint`] if it is not there or cannot be read.
pub fn task<T: DeserializeOwned>(dir: &RunDir) -> Result<T> {
    dir.read_task()?.ok_or_else(|| {
        let at = dir.path().display();
        let message = format!("nothing has been computed in {at} yet: it has no task.json, which names the network");
        Error::new(ErrorKind::Checkpoint, message)
            .hint(format!("begin anew with the command that made it and --out {at}"))
    })
}
