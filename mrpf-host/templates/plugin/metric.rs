//! Sensitivity metric `plugin-name`: how large the loss's gradient is with respect to each module's weight.

use mrpf_api::prelude::*;

/// Settings of `plugin-name`; these comments are their help in `mrpf plugins show plugin-name`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct PluginNameSettings {
    /// How many training images are looked at; at least 1.
    #[schemars(range(max = 100_000_000))]
    pub images: usize,
}

impl Default for PluginNameSettings {
    fn default() -> Self {
        Self { images: 256 }
    }
}

export_plugin!();

register_plugin! {
    kind: Sensitivity,
    name: "plugin-name",
    summary: "norm of the gradient times norm of the weight, per module",
    source: "own",
    settings: PluginNameSettings,
    make: |settings| Ok(Box::new(PluginName { images: settings.images.max(1) })),
}

struct PluginName {
    images: usize,
}

impl SensitivityMetric for PluginName {
    fn check(&self, _network: &Declaration) -> Result<Foresight> {
        // Asked before anything is computed. Refuse here what `measure` would refuse; it takes every network.
        Ok(Foresight::Fits)
    }

    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        let chosen = data.train.balanced_subset(self.images, &cx.streams.child("images"));
        let batch = data.train.batch(&chosen, network.dtype(), network.device())?;
        // In evaluation mode the running statistics stay as they are.
        let logits = network.forward(&batch.images, Mode::Evaluate)?;
        let gradients = loss::cross_entropy(&logits, &batch.labels, 0.0)?.backward()?;
        let norm = |tensor: &Tensor| -> Result<f64> {
            Ok(tensor.to_dtype(DType::F64)?.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?)
        };
        let modules: Vec<_> = network.declaration().modules().collect();
        let mut values = Vec::with_capacity(modules.len());
        for (at, module) in modules.iter().enumerate() {
            cx.step("modules", at, modules.len())?;
            let weight = network.parameter(&format!("{}.weight", module.name))?;
            let gradient = gradients.get(weight).map_or(Ok(0.0), norm)?;
            values.push(ModuleSensitivity { module: module.name.clone(), value: gradient * norm(weight)? });
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Sensitivity, "plugin-name")
    }
}
