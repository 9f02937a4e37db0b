//! Weights that are zero where a mask says so: the mask is multiplied in, or known to be in them already.

use mrpf_api::candle_core::Tensor;
use mrpf_api::network::Weights;
use mrpf_api::{Error, ErrorKind, Result};

use super::beside::leave_out;
use super::state_dict::StateDict;

/// What pruned weights and their masks are called by `torch.nn.utils.prune`, behind the parameter's name.
const ORIGINAL: &str = "_orig";
const MASK: &str = "_mask";
/// The parameter of which a plain `mask` and scores are.
const WEIGHT: &str = "weight";

/// Multiplies masks into the weights that lack them; those that change nothing are left out, and all others cannot be taken.
pub(super) fn apply(file: &mut StateDict, masks: Weights) -> Result<()> {
    for (name, mask) in masks {
        let parameter = parameter(&name);
        let original = format!("{parameter}{ORIGINAL}");
        if let Some(weights) = file.tensors.get(&original).filter(|_| !file.tensors.contains_key(&parameter)) {
            if weights.dims() != mask.dims() {
                let why = format!("a mask of shape {:?}, expected {:?} as `{original}`", mask.dims(), weights.dims());
                file.unusable.insert(name, why);
                continue;
            }
            let masked = (weights * &mask)?;
            file.tensors.remove(&original);
            file.tensors.insert(parameter.clone(), masked);
            file.masked.push(parameter);
            continue;
        }
        let why = match file.tensors.get(&parameter) {
            Some(weights) if weights.dims() == mask.dims() => match is_in(&mask, weights)? {
                true => {
                    leave_out(&mut file.left_out, "masks whose zeros the weights have already", name);
                    continue;
                }
                false => format!("a mask, and `{parameter}` has other numbers where it is zero"),
            },
            Some(weights) => {
                format!("a mask of shape {:?}, and `{parameter}` is {:?}", mask.dims(), weights.dims())
            }
            None => format!("a mask, and there is no `{parameter}`"),
        };
        file.unusable.insert(name, why);
    }
    Ok(())
}

/// The parameter that a mask is of: `conv1.weight_mask` and `conv1.mask` are of `conv1.weight`.
fn parameter(mask: &str) -> String {
    let (layer, role) = mask.rsplit_once('.').unwrap_or(("", mask));
    let role = role.strip_suffix(MASK).filter(|role| ["weight", "bias"].contains(role)).unwrap_or(WEIGHT);
    if layer.is_empty() { role.to_owned() } else { format!("{layer}.{role}") }
}

/// Whether the weights are zero wherever the mask is.
fn is_in(mask: &Tensor, weights: &Tensor) -> Result<bool> {
    let numbers = |tensor: &Tensor| -> Result<Vec<f32>> { Ok(tensor.flatten_all()?.to_vec1()?) };
    let (mask, weights) = (numbers(mask)?, numbers(weights)?);
    Ok(mask.iter().zip(&weights).all(|(mask, weight)| *mask == 1.0 || *weight == 0.0))
}

/// The weights whose scores these are.
pub(super) fn scored(scores: &str) -> String {
    match scores.rsplit_once('.') {
        Some((layer, _)) => format!("{layer}.{WEIGHT}"),
        None => WEIGHT.to_owned(),
    }
}

impl StateDict {
    /// Sets the weights with the lowest scores of each layer to zero, as HYDRA and edge-popup do when the network runs; `density` is the
    /// share that is left (the authors' `k`).
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] if the file holds no scores or the density is none.
    pub fn apply_scores(&mut self, density: f64) -> Result<()> {
        let wrong = |message: String| Error::new(ErrorKind::Settings, message);
        if !(density > 0.0 && density <= 1.0) {
            return Err(wrong(format!(
                "--popup-density {density}, expected the share of weights to keep, above 0 and at most 1"
            )));
        }
        if self.scores.is_empty() {
            let message = "--popup-density is given, but the file holds no scores such as `conv1.popup_scores`";
            return Err(wrong(message.into()).hint("leave --popup-density out"));
        }
        for (name, scores) in std::mem::take(&mut self.scores) {
            let weight = scored(&name);
            // Scores without weights of their shape are not taken for scores when the file is read.
            if let Some(tensor) = self.tensors.get_mut(&weight) {
                *tensor = (&*tensor * mask_of(&scores, density)?)?;
                self.masked.push(weight);
            }
        }
        Ok(())
    }
}

