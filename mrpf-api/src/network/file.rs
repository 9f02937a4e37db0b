//! The saved form of a network: one safetensors file with the declaration in its header.
//!
//! Loading it executes nothing and needs none of the code that built the network.

use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use std::collections::HashMap;

use super::declaration::Declaration;
use super::digest;
use super::foreign_file::{ForeignFile, foreign_file};
use super::parameters::statistic_specs;
use super::weights::{Network, Weights};
use crate::{Context, Error, ErrorKind, Result};

/// Version of the saved form; a reader refuses a newer one.
pub const FORMAT_VERSION: &str = "2";
/// The version whose files carried no digest; they are still read.
const WITHOUT_DIGEST: &str = "1";

const DECLARATION: &str = "mrpf.declaration";
const FORMAT: &str = "mrpf.format";

impl Network {
    /// The network as the bytes of a safetensors file; the same network gives the same bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors = self.frozen_weights();
        tensors.extend(self.statistics());
        let declaration = serde_json::to_string(self.declaration())
            .map_err(|error| Error::new(ErrorKind::Declaration, format!("cannot be written as JSON: {error}")))?;
        let header = [(FORMAT, FORMAT_VERSION.to_owned()), (DECLARATION, declaration)];
        tensors_to_bytes(&tensors, header)
    }

    /// Reads a network from the bytes of a file that [`Network::to_bytes`] made.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if the bytes are not a safetensors file, have changed since they were written, carry no declaration or
    /// one that contradicts itself, or hold other tensors than the declaration needs.
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self> {
        // Whatever is wrong with a declaration in a file is the file's fault.
        Self::read(bytes, device).map_err(|error| match error.kind() {
            ErrorKind::Declaration => error.with_kind(ErrorKind::Checkpoint).hint(DAMAGED),
            _ => error,
        })
    }

    fn read(bytes: &[u8], device: &Device) -> Result<Self> {
        let (mut tensors, mut header) = tensors_from_bytes(bytes, device)?;
        let wrong = |message: String| Error::new(ErrorKind::Checkpoint, message);
        let text = header.remove(DECLARATION).ok_or_else(|| {
            wrong("the file carries no network declaration".into()).hint("expected a file saved by mrpf")
        })?;
        match header.get(FORMAT).map(String::as_str) {
            Some(FORMAT_VERSION) => require_digest(&header)?,
            Some(WITHOUT_DIGEST) => {}
            found => {
                let found = found.unwrap_or("none");
                return Err(wrong(format!("format version {found}, expected {FORMAT_VERSION}")).hint("update mrpf"));
            }
        }
        let declaration: Declaration =
            serde_json::from_str(&text).map_err(|error| wrong(format!("the declaration cannot be read: {error}")))?;
        declaration.wiring().context(|| "the saved declaration".into())?;
        check_types(&tensors)?;
        let mut statistics = Weights::new();
        for spec in statistic_specs(&declaration) {
            if let Some(tensor) = tensors.remove(&spec.name) {
                statistics.insert(spec.name, tensor);
            }
        }
        Self::from_tensors(declaration, tensors, statistics)
    }
}

const DAMAGED: &str = "the file is damaged, or no version of mrpf wrote it";

/// Weights are floating-point numbers of one type; the kernels read them as such.
fn check_types(tensors: &Weights) -> Result<()> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Checkpoint, message).hint(DAMAGED));
    let Some((first, expected)) = tensors.iter().next().map(|(name, tensor)| (name, tensor.dtype())) else {
        return Ok(());
    };
    for (name, tensor) in tensors {
        let found = tensor.dtype();
        if !matches!(found, DType::F32 | DType::F64) {
            return wrong(format!("tensor `{name}` holds {}, expected f32 or f64", found.as_str()));
        }
        if found != expected {
            let (found, expected) = (found.as_str(), expected.as_str());
            return wrong(format!("tensor `{name}` holds {found}, but `{first}` holds {expected}"));
        }
    }
    Ok(())
}

/// Named tensors and header entries as the bytes of a safetensors file, in the order of their names, with a digest of all bytes in
/// the header.
pub fn tensors_to_bytes<'a>(tensors: &Weights, header: impl IntoIterator<Item = (&'a str, String)>) -> Result<Vec<u8>> {
    let mut entries: Vec<_> = header.into_iter().collect();
    entries.push((digest::ENTRY, digest::UNKNOWN.to_owned()));
    entries.sort();
    // The library takes the header as a hash map and writes it in that order; one entry keeps the bytes the same every time.
    let joined = serde_json::to_string(&entries)
        .map_err(|error| Error::new(ErrorKind::Checkpoint, format!("the header cannot be written: {error}")))?;
    let header = HashMap::from([("mrpf".to_owned(), joined)]);
    let cpu: Vec<(&String, Tensor)> = tensors
        .iter()
        .map(|(name, tensor)| Ok((name, tensor.to_device(&Device::Cpu)?.contiguous()?)))
        .collect::<Result<_>>()?;
    let mut bytes = safetensors::serialize(cpu.iter().map(|(name, tensor)| (name.as_str(), tensor)), Some(header))
        .map_err(|error| Error::new(ErrorKind::Checkpoint, format!("the tensors cannot be written: {error}")))?;
    digest::seal(&mut bytes)?;
    Ok(bytes)
}

/// Named tensors and header entries from the bytes of a file that [`tensors_to_bytes`] made.
///
/// A digest in the header is checked; [`require_digest`] says whether there was one.
///
/// # Errors
/// [`ErrorKind::Checkpoint`] if the bytes are not such a file, or have changed since they were written.
pub fn tensors_from_bytes(bytes: &[u8], device: &Device) -> Result<(Weights, HashMap<String, String>)> {
    let wrong = |message: String| Error::new(ErrorKind::Checkpoint, message).hint("expected a file saved by mrpf");
    if let Some(ForeignFile { what, hint }) = foreign_file(bytes) {
        return Err(wrong(format!("it is {what}, expected a safetensors file")).hint(hint));
    }
    let not_safetensors = |error| wrong(format!("not a complete safetensors file ({error})"));
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
    let file = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
    let header = match metadata.metadata().as_ref().and_then(|entries| entries.get("mrpf")) {
        None => HashMap::new(),
        Some(joined) => serde_json::from_str::<Vec<(String, String)>>(joined)
            .map_err(|error| wrong(format!("its header cannot be read: {error}")))?
            .into_iter()
            .collect(),
    };
    if let Some(written) = header.get(digest::ENTRY) {
        digest::check(bytes, written)?;
    }
    let mut tensors = Weights::new();
    for (name, view) in file.tensors() {
        let tensor = view.load(device).context(|| format!("tensor `{name}`")).map_err(|error| match error.kind() {
            ErrorKind::Tensor => error.with_kind(ErrorKind::Checkpoint),
            _ => error,
        })?;
        if !matches!(tensor.dtype(), DType::F32 | DType::F64 | DType::U32 | DType::I64 | DType::U8) {
            return Err(wrong(format!("tensor `{name}` holds {:?}, expected f32 or f64", tensor.dtype())));
        }
        tensors.insert(name, tensor);
    }
    Ok((tensors, header))
}

/// Checks that a file whose header is `header` carried a digest, which [`tensors_from_bytes`] has compared with its bytes.
///
/// # Errors
/// [`ErrorKind::Checkpoint`] if there was none.
pub fn require_digest(header: &HashMap<String, String>) -> Result<()> {
    match header.contains_key(digest::ENTRY) {
        true => Ok(()),
        false => Err(digest::damaged("it carries no digest of its bytes")),
    }
}
