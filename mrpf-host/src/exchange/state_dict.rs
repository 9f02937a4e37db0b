//! A state dictionary of PyTorch in a safetensors file.

use mrpf_api::candle_core::safetensors::{Load, SliceSafetensors};
use mrpf_api::candle_core::{DType, Device, Tensor};
use mrpf_api::network::Weights;
use mrpf_api::{Context, Error, ErrorKind, Result};

use super::names::NormalisationNames;

/// What a file holds.
#[derive(Debug, Clone, Default)]
pub struct StateDict {
    /// Weights and running statistics in f32, by their names in the file.
    pub tensors: Weights,
    /// What a wrapper subtracts from the images, if the file says so.
    pub mean: Option<Buffer>,
    /// What it divides them by.
    pub std: Option<Buffer>,
    /// How many tensors were of another type than f32, and which, in the order of their names.
    pub converted: Vec<(String, usize)>,
    /// How many counters of batches were left out, which no network needs.
    pub counters: usize,
}

/// A mean or standard deviation of each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffer {
    /// Its name in the file.
    pub name: String,
    /// One value for each channel.
    pub values: Vec<f64>,
}

/// How a file begins that `torch.save` wrote: as a ZIP archive, and before PyTorch 1.6 as a pickle.
const PICKLES: [&[u8]; 2] = [b"PK\x03\x04", b"\x80\x02"];
/// What `mrpf` writes into the headers of networks.
const OURS: &[u8] = b"mrpf.declaration";
/// A counter of batch norm that only trainings without momentum read.
const COUNTER: &str = "num_batches_tracked";

impl StateDict {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if they are no safetensors file, or hold what no weight can be; the hint says what to do.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if PICKLES.iter().any(|start| bytes.starts_with(start)) {
            return Err(wrong("it is a pickle as `torch.save` writes it, expected a safetensors file").hint(CONVERT));
        }
        if header(bytes).is_some_and(|header| header.windows(OURS.len()).any(|part| part == OURS)) {
            return Err(wrong("it is a network of mrpf already")
                .hint("every command takes it as it is, for example `mrpf summary --model FILE`"));
        }
        let not_safetensors = |error| {
            wrong(&format!("not a complete safetensors file ({error})"))
                .hint("it is cut off or of another kind; safetensors.torch.save_file(state_dict, path) writes one")
        };
        let file = SliceSafetensors::new(bytes).map_err(not_safetensors)?;
        let names = NormalisationNames::built_in()?;
        let mut found = Self::default();
        let mut views = file.tensors();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, view) in views {
            if role(&name) == COUNTER {
                found.counters += 1;
                continue;
            }
            let tensor = view.load(&Device::Cpu).context(|| format!("tensor `{name}`"))?;
            let tensor = found.in_f32(&name, &tensor)?;
            let is = |known: &[String]| known.iter().any(|known| known == role(&name)) && tensor.elem_count() <= 4;
            let slot = match (is(&names.mean), is(&names.std)) {
                (true, _) if found.mean.is_none() => &mut found.mean,
                (_, true) if found.std.is_none() => &mut found.std,
                _ => {
                    found.tensors.insert(name, tensor);
                    continue;
                }
            };
            *slot = Some(Buffer { values: values(&tensor)?, name });
        }
        Ok(found)
    }

    fn in_f32(&mut self, name: &str, tensor: &Tensor) -> Result<Tensor> {
        let kind = tensor.dtype();
        if !matches!(kind, DType::F32 | DType::F64 | DType::F16 | DType::BF16) {
            return Err(wrong(&format!("tensor `{name}` holds {}, expected f32, f64, f16 or bf16", kind.as_str()))
                .hint("quantised weights cannot be imported; remove what is no weight from the state dictionary"));
        }
        let single = tensor.to_dtype(DType::F32)?;
        if single.flatten_all()?.to_vec1::<f32>()?.iter().any(|value| !value.is_finite()) {
            return Err(wrong(&format!("tensor `{name}` holds a value that is not finite in f32")));
        }
        if kind != DType::F32 {
            match self.converted.iter_mut().find(|(known, _)| known == kind.as_str()) {
                Some((_, count)) => *count += 1,
                None => self.converted.push((kind.as_str().to_owned(), 1)),
            }
        }
        Ok(single)
    }

    /// Whether `mrpf export` wrote it: its networks normalise in a layer of that name.
    pub fn ours(&self) -> bool {
        self.mean.as_ref().is_some_and(|buffer| buffer.name == "normalize.mean")
    }

    /// What the names of all tensors may begin with: nothing, and what wrappers such as `DataParallel` (`module.`) and
    /// `Sequential` (`1.`) put before them.
    pub fn wrappings(&self) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut prefix = String::new();
        while let Some(first) = self.tensors.keys().next().and_then(|name| name[prefix.len()..].split('.').next()) {
            let longer = format!("{prefix}{first}.");
            // A layer and its role must be left.
            let wraps = |name: &String| name.strip_prefix(&longer).is_some_and(|rest| rest.contains('.'));
            if !self.tensors.keys().all(wraps) {
                break;
            }
            all.push(longer.clone());
            prefix = longer;
        }
        all
    }
}

