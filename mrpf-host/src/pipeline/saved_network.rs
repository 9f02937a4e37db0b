//! Networks that lie in files of their own.

use mrpf_api::candle_core::Device;
use mrpf_api::network::Network;
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::path::Path;

use crate::files::read_regular;

/// A saved network, read on the CPU; [`Network::to_device`] moves it on.
///
/// # Errors
/// [`ErrorKind::Checkpoint`] if the file is missing or is no saved network.
pub fn read_model(path: &Path) -> Result<Network> {
    let about = || format!("reading the network {}", path.display());
    let bytes = read_regular(path)
        .map_err(|error| {
            let hint = "networks lie in the `networks` folder of a run directory and end in .safetensors";
            Error::new(ErrorKind::Checkpoint, format!("cannot be read: {error}")).hint(hint)
        })
        .context(about)?;
    Network::from_bytes(&bytes, &Device::Cpu).context(about)
}
