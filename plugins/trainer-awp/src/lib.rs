//! Trainer `awp`: adversarial weight perturbation (Wu et al. 2020) over PGD-AT or TRADES.
//!
//! For each batch, as in the authors' code:
//! 1. the images x' are attacked at the weights w as they are;
//! 2. g is the gradient at w of the base's loss of those images, in training mode, which leaves the running statistics alone; each
//!    weight with more than one axis (of convolutions and linear layers) is moved by `v = gamma * |w| / (|g| + 1e-20) * g`, in the
//!    Frobenius norm. There g comes from one SGD step of a proxy network, whose learning rate cancels;
//! 3. the loss, its gradient and the optimiser's step, weight decay included, are computed at w + v, and the step is made from w.
//!
//! The authors' AT-AWP attacks in training mode, and after each step passes the clean images once more in training mode to log their
//! accuracy; both move the running statistics. Here the attack runs in evaluation mode, as in their TRADES-AWP, and there is no such pass.

mod underlying;

use mrpf_api::prelude::*;
pub use underlying::Base;

/// Settings of `awp`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct AwpSettings {
    /// The training whose weights are perturbed.
    pub base: Base,
    /// Size of the perturbation relative to each weight's norm; when not given 0.01 over PGD-AT and 0.005 over TRADES, as in the
    /// authors' scripts.
    pub gamma: Option<f64>,
    /// Epochs at first without perturbation, to save time. 0 in the authors' AT-AWP for CIFAR, 5 for SVHN, and 9 of 200 in their
    /// TRADES-AWP (whose 10 counts from 1).
    #[schemars(range(max = 100_000))]
    pub warm_up: usize,
    /// Weight of the divergence over TRADES; 6 in the authors' script.
    pub beta: f64,
    /// Radius of the L-inf ball, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of a step, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub step_size: Fraction,
    /// Number of steps; at least 1.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
    /// Where the attack begins; when not given `uniform` over PGD-AT and `small-normal` over TRADES, as in the authors' scripts.
    pub start: Option<Start>,
}

impl Default for AwpSettings {
    fn default() -> Self {
        Self {
            base: Base::PgdAt,
            gamma: None,
            warm_up: 0,
            beta: 6.0,
            epsilon: Fraction::new(8, 255),
            step_size: Fraction::new(2, 255),
            steps: 10,
            start: None,
        }
    }
}

register_plugin! {
    kind: Trainer,
    name: "awp",
    summary: "PGD-AT or TRADES at weights that are perturbed against it",
    source: "Wu et al. 2020, arXiv 2004.05884; details of the authors' code",
    settings: AwpSettings,
    make: |settings| Ok(Box::new(Awp::new(settings)?)),
}

/// A checked AWP trainer.
pub struct Awp {
    base: Base,
    gamma: f64,
    warm_up: usize,
    beta: f64,
    ascent: Ascent,
    /// The attacked images of the batch whose weights have just been perturbed, with the batch's image indices.
    attacked: Option<(Vec<usize>, Tensor)>,
}

impl Awp {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for negative weights or sizes, no steps or lengths that are not positive.
    pub fn new(settings: AwpSettings) -> Result<Self> {
        let AwpSettings { base, gamma, warm_up, beta, epsilon, step_size, steps, start } = settings;
        let gamma = gamma.unwrap_or(base.gamma());
        if !(gamma >= 0.0 && beta >= 0.0 && epsilon.value() >= 0.0 && step_size.value() > 0.0 && steps > 0) {
            let found = format!("gamma {gamma}, beta {beta}, epsilon {epsilon}, step_size {step_size}, {steps} steps");
            let expected = "expected gamma, beta and a radius of at least 0, a positive step, at least 1 step";
            return Err(Error::new(ErrorKind::Settings, format!("{found}, {expected}")));
        }
        let threat = ThreatModel { norm: Norm::Linf, epsilon };
        let start = start.unwrap_or(base.start());
        let ascent = Ascent { threat, step_size: step_size.value(), steps, start };
        Ok(Self { base, gamma, warm_up, beta, ascent, attacked: None })
    }

    /// The attacked images of a batch, begun at given images `[batch, channel, height, width]`.
    pub fn attack_from(
        &self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
        start: &Tensor,
    ) -> Result<Tensor> {
        self.base.attack(step, &network.freeze()?, batch, start, &self.ascent)
    }

    /// The perturbation against attacked images of a batch, by parameter.
    pub fn perturbation(
        &self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
        attacked: &Tensor,
    ) -> Result<Weights> {
        let loss = self.base.loss(step, network, batch, attacked, self.beta, Mode::TrainKeepingStatistics)?.loss;
        let gradients = loss.backward()?;
        let mut perturbation = Weights::new();
        for (name, variable) in network.parameters().iter().filter(|(_, variable)| variable.rank() > 1) {
            if let Some(gradient) = gradients.get(variable) {
                let scale = self.gamma * norm(&variable.as_detached_tensor())? / (norm(gradient)? + 1e-20);
                perturbation.insert(name.clone(), (gradient.detach() * scale)?);
            }
        }
        Ok(perturbation)
    }

    /// The loss of attacked images at the weights as they are.
    pub fn loss_of(
        &self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
        attacked: &Tensor,
    ) -> Result<TrainingLoss> {
        self.base.loss(step, network, batch, attacked, self.beta, Mode::Train)
    }

    /// Refuses a warm-up that is never over.
    fn perturbs_in(&self, epochs: usize) -> Result<()> {
        if self.warm_up > 0 && self.warm_up >= epochs {
            let message =
                format!("a warm_up of {} in {epochs} epochs, so that no weight is ever perturbed", self.warm_up);
            return Err(Error::new(ErrorKind::Settings, message).hint("set warm_up below the number of epochs"));
        }
        Ok(())
    }

    fn attack(&self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<Tensor> {
        self.attack_from(step, network, batch, &self.ascent.starting_images(&step.cx, batch)?)
    }
}

impl AdversarialTrainer for Awp {
    fn check(&self, _network: &Declaration, epochs: usize) -> Result<Foresight> {
        self.perturbs_in(epochs)?;
        Ok(Foresight::Fits)
    }

    fn perturb_weights(
        &mut self,
        step: &TrainingStep<'_>,
        network: &Network,
        batch: &Batch,
    ) -> Result<Option<Weights>> {
        self.perturbs_in(step.epochs)?;
        if step.epoch < self.warm_up {
            return Ok(None);
        }
        let attacked = self.attack(step, network, batch)?;
        let perturbation = self.perturbation(step, network, batch, &attacked)?;
        self.attacked = Some((batch.indices.clone(), attacked));
        Ok(Some(perturbation))
    }

    /// The perturbation belongs to the whole batch.
    fn takes_parts(&self) -> bool {
        false
    }

    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        let attacked = match self.attacked.take() {
            Some((indices, attacked)) if indices == batch.indices => attacked,
            _ => self.attack(step, network, batch)?,
        };
        self.loss_of(step, network, batch, &attacked)
    }
}

/// Frobenius norm.
fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.in_f64()?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt())
}

#[cfg(test)]
mod tests;
