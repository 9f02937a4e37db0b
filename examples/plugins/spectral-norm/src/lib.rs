//! Sensitivity metric `spectral-norm`: how much each module's weight can stretch what it is given.

use mrpf_api::prelude::*;

/// Settings of `spectral-norm`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct SpectralNormSettings {
    /// Rounds of the power iteration; at least 1.
    #[schemars(range(max = 10_000))]
    pub rounds: usize,
}

impl Default for SpectralNormSettings {
    fn default() -> Self {
        Self { rounds: 50 }
    }
}

export_plugin!();

register_plugin! {
    kind: Sensitivity,
    name: "spectral-norm",
    summary: "largest singular value of each module's weight as a matrix; looks at no image",
    source: "power iteration as in Miyato et al. 2018, arXiv 1802.05957, section 2.1",
    settings: SpectralNormSettings,
    make: |settings| Ok(Box::new(SpectralNorm { rounds: settings.rounds.max(1) })),
}

struct SpectralNorm {
    rounds: usize,
}

impl SpectralNorm {
    /// Largest singular value of a weight `[out, ...]`, read as a matrix with `out` rows.
    fn of_weight(&self, weight: &Tensor, streams: &Streams) -> Result<f64> {
        let matrix = weight.in_f64()?.flatten_from(1)?;
        let mut right = streams.stream().normal(&[matrix.dim(1)?, 1], DType::F64, matrix.device())?;
        let length = |vector: &Tensor| -> Result<f64> { Ok(vector.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?) };
        let mut stretched = 0.0;
        for _ in 0..self.rounds {
            right = (&right / length(&right)?.max(1e-300))?;
            let left = matrix.matmul(&right)?;
            stretched = length(&left)?;
            right = matrix.t()?.matmul(&left)?;
        }
        Ok(stretched)
    }
}

impl SensitivityMetric for SpectralNorm {
    fn measure(&self, cx: &CallContext<'_>, network: &Network, _data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        let modules: Vec<_> = network.declaration().modules().collect();
        let mut values = Vec::with_capacity(modules.len());
        for (at, module) in modules.iter().enumerate() {
            cx.step("modules", at, modules.len())?;
            let weight = network.parameter(&format!("{}.weight", module.name))?.as_detached_tensor();
            let value = self.of_weight(&weight, &cx.streams.child(&module.name))?;
            values.push(ModuleSensitivity { module: module.name.clone(), value });
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Sensitivity, "spectral-norm")
    }

    #[test]
    fn the_norm_is_the_largest_singular_value() -> Result<()> {
        let metric = SpectralNorm { rounds: 50 };
        let norm = |weight: Tensor| metric.of_weight(&weight, &Streams::new(0));
        // Singular values 3 and 1, turned: [[2, 1], [1, 2]]; and the zero matrix.
        assert!((norm(Tensor::new(&[[2.0, 1.0], [1.0, 2.0]], &Device::Cpu)?)? - 3.0).abs() < 1e-9);
        assert!((norm(Tensor::new(&[[0.0, -5.0, 0.0]], &Device::Cpu)?)? - 5.0).abs() < 1e-9);
        assert_eq!(norm(Tensor::zeros((2, 3), DType::F64, &Device::Cpu)?)?, 0.0);
        Ok(())
    }
}
