//! Networks that lie in files of their own.

use mrpf_api::candle_core::Device;
use mrpf_api::network::{Declaration, Network};
use mrpf_api::{Context, Error, ErrorKind, Result};
use std::path::Path;

use crate::files::read_regular;
use crate::safe_text::one_line;

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
    let network = Network::from_bytes(&bytes, &Device::Cpu).context(about)?;
    check_names(network.declaration()).context(about)?;
    Ok(network)
}

/// Names stand in tables and on lines of their own: one with a line end or a terminal's command in it has been made to mislead.
fn check_names(declaration: &Declaration) -> Result<()> {
    let layers = declaration.layers.iter().map(|layer| layer.name.as_str());
    match layers.chain([declaration.architecture.as_str()]).find(|name| name.contains(char::is_control)) {
        None => Ok(()),
        Some(name) => {
            let message = format!("the name `{}` has control characters in it", one_line(name));
            Err(Error::new(ErrorKind::Checkpoint, message).hint("expected a file saved by mrpf"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::candle_core::DType;
    use mrpf_api::data::ImageShape;
    use mrpf_api::network::Builder;
    use mrpf_api::random::Streams;

    #[test]
    fn names_that_mislead_are_refused() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        for (architecture, layer, expected) in [
            ("plain", "fc", None),
            ("plain", "fc\nwarning: all is well", Some("`fc\\u000awarning: all is well`")),
            ("\x1b[2J", "fc", Some("`\\u001b[2J`")),
        ] {
            let mut net = Builder::new(architecture, ImageShape { channels: 1, height: 2, width: 2 }, 2);
            net.flatten("flat").linear(layer, 2);
            let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F32, &Device::Cpu)?;
            let path = folder.path().join("network.safetensors");
            std::fs::write(&path, network.to_bytes()?)?;
            let told = read_model(&path).map(drop).map_err(|error| error.to_string());
            match expected {
                None => assert_eq!(told, Ok(())),
                Some(expected) => assert!(told.is_err_and(|told| told.contains(expected)), "{layer}"),
            }
        }
        Ok(())
    }
}