/// Ones at the highest absolute scores, zeros at the `1 - density` lowest, rounded down.
fn mask_of(scores: &Tensor, density: f64) -> Result<Tensor> {
    let sizes: Vec<f32> = scores.abs()?.flatten_all()?.to_vec1()?;
    let zeros = ((1.0 - density) * sizes.len() as f64) as usize;
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by(|&a, &b| sizes[a].total_cmp(&sizes[b]));
    let mut mask = vec![1.0_f32; sizes.len()];
    order[..zeros].iter().for_each(|&at| mask[at] = 0.0);
    Ok(Tensor::from_vec(mask, scores.dims(), scores.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::candle_core::{DType, Device};

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).expect("a tensor")
    }

    fn held(tensors: &[(&str, &[f32])]) -> StateDict {
        let tensors = tensors.iter().map(|(name, values)| ((*name).to_owned(), tensor(values))).collect();
        StateDict { tensors, ..StateDict::default() }
    }

    #[test]
    fn the_highest_scores_of_a_layer_stay() -> Result<()> {
        for (density, expected) in [
            (1.0, [1.0, 1.0, 1.0, 1.0]),
            (0.5, [0.0, 1.0, 1.0, 0.0]),
            (0.6, [0.0, 1.0, 1.0, 1.0]),
            (0.1, [0.0, 1.0, 0.0, 0.0]),
        ] {
            let mask = mask_of(&tensor(&[0.1, -4.0, 2.0, 1.0]), density)?;
            assert_eq!(mask.to_vec1::<f32>()?, expected, "{density}");
        }
        let mut file = held(&[("a.weight", &[1.0, 2.0]), ("b.weight", &[3.0, 4.0])]);
        file.scores.insert("a.popup_scores".into(), tensor(&[1.0, -2.0]));
        file.apply_scores(0.5)?;
        assert_eq!(file.tensors["a.weight"].to_vec1::<f32>()?, [0.0, 2.0]);
        assert_eq!(file.tensors["b.weight"].to_vec1::<f32>()?, [3.0, 4.0]);
        assert_eq!(file.masked, ["a.weight"]);
        Ok(())
    }

    #[test]
    fn a_density_needs_scores_and_is_a_share() {
        for density in [0.0, -1.0, 1.1, f64::NAN] {
            assert_eq!(held(&[]).apply_scores(density).expect_err("no share").kind(), ErrorKind::Settings);
        }
        let error = held(&[("a.weight", &[1.0])]).apply_scores(0.5).expect_err("no scores");
        assert!(error.to_string().contains("the file holds no scores"), "{error}");
    }

    #[test]
    fn masks_are_multiplied_in_or_left_out_or_told() -> Result<()> {
        let masks = |names: &[&str]| -> Weights {
            names.iter().map(|name| ((*name).to_owned(), tensor(&[1.0, 0.0]))).collect()
        };
        let mut file = held(&[
            ("a.weight_orig", &[5.0, 6.0]),
            ("a.bias_orig", &[7.0, 8.0]),
            ("b.weight", &[5.0, 0.0]),
            ("c.weight", &[5.0, 6.0]),
            ("d.weight_orig", &[1.0]),
        ]);
        apply(&mut file, masks(&["a.weight_mask", "a.bias_mask", "b.mask", "c.mask", "d.weight_mask", "e.mask"]))?;
        assert_eq!(file.tensors["a.weight"].to_vec1::<f32>()?, [5.0, 0.0]);
        assert_eq!(file.tensors["a.bias"].to_vec1::<f32>()?, [7.0, 0.0]);
        assert!(file.tensors.keys().all(|name| !name.starts_with("a.weight_")), "{:?}", file.tensors.keys());
        assert_eq!(file.left_out[0].tensors, ["b.mask"]);
        let told: Vec<(&str, &str)> = file.unusable.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
        assert_eq!(
            told,
            [
                ("c.mask", "a mask, and `c.weight` has other numbers where it is zero"),
                ("d.weight_mask", "a mask of shape [2], expected [1] as `d.weight_orig`"),
                ("e.mask", "a mask, and there is no `e.weight`"),
            ]
        );
        assert_eq!(file.tensors["c.weight"].dtype(), DType::F32);
        Ok(())
    }
}
