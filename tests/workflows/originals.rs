//! Every architecture beside its original's own code in PyTorch, as `tests/fixtures/architectures.py` recorded it.

use mrpf_api::coupling::cost;
use mrpf_api::network::{parameter_specs, statistic_specs};
use mrpf_api::prelude::*;
use mrpf_host::experiment::PluginChoice;
use mrpf_test_support::{Fixture, largest_difference};
use serde_json::{Map, Value};

use crate::seeded::{filled, outputs, uniform};

const MEAN: [f64; 3] = [0.4914, 0.4822, 0.4465];
const STD: [f64; 3] = [0.2470, 0.2435, 0.2616];

#[derive(serde::Deserialize)]
struct Row {
    architecture: String,
    settings: Map<String, Value>,
    size: usize,
    params: u64,
    macs: u64,
    /// The name under which its outputs are recorded, if they are.
    recorded: Option<String>,
}

impl Row {
    fn declaration(&self) -> Result<Declaration> {
        let choice = PluginChoice { name: self.architecture.clone(), settings: self.settings.clone() };
        let input = ImageShape { channels: 3, height: self.size, width: self.size };
        let request = ArchitectureRequest { input, classes: 10, mean: MEAN.into(), std: STD.into() };
        choice.make::<dyn Architecture>()?.declare(&request)
    }
}

fn rows() -> Vec<Row> {
    serde_json::from_str(include_str!("../fixtures/architectures.json")).expect("a list of rows")
}

fn network(declaration: Declaration) -> Result<Network> {
    let tensors = |specs: Vec<mrpf_api::network::TensorSpec>| -> Result<Weights> {
        specs.into_iter().map(|spec| Ok((spec.name.clone(), filled(&spec.name, &spec.shape)?))).collect()
    };
    let (parameters, statistics) = (tensors(parameter_specs(&declaration))?, tensors(statistic_specs(&declaration))?);
    Network::from_tensors(declaration, parameters, statistics)
}

#[test]
fn parameters_and_multiply_accumulates_are_counted_as_pytorch_counts_them() -> Result<()> {
    for row in rows() {
        let found = cost(&row.declaration()?)?;
        let about = format!("{} {:?} at {}", row.architecture, row.settings, row.size);
        assert_eq!((found.params, found.macs), (row.params, row.macs), "{about}");
    }
    Ok(())
}

#[test]
fn logits_and_gradients_of_the_images_are_pytorchs() -> Result<()> {
    let recorded = Fixture::load("architectures")?;
    let mut seen = Vec::new();
    for row in rows() {
        let Some(name) = &row.recorded else { continue };
        let double = network(row.declaration()?)?;
        let shape = [1, 3, row.size, row.size];
        let images = Tensor::from_vec(uniform("images", &shape), &shape, &Device::Cpu)?;
        let expected = recorded.tensor(&format!("{name}.gradient"))?.to_vec1::<f64>()?;
        let length = expected.iter().map(|value| value * value).sum::<f64>().sqrt();
        let single = double.to_dtype(DType::F32)?;
        // In f32 a few ReLUs whose inputs are nearly zero open or close, which a gradient notices.
        for (network, near, gradient_near) in [(&double, 1e-9, 1e-9), (&single, 1e-4, 1e-2)] {
            let (logits, gradient) = outputs(network, &images)?;
            let scale = logits.abs()?.max_all()?.to_scalar::<f64>()?.max(1.0);
            let off = largest_difference(&logits, recorded.tensor(&format!("{name}.logits"))?)? / scale;
            assert!(off < near, "{name} {:?}: logits off by {off:e}", network.dtype());
            let squares = gradient.iter().zip(&expected).map(|(a, b)| (a - b) * (a - b));
            let off = squares.sum::<f64>().sqrt() / length;
            assert!(off < gradient_near, "{name} {:?}: gradient off by {off:e}", network.dtype());
        }
        seen.push(row.architecture);
    }
    seen.dedup();
    assert_eq!(seen, ["resnet", "preact-resnet", "wide-resnet", "vgg", "mobilenet-v2", "densenet", "mobilevit"]);
    Ok(())
}
