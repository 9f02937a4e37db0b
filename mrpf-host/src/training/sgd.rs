//! Stochastic gradient descent with momentum.

use mrpf_api::candle_core::backprop::GradStore;
use mrpf_api::candle_core::{Tensor, Var};
use mrpf_api::network::{Network, Weights};
use mrpf_api::numeric::{InF64, SgdParameter, SgdStep, sgd_together};
use mrpf_api::{Error, ErrorKind, Result};

use super::settings::TrainingSettings;

/// SGD with momentum, Nesterov's form and coupled weight decay, as PyTorch's:
/// `d = g + decay * w; v = momentum * v + d` (v = d at first); `w -= lr * v`, or `w -= lr * (d + momentum * v)` for Nesterov.
///
/// The velocity is a value of its own, keyed by the parameter's name, so that it can be saved and restored.
#[derive(Debug, Clone)]
pub struct Sgd {
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
    decay_norm_and_bias: bool,
    clip: Option<f64>,
    /// Velocity of each parameter that has been stepped.
    pub velocity: Weights,
}

impl Sgd {
    /// An optimiser without velocity.
    pub fn new(settings: &TrainingSettings) -> Self {
        Self {
            momentum: settings.momentum,
            nesterov: settings.nesterov,
            weight_decay: settings.weight_decay,
            decay_norm_and_bias: settings.decay_norm_and_bias,
            clip: settings.clip,
            velocity: Weights::new(),
        }
    }

    /// Moves all parameters one step against their gradients.
    ///
    /// # Errors
    /// [`ErrorKind::Numeric`] naming the parameter if one has no gradient.
    pub fn step(&mut self, network: &Network, gradients: &GradStore, learning_rate: f64) -> Result<()> {
        self.step_along(network, gathered(network, gradients)?, learning_rate)
    }

    /// The same with the gradients in the order of the parameters; as one piece of work where the device makes it one.
    pub(super) fn step_along(&mut self, network: &Network, gradients: Vec<Tensor>, learning_rate: f64) -> Result<()> {
        if self.step_together(network, &gradients, learning_rate)? {
            return Ok(());
        }
        Self::descend(network, self.directions(network, gradients)?, learning_rate)
    }

    /// Tells whether the device moved all parameters together.
    fn step_together(&mut self, network: &Network, gradients: &[Tensor], learning_rate: f64) -> Result<bool> {
        if !network.device().is_cuda() {
            return Ok(false);
        }
        let step = SgdStep {
            gradient_scale: self.clip_factor(gradients)?,
            momentum: self.momentum,
            nesterov: self.nesterov,
            learning_rate,
        };
        let parameter = |((name, weight), gradient)| {
            let weight: &Var = weight;
            let decays = weight.rank() > 1 || self.decay_norm_and_bias;
            let decay = if decays { self.weight_decay } else { 0.0 };
            SgdParameter { weight, gradient, velocity: self.velocity.get(name), decay }
        };
        let parameters: Vec<_> = network.parameters().iter().zip(gradients).map(parameter).collect();
        let Some(velocities) = sgd_together(&parameters, step)? else { return Ok(false) };
        self.velocity.extend(network.parameters().keys().cloned().zip(velocities));
        Ok(true)
    }

    /// What each parameter moves against, times the learning rate, from the gradients in the order of the parameters; updates the velocity.
    /// Weight decay pulls at the parameters as they are now.
    pub(super) fn directions(&mut self, network: &Network, gradients: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let scale = self.clip_factor(&gradients)?;
        let mut directions = Vec::with_capacity(gradients.len());
        for ((name, variable), gradient) in network.parameters().iter().zip(gradients) {
            let weight = variable.as_detached_tensor();
            let mut direction = if scale == 1.0 { gradient } else { (gradient * scale)? };
            // Batch-norm scales and shifts and biases have one axis.
            if self.weight_decay != 0.0 && (weight.rank() > 1 || self.decay_norm_and_bias) {
                direction = (direction + (&weight * self.weight_decay)?)?;
            }
            if self.momentum != 0.0 {
                let velocity = match self.velocity.get(name) {
                    None => direction.copy()?,
                    Some(velocity) => ((velocity * self.momentum)? + &direction)?,
                };
                direction = if self.nesterov { (direction + (&velocity * self.momentum)?)? } else { velocity.clone() };
                self.velocity.insert(name.clone(), velocity);
            }
            directions.push(direction);
        }
        Ok(directions)
    }

    /// Moves all parameters, in the order of their names, against `directions`. Where memory is too small, none of them has moved.
    pub(super) fn descend(network: &Network, directions: Vec<Tensor>, learning_rate: f64) -> Result<()> {
        let variables = network.parameters().values();
        let moved = variables.clone().zip(directions).map(|(variable, direction)| -> Result<Tensor> {
            Ok((variable.as_detached_tensor() - (direction * learning_rate)?)?)
        });
        for (variable, moved) in variables.zip(moved.collect::<Result<Vec<_>>>()?) {
            variable.set(&moved)?;
        }
        Ok(())
    }

