//! Two recorded steps of a trainer, by plain SGD with the learning rate that they were recorded with.

use mrpf_api::candle_core::Tensor;
use mrpf_api::candle_core::backprop::GradStore;
use mrpf_api::prelude::*;

use crate::{Fixture, assert_family, gradients_by_name};

/// Learning rate of the recorded steps.
const RATE: f64 = 0.1;

/// Where training stands at a step of an epoch, of one epoch in all.
pub fn step(epoch: usize, number: usize) -> TrainingStep<'static> {
    let streams = Streams::new(0).child(epoch).child(number);
    TrainingStep { cx: CallContext::unwatched(streams), epoch, epochs: epoch + 1, label_smoothing: 0.0 }
}

/// Compares two steps with a recording: `loss.N` where there is one, `gradient.*` of the first step, and in the end `parameters.*`
/// and `statistics.*`.
pub struct TwoSteps<'a> {
    network: &'a Network,
    recorded: &'a Fixture,
    losses: Vec<f64>,
    first: Option<Weights>,
}

impl<'a> TwoSteps<'a> {
    /// Before the first step.
    pub fn new(network: &'a Network, recorded: &'a Fixture) -> Self {
        Self { network, recorded, losses: Vec::new(), first: None }
    }

    /// Steps down the gradient of a loss.
    pub fn descend(&mut self, loss: &Tensor) -> Result<GradStore> {
        let gradients = loss.backward()?;
        self.descend_by(loss, &gradients)?;
        Ok(gradients)
    }

    /// The same by gradients that have been computed.
    pub fn descend_by(&mut self, loss: &Tensor, gradients: &GradStore) -> Result<()> {
        let by_name = gradients_by_name(self.network, gradients);
        for (name, gradient) in &by_name {
            let variable = self.network.parameter(name)?;
            variable.set(&(variable.as_detached_tensor() - (gradient * RATE)?)?)?;
        }
        self.losses.push(loss.to_scalar::<f64>()?);
        self.first.get_or_insert(by_name);
        Ok(())
    }

    /// Asserts that everything agrees.
    pub fn finish(self, tolerance: f64) -> Result<()> {
        for (at, found) in self.losses.iter().enumerate() {
            if let Ok(expected) = self.recorded.number(&format!("loss.{at}")) {
                assert!((found - expected).abs() < tolerance, "loss {at}: {found}, recorded {expected}");
            }
        }
        assert_family("gradient", &self.first.unwrap_or_default(), &self.recorded.family("gradient"), tolerance)?;
        assert_family("parameters", &self.network.snapshot()?, &self.recorded.family("parameters"), tolerance)?;
        assert_family("statistics", &self.network.statistics(), &self.recorded.family("statistics"), tolerance)
    }
}
