//! Metric `adversarial-feature-shift`: how far an attack on the images moves what each module gives.
//!
//! For module i with the output h_i before its batch norm and its activation, the mean over the images x of
//! |h_i(x') - h_i(x)| / |h_i(x)|, where x' is x attacked by PGD and |.| the Euclidean norm over all values of one image. This is the
//! other reading of "layer-wise sensitivity to adversarial perturbations" (Bai et al. 2025, abstract), in which the images move and
//! not the weights. It needs one pass over the images where `mrs` climbs for every module.

use mrpf_api::network::Mode;
use mrpf_api::prelude::*;

/// Settings of `adversarial-feature-shift`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct FeatureShiftSettings {
    /// Images looked at, class-balanced.
    #[schemars(range(max = 100_000_000))]
    pub images: usize,
    /// Which images are looked at.
    pub split: Split,
    /// Images in a batch; changes nothing but the memory.
    #[schemars(range(max = 1_000_000))]
    pub batch: usize,
    /// Radius of the attack, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of its steps.
    #[schemars(extend("x-length" = "linf"))]
    pub attack_step_size: Fraction,
    /// Number of its steps.
    #[schemars(range(max = 10_000))]
    pub attack_steps: usize,
}

impl Default for FeatureShiftSettings {
    fn default() -> Self {
        Self {
            images: 1024,
            split: Split::Train,
            batch: 128,
            epsilon: Fraction::new(8, 255),
            attack_step_size: Fraction::new(2, 255),
            attack_steps: 10,
        }
    }
}

register_plugin! {
    kind: Sensitivity,
    name: "adversarial-feature-shift",
    summary: "relative change of a module's output between clean and attacked images",
    source: "own reading of the abstract of Bai et al. 2025, arXiv 2410.15176",
    settings: FeatureShiftSettings,
    make: |settings| Ok(Box::new(FeatureShift::new(settings)?)),
}

/// A checked metric.
pub struct FeatureShift(ProbeImages);

impl FeatureShift {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the setting, what was found and what was expected.
    pub fn new(settings: FeatureShiftSettings) -> Result<Self> {
        let FeatureShiftSettings { images, split, batch, epsilon, attack_step_size, attack_steps } = settings;
        let probe = ProbeImages { split, images, batch, epsilon, attack_step_size, attack_steps };
        probe.check()?;
        Ok(Self(probe))
    }
}

/// Relative shift of each module's output between `clean` and `attacked` images `[batch, channel, height, width]`, for each image;
/// modules in forward order. Batch norm is in evaluation mode.
///
/// An image for which a module gives nothing but zeros either way has the shift 0.
///
/// # Errors
/// [`ErrorKind::Data`] for images of another shape than the network takes.
pub fn feature_shifts(network: &Network, clean: &Tensor, attacked: &Tensor) -> Result<Vec<Vec<f64>>> {
    let modules: Vec<&str> = network.declaration().modules().map(|layer| layer.name.as_str()).collect();
    let outputs = |images: &Tensor| -> Result<Vec<Tensor>> {
        let mut outputs = Vec::with_capacity(modules.len());
        network.forward_tapped(&network.frozen_weights(), images, Mode::Evaluate, &mut |layer, output| {
            if modules.contains(&layer) {
                outputs.push(output.clone());
            }
            Ok(())
        })?;
        Ok(outputs)
    };
    let images = clean.dim(0)?;
    let pairs = outputs(clean)?.into_iter().zip(outputs(attacked)?);
    pairs
        .map(|(clean, attacked)| {
            let (moved, before) = (norms(&(attacked - &clean)?, images)?, norms(&clean, images)?);
            let shift = |(moved, before): (f64, f64)| if moved == 0.0 { 0.0 } else { moved / before.max(f64::EPSILON) };
            Ok(moved.into_iter().zip(before).map(shift).collect())
        })
        .collect()
}

/// Euclidean norm over all axes but the first, which is the image's for maps, vectors and tokens alike.
fn norms(values: &Tensor, images: usize) -> Result<Vec<f64>> {
    let of_image = values.in_f64()?.contiguous()?.reshape((images, ()))?;
    Ok(of_image.sqr()?.sum(1)?.sqrt()?.to_vec1()?)
}

impl SensitivityMetric for FeatureShift {
    fn check(&self, _network: &Declaration) -> Result<Foresight> {
        Ok(Foresight::Fits)
    }

    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        let clean = self.0.clean(cx, network, data)?;
        let attacked = self.0.attacked(cx, network, &network.freeze()?, data)?;
        let modules: Vec<String> = network.declaration().modules().map(|layer| layer.name.clone()).collect();
        let mut sums = vec![0.0; modules.len()];
        let mut parts = cx.parts(clean.len(), self.0.batch, || network.release_memory());
        while let Some(shifts) = parts.next_part(|part| {
            cx.step("shift of features", part.start, clean.len())?;
            let narrow = |images: &Tensor| images.narrow(0, part.start, part.len());
            feature_shifts(network, &narrow(&clean.images)?, &narrow(&attacked.images)?)
        })? {
            for (sum, shifts) in sums.iter_mut().zip(shifts) {
                // Image by image, so that the sum does not hang on the batch.
                shifts.into_iter().for_each(|shift| *sum += shift);
            }
        }
        let images = clean.len() as f64;
        let of_module = |(module, sum): (String, f64)| match (sum / images).is_finite() {
            true => Ok(ModuleSensitivity { module, value: sum / images }),
            false => {
                let message = format!("the output of module `{module}` is not finite");
                Err(Error::new(ErrorKind::Numeric, message))
            }
        };
        modules.into_iter().zip(sums).map(of_module).collect()
    }
}

#[cfg(test)]
mod tests;
