//! Broken sensitivity metrics are found out.

use super::*;

impl SensitivityMetric for Broken {
    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        let mut seen = 0;
        if self.is("counts what had no room") {
            let mut parts = cx.parts(data.train.len(), 32, || Ok(()));
            while let Some(()) = parts.next_part(|part| {
                seen += part.len();
                Ok(())
            })? {}
        }
        if self.is("moves the statistics") {
            let batch = data.train.batch(&[0, 1, 2, 3], DType::F32, &Device::Cpu)?;
            network.forward(&batch.images, Mode::Train)?;
        }
        let value = |at: usize| match self.how.as_str() {
            "not finite" => f64::NEG_INFINITY,
            "unseeded" => self.fraction(),
            _ => (at + seen) as f64,
        };
        let modules = network.declaration().modules().enumerate();
        let mut all: Vec<_> =
            modules.map(|(at, layer)| ModuleSensitivity { module: layer.name.clone(), value: value(at) }).collect();
        if self.is("disorder") {
            all.reverse();
        }
        Ok(all)
    }
}

#[test]
fn metrics() -> Result<()> {
    let finite = "it gives one finite number for each module, in order";
    let few = "the numbers are the same where a GPU has room for few images";
    assert_broken(
        Kind::Sensitivity,
        "broken-metric",
        &[
            ("not finite", &[finite]),
            ("disorder", &[finite]),
            ("unseeded", &["the same seed gives the same numbers", few]),
            ("counts what had no room", &[few]),
            ("moves the statistics", &["the network is left as it was"]),
        ],
    )
}