    /// What gradients are multiplied by, so that the norm of all of them together is at most the limit.
    fn clip_factor(&self, gradients: &[Tensor]) -> Result<f64> {
        let Some(limit) = self.clip else { return Ok(1.0) };
        let mut squares = 0.0;
        for gradient in gradients {
            squares += gradient.sqr()?.sum_all()?.in_f64()?.to_scalar::<f64>()?;
        }
        let norm = f64::sqrt(squares);
        Ok(if norm > limit { limit / norm } else { 1.0 })
    }
}

/// The gradient of every parameter, in the order of their names.
///
/// # Errors
/// [`ErrorKind::Numeric`] naming the parameter if one has no gradient: a loss that passes it by would train nothing.
pub(super) fn gathered(network: &Network, gradients: &GradStore) -> Result<Vec<Tensor>> {
    let gradient = |(name, variable): (&String, &Var)| {
        gradients.get(variable).cloned().ok_or_else(|| {
            Error::new(ErrorKind::Numeric, format!("the loss has no gradient with respect to `{name}`"))
                .hint("the trainer must compute its loss from Network::forward without detaching it")
        })
    };
    network.parameters().iter().map(gradient).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::candle_core::{DType, Device};
    use mrpf_api::data::ImageShape;
    use mrpf_api::network::Builder;
    use mrpf_api::random::Streams;
    use mrpf_test_support::Fixture;

    /// A network whose only weight is `[1, 7]`, with a bias of `[1]`.
    fn network() -> Result<Network> {
        let mut net = Builder::new("test", ImageShape { channels: 7, height: 1, width: 1 }, 1);
        net.flatten("flatten").linear("w", 1);
        Network::initialise(net.finish()?, &Streams::new(0), DType::F64, &Device::Cpu)
    }

    /// Gradients equal to `gradient` for the weight, and 1 for the bias.
    fn gradients(network: &Network, gradient: &Tensor) -> Result<GradStore> {
        let weight = network.parameter("w.weight")?.as_tensor();
        let bias = network.parameter("w.bias")?.as_tensor();
        Ok(((weight * gradient.reshape((1, 7))?)?.sum_all()? + bias.sum_all()?)?.backward()?)
    }

    #[test]
    fn steps_are_those_of_pytorch() -> Result<()> {
        let recorded = Fixture::load("sgd")?;
        for (name, nesterov) in [("plain", false), ("nesterov", true)] {
            let network = network()?;
            network.parameter("w.weight")?.set(&recorded.tensor("start")?.reshape((1, 7))?)?;
            let mut sgd = Sgd::new(&TrainingSettings { nesterov, ..TrainingSettings::default() });
            for step in 0..5 {
                sgd.step(&network, &gradients(&network, &recorded.tensor("gradients")?.get(step)?)?, 0.1)?;
                let found = network.parameter("w.weight")?.flatten_all()?;
                let off = mrpf_test_support::largest_difference(&found, &recorded.tensor(name)?.get(step)?)?;
                assert!(off < 1e-12, "{name} step {step}: {off:e}");
            }
        }
        Ok(())
    }

    #[test]
    fn biases_decay_only_when_asked() -> Result<()> {
        for (decay_norm_and_bias, expected) in [(false, 2.0), (true, 1.0)] {
            let network = network()?;
            network.parameter("w.bias")?.set(&Tensor::full(3.0f64, 1, &Device::Cpu)?)?;
            let settings = TrainingSettings {
                decay_norm_and_bias,
                weight_decay: 1.0 / 3.0,
                momentum: 0.0,
                ..TrainingSettings::default()
            };
            Sgd::new(&settings).step(
                &network,
                &gradients(&network, &Tensor::zeros(7, DType::F64, &Device::Cpu)?)?,
                1.0,
            )?;
            assert_eq!(network.parameter("w.bias")?.to_vec1::<f64>()?, [expected]);
        }
        Ok(())
    }

    #[test]
    fn clipping_bounds_the_whole_gradient() -> Result<()> {
        let network = network()?;
        let before = network.snapshot()?;
        let settings = TrainingSettings { clip: Some(0.5), weight_decay: 0.0, ..TrainingSettings::default() };
        Sgd::new(&settings).step(&network, &gradients(&network, &Tensor::full(4.0f64, 7, &Device::Cpu)?)?, 1.0)?;
        let mut squares = 0.0;
        for (name, old) in before {
            let moved = (network.parameter(&name)?.as_tensor() - old)?;
            squares += moved.sqr()?.sum_all()?.to_scalar::<f64>()?;
        }
        assert!((squares.sqrt() - 0.5).abs() < 1e-12, "{squares}");
        Ok(())
    }
}
