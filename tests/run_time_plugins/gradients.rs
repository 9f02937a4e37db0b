//! A dynamic plugin computes the very bits that the same source computes when linked in.

use mrpf_api::conformance;
use mrpf_api::prelude::*;
use mrpf_api::registry::{self, Registration};
use mrpf_host::plugin_library;
use mrpf_test_support::{gradients_by_name, resnet8};
use std::collections::BTreeMap;

use crate::crates::PluginCrate;
use crate::support::Playground;

/// Builds an example under another name, so that it can stand beside the one that is linked into this test, and opens it.
fn opened(example: &str) -> (&'static Registration, &'static Registration) {
    let playground = Playground::new();
    let renamed = format!("{example}-at-run-time");
    let change = (format!("name: \"{example}\""), format!("name: \"{renamed}\""));
    let made = PluginCrate::of_example(&playground, example, &renamed, &[(&change.0, &change.1)]);
    let library = plugin_library::open(&made.build(&playground)).expect("it fits this test program");
    let find = |name: &str| registry::registrations().into_iter().find(|plugin| plugin.name == name);
    let (linked, dynamic) = (find(example).expect("linked in"), find(&renamed).expect("opened"));
    assert!(linked.origin.library().is_none());
    assert_eq!(dynamic.origin.library(), Some(library));
    (linked, dynamic)
}

fn bits(tensor: &Tensor) -> Vec<u64> {
    let numbers = tensor.to_dtype(DType::F64).and_then(|tensor| tensor.flatten_all()?.to_vec1::<f64>());
    numbers.expect("numbers").into_iter().map(f64::to_bits).collect()
}

/// Residual branches join tensors that the host made before, between and after those of the plugin; a plugin that counted its
/// autograd nodes by itself would mix them up.
#[test]
fn gradients_are_bit_equal_on_a_network_with_branches() -> Result<()> {
    let (linked, dynamic) = opened("logit-pairing");
    let once = |plugin: &Registration, ahead: usize| -> Result<BTreeMap<String, Vec<u64>>> {
        let (network, batch) = resnet8()?;
        // Tensors made on the host's side only, so that the two counters would stand apart.
        let _ahead: Vec<Tensor> =
            (0..ahead).map(|_| Tensor::zeros(1, DType::F64, &Device::Cpu)).collect::<Result<_, _>>()?;
        let mut trainer = registry::make::<dyn AdversarialTrainer>(plugin.name, serde_json::json!({"steps": 3}))?;
        let cx = CallContext::unwatched(Streams::new(5));
        let step = TrainingStep { cx, epoch: 0, epochs: 1, label_smoothing: 0.1 };
        let mut found = trainer.loss(&step, &network, &batch)?.loss;
        // The host goes on with the plugin's tensor, and joins it with one of its own from the same parameters.
        let penalty = network.parameters().values().map(|weight| weight.sqr()?.sum_all());
        for term in penalty {
            found = (found + (term? * 1e-3)?)?;
        }
        let gradients = gradients_by_name(&network, &found.backward()?);
        let mut found = BTreeMap::from([("the loss".to_owned(), bits(&found))]);
        found.extend(gradients.iter().map(|(name, tensor)| (name.clone(), bits(tensor))));
        Ok(found)
    };
    let expected = once(linked, 0)?;
    assert!(expected.len() > 20);
    for ahead in [0, 1, 2, 7] {
        assert_eq!(once(dynamic, ahead)?, expected, "{ahead} tensors ahead");
    }
    Ok(())
}

#[test]
fn scores_and_sensitivities_are_bit_equal() -> Result<()> {
    let ((linked, dynamic), (network, _)) = (opened("redundancy"), resnet8()?);
    let groups = mrpf_api::coupling::channel_groups(network.declaration())?;
    let cx = CallContext::unwatched(Streams::new(5));
    let scores = |plugin: &Registration| -> Result<Vec<Vec<f64>>> {
        let criterion = registry::make::<dyn Criterion>(plugin.name, serde_json::json!({}))?;
        groups.iter().map(|group| criterion.scores(&cx, &network, group)).collect()
    };
    assert_eq!(scores(linked)?, scores(dynamic)?);

    let (linked, dynamic) = opened("spectral-norm");
    let data = registry::make::<dyn DataSource>("digits", serde_json::json!({}))?.load(None)?;
    let measure = |plugin: &Registration| {
        registry::make::<dyn SensitivityMetric>(plugin.name, serde_json::json!({}))?.measure(&cx, &network, &data)
    };
    assert_eq!(measure(linked)?, measure(dynamic)?);
    Ok(())
}

#[test]
fn what_is_linked_in_keeps_the_same_laws() -> Result<()> {
    conformance::require(Kind::Trainer, "logit-pairing")?;
    conformance::require(Kind::Criterion, "redundancy")?;
    conformance::require(Kind::Sensitivity, "spectral-norm")
}
