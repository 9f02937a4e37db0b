//! A state dictionary of PyTorch in a safetensors file.

use mrpf_api::candle_core::safetensors::Load;
use mrpf_api::candle_core::{DType, Device, Tensor};
use mrpf_api::network::{ForeignFile, Weights, foreign_file};
use mrpf_api::{Error, ErrorKind, Result};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use std::collections::{BTreeMap, BTreeSet};

use super::beside::{self, Beside, LeftOut, leave_out};
use super::masks::{self, scored};
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
    /// What was left out because no network computes with it.
    pub left_out: Vec<LeftOut>,
    /// Scores of weights, of which those with the lowest ones are zero in the network that was trained.
    pub scores: Weights,
    /// Weights that a mask was multiplied into.
    pub masked: Vec<String>,
    /// Tensors that cannot be weights, and why.
    pub unusable: BTreeMap<String, String>,
}

/// A mean or standard deviation of each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffer {
    /// Its name in the file.
    pub name: String,
    /// One value for each channel.
    pub values: Vec<f64>,
}

/// What `mrpf` writes into the headers of networks.
const OURS: &[u8] = b"mrpf.declaration";
/// Images have so many channels or fewer; with more, some convolution must read as many as a mean has values.
const FEW_CHANNELS: usize = 4;