const CONVERT: &str = "pickles run code when they are opened; in Python, from a source you trust:
    import torch; from safetensors.torch import save_file
    save_file({k: v.contiguous() for k, v in torch.load(\"FILE.pth\", map_location=\"cpu\").items()}, \"FILE.safetensors\")
  where the checkpoint holds more than weights, take them out of it first, for example [\"state_dict\"]";

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::Checkpoint, message)
}

/// What a tensor is in its layer: the last part of its name.
fn role(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The text before the tensors: its length in eight bytes stands in front.
fn header(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

/// The numbers as they were written in Python: the shortest decimal that is this f32.
fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    let single = tensor.flatten_all()?.to_vec1::<f32>()?;
    Ok(single.into_iter().map(|value| value.to_string().parse().unwrap_or(f64::from(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tensors: &[(&str, Tensor)]) -> Vec<u8> {
        safetensors::serialize(tensors.iter().map(|(name, tensor)| (*name, tensor)), None).expect("bytes")
    }

    fn ones(shape: &[usize], dtype: DType) -> Tensor {
        Tensor::ones(shape, dtype, &Device::Cpu).expect("a tensor")
    }

    #[test]
    fn buffers_and_counters_are_told_from_weights() -> Result<()> {
        let mean = Tensor::new(&[0.4914_f32, 0.4822, 0.4465], &Device::Cpu)?.reshape((1, 3, 1, 1))?;
        let found = StateDict::from_bytes(&file(&[
            ("0.mean", mean),
            ("0.std", ones(&[1], DType::F32)),
            ("1.bn1.num_batches_tracked", Tensor::new(7_i64, &Device::Cpu)?),
            ("1.bn1.running_mean", ones(&[2], DType::F16)),
            ("1.conv1.weight", ones(&[2, 3, 1, 1], DType::F64)),
            ("1.bn1.weight", ones(&[2], DType::BF16)),
            ("1.bn1.bias", ones(&[2], DType::F16)),
        ]))?;
        assert_eq!(found.mean, Some(Buffer { name: "0.mean".into(), values: vec![0.4914, 0.4822, 0.4465] }));
        assert_eq!(found.std, Some(Buffer { name: "0.std".into(), values: vec![1.0] }));
        assert_eq!(found.counters, 1);
        assert_eq!(found.converted, [("f16".to_owned(), 2), ("bf16".to_owned(), 1), ("f64".to_owned(), 1)]);
        assert!(found.tensors.values().all(|tensor| tensor.dtype() == DType::F32));
        assert_eq!(found.wrappings(), ["", "1."]);
        Ok(())
    }

    #[test]
    fn wrappings_leave_layer_and_role() -> Result<()> {
        for (names, expected) in [
            (["module.1.a.weight", "module.1.a.bias"], vec!["", "module.", "module.1."]),
            (["a.weight", "b.weight"], vec![""]),
            (["a.weight", "a.bias"], vec![""]),
        ] {
            let tensors = names.map(|name| (name, ones(&[1], DType::F32)));
            assert_eq!(StateDict::from_bytes(&file(&tensors))?.wrappings(), expected);
        }
        assert_eq!(StateDict::default().wrappings(), [""]);
        Ok(())
    }

    #[test]
    fn what_is_no_weight_is_refused() {
        let infinite = Tensor::new(&[1e300_f64], &Device::Cpu).expect("a tensor");
        for (bytes, told) in [
            (b"PK\x03\x04rest".to_vec(), "it is a pickle"),
            (b"\x80\x02rest".to_vec(), "it is a pickle"),
            (Vec::new(), "not a complete safetensors file"),
            (vec![0xff; 64], "not a complete safetensors file"),
            (file(&[("a.weight", ones(&[2], DType::U8))]), "tensor `a.weight` holds u8"),
            (file(&[("a.weight", infinite)]), "tensor `a.weight` holds a value that is not finite"),
        ] {
            let error = StateDict::from_bytes(&bytes).expect_err(told);
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