impl StateDict {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`] if they are no safetensors file; the hint says what to do.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if let Some(ForeignFile { what, hint }) = foreign_file(bytes) {
            return Err(wrong(&format!("it is {what}, expected a safetensors file")).hint(hint));
        }
        if header(bytes).is_some_and(|header| header.windows(OURS.len()).any(|part| part == OURS)) {
            return Err(wrong("it is a network of mrpf already")
                .hint("every command takes it as it is, for example `mrpf summary --model FILE`"));
        }
        let not_safetensors = |error| {
            wrong(&format!("not a complete safetensors file ({error})"))
                .hint("it is cut off or of another kind; safetensors.torch.save_file(state_dict, path) writes one")
        };
        let file = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
        let (buffers, beside) = (NormalisationNames::built_in()?, beside::Names::built_in()?);
        let mut views = file.tensors();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        let reads: Vec<usize> =
            views.iter().filter(|(_, view)| view.shape().len() == 4).map(|(_, view)| view.shape()[1]).collect();
        let shapes: BTreeMap<&str, &[usize]> = views.iter().map(|(name, view)| (name.as_str(), view.shape())).collect();
        let mut found = Self::default();
        let mut masks = Weights::new();
        for (name, view) in &views {
            let kind = beside.of(name);
            if let Beside::Ignored(what) = kind {
                leave_out(&mut found.left_out, what, name.clone());
                continue;
            }
            let tensor = match number(view, kind == Beside::Mask) {
                Ok(tensor) => tensor,
                Err(why) => {
                    found.unusable.insert(name.clone(), why);
                    continue;
                }
            };
            if kind == Beside::Mask {
                masks.insert(name.clone(), tensor);
                continue;
            }
            if kind == Beside::Scores && shapes.get(scored(name).as_str()) == Some(&view.shape()) {
                found.scores.insert(name.clone(), tensor);
                continue;
            }
            let values = tensor.elem_count();
            let is_row = view.shape().iter().filter(|size| **size != 1).count() <= 1;
            let is = |known: &[String]| {
                let called = known.iter().any(|known| known == role(name));
                called && is_row && (values <= FEW_CHANNELS || reads.contains(&values))
            };
            if !is(&buffers.mean) && !is(&buffers.std) {
                found.count_converted(view.dtype());
                found.tensors.insert(name.clone(), tensor);
                continue;
            }
            let slot = if is(&buffers.mean) { &mut found.mean } else { &mut found.std };
            let buffer = Buffer { values: numbers(&tensor)?, name: name.clone() };
            match slot {
                None => *slot = Some(buffer),
                Some(first) if first.values == buffer.values => {
                    leave_out(&mut found.left_out, "copies of means and deviations", name.clone());
                }
                Some(_) => _ = found.tensors.insert(name.clone(), tensor),
            }
        }
        masks::apply(&mut found, masks)?;
        Ok(found)
    }

    fn count_converted(&mut self, kind: safetensors::Dtype) {
        let kind = kind.to_string().to_ascii_lowercase();
        if kind == "f32" {
            return;
        }
        match self.converted.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => self.converted.push((kind, 1)),
        }
    }

    /// Whether `mrpf export` wrote it: its networks normalise in a layer of that name.
    pub fn ours(&self) -> bool {
        self.mean.as_ref().is_some_and(|buffer| buffer.name == "normalize.mean")
    }

    /// What the names of the weights may begin with: nothing, and what wrappers such as `DataParallel` (`module.`) and `Sequential` (`1.`)
    /// put before them. Other tensors may stand beside those of the network, hence all beginnings that many names share, the short first.
    pub fn wrappings(&self) -> Vec<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.tensors.keys() {
            let dots: Vec<usize> = name.match_indices('.').map(|(at, _)| at).collect();
            // A layer and its role must be left.
            for at in dots.iter().rev().skip(1) {
                *counts.entry(&name[..=*at]).or_default() += 1;
            }
        }
        let shared = counts.into_iter().filter(|(_, count)| count * SHARE >= self.tensors.len());
        let mut all: Vec<String> = shared.map(|(wrapping, _)| wrapping.to_owned()).collect();
        all.push(String::new());
        all.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        all
    }

    /// Tensors outside of a wrapping that are equal to one inside: a second copy of the network, such as that of an attacker.
    pub(super) fn copies(&self, wrapping: &str) -> Result<BTreeSet<String>> {
        let mut copies = BTreeSet::new();
        if wrapping.is_empty() {
            return Ok(copies);
        }
        for (name, tensor) in self.tensors.iter().filter(|(name, _)| !name.starts_with(wrapping)) {
            let inside =
                name.match_indices('.').find_map(|(at, _)| self.tensors.get(&format!("{wrapping}{}", &name[at + 1..])));
            if let Some(inside) = inside.filter(|inside| inside.dims() == tensor.dims())
                && inside.flatten_all()?.to_vec1::<f32>()? == tensor.flatten_all()?.to_vec1::<f32>()?
            {
                copies.insert(name.clone());
            }
        }
        Ok(copies)
    }
}

/// A beginning is tried that one in so many names has.
const SHARE: usize = 4;

/// The numbers in f32, or why they are no weights; those of a mask may be of any type.
fn number(view: &TensorView<'_>, is_mask: bool) -> Result<Tensor, String> {
    use safetensors::Dtype;
    let kind = view.dtype();
    let name = kind.to_string().to_ascii_lowercase();
    let loaded = match kind {
        Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16 => view.load(&Device::Cpu),
        Dtype::U8 | Dtype::U32 | Dtype::I64 if is_mask => view.load(&Device::Cpu),
        // A byte each.
        Dtype::BOOL if is_mask => Tensor::from_vec(view.data().to_vec(), view.shape(), &Device::Cpu),
        _ => return Err(format!("holds {name}, expected f32, f64, f16 or bf16")),
    };
    let single = loaded.and_then(|tensor| tensor.to_dtype(DType::F32));
    let values = single.as_ref().map_err(ToString::to_string)?.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
    match values.map_err(|error| error.to_string())?.iter().all(|value| value.is_finite()) {
        true => single.map_err(|error| error.to_string()),
        false => Err("holds a value that is not finite in f32".into()),
    }
}

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
fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
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
        assert_eq!(found.left_out[0].tensors, ["1.bn1.num_batches_tracked"]);
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
    fn what_is_no_safetensors_file_is_refused() {
        for (bytes, told) in [
            (b"PK\x03\x04rest".to_vec(), "it is a pickle"),
            (b"\x80\x02rest".to_vec(), "it is a pickle"),
            (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "it is a Git LFS pointer"),
            (b"<!DOCTYPE html>".to_vec(), "it is a web page"),
            (Vec::new(), "not a complete safetensors file"),
            (vec![0xff; 64], "not a complete safetensors file"),
        ] {
            let error = StateDict::from_bytes(&bytes).expect_err(told);
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn all_that_cannot_be_weights_is_found_at_once() -> Result<()> {
        let infinite = Tensor::new(&[1e300_f64], &Device::Cpu)?;
        let no_number = Tensor::new(&[f32::NAN], &Device::Cpu)?;
        let found = StateDict::from_bytes(&file(&[
            ("a.weight", ones(&[2], DType::U8)),
            ("b.weight", infinite),
            ("c.weight", no_number),
            ("d.weight", ones(&[2], DType::F32)),
            ("e.thing", ones(&[2], DType::I64)),
        ]))?;
        let told: Vec<(&str, &str)> = found.unusable.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
        let (kind, finite) = ("expected f32, f64, f16 or bf16", "holds a value that is not finite in f32");
        assert_eq!(
            told,
            [
                ("a.weight", format!("holds u8, {kind}").as_str()),
                ("b.weight", finite),
                ("c.weight", finite),
                ("e.thing", format!("holds i64, {kind}").as_str()),
            ]
        );
        assert_eq!(found.tensors.keys().collect::<Vec<_>>(), ["d.weight"]);
        Ok(())
    }

    #[test]
    fn a_mean_has_as_many_values_as_a_convolution_reads_channels() -> Result<()> {
        let read = |channels: usize, values: usize| {
            StateDict::from_bytes(&file(&[
                ("mean", ones(&[values, 1, 1], DType::F32)),
                ("net.conv.weight", ones(&[8, channels, 1, 1], DType::F32)),
            ]))
        };
        assert_eq!(read(13, 13)?.mean.map(|buffer| buffer.values.len()), Some(13));
        assert_eq!(read(13, 1)?.mean.map(|buffer| buffer.values.len()), Some(1));
        assert_eq!(read(13, 12)?.mean, None);
        Ok(())
    }

    #[test]
    fn a_second_copy_of_a_network_is_recognised_by_its_values() -> Result<()> {
        let value = |value: f32| Tensor::new(&[value], &Device::Cpu);
        let found = StateDict::from_bytes(&file(&[
            ("module.attacker.model.a.weight", value(1.0)?),
            ("module.attacker.model.b.weight", value(2.0)?),
            ("module.model.a.weight", value(1.0)?),
            ("module.model.b.weight", value(3.0)?),
        ]))?;
        let copies = found.copies("module.model.")?;
        assert_eq!(copies.into_iter().collect::<Vec<_>>(), ["module.attacker.model.a.weight"]);
        assert_eq!(found.wrappings()[..3], ["", "module.", "module.model."]);
        Ok(())
    }
}
