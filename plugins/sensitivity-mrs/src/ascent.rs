//! The ascent on one module's weight.

use mrpf_api::candle_core::Var;
use mrpf_api::prelude::*;

use crate::Projection;

/// How the worst weight in the ball is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Mode {
    /// Projected ascent: steps of 2.5 radius |w| / steps along the normalised gradient over all images, projected after each;
    /// the largest loss on the way counts, the start included. Never negative, and blind to the scale of the weight.
    #[default]
    Strict,
    /// As RiFT's code: plain SGD ascent in batches, projected after each pass; the largest loss after any pass counts (0 at least),
    /// the start does not.
    RiftCode,
    /// As RiFT's algorithm 1: the same ascent, ended by the first pass that leaves the ball; the loss there counts.
    RiftAlg1,
}

/// Settings of the ascent on one module; see [`crate::MrsSettings`].
#[derive(Debug, Clone)]
pub struct ModuleAscent {
    /// How the worst weight is looked for.
    pub mode: Mode,
    /// Radius, as a share of the weight's norm.
    pub radius: f64,
    /// Steps or passes.
    pub steps: usize,
    /// Step length outside `strict`.
    pub learning_rate: f64,
    /// When the weight is put back; the mode's own when not given.
    pub projection: Option<Projection>,
    /// Images in a batch.
    pub batch: usize,
}

/// How far the mean cross-entropy over `set` (adversarial images) rises when the weight of `module` moves within its ball.
///
/// `orders[t]` is the order of the images in pass t, for the modes that go in batches. Batch norm is in evaluation mode
/// throughout, and no gradient but that of this one weight is computed.
///
/// # Errors
/// [`ErrorKind::Numeric`] if a loss is not finite, naming the module.
pub fn rise_of_module(
    cx: &CallContext<'_>,
    network: &Network,
    module: &str,
    set: &Batch,
    orders: &[Vec<usize>],
    settings: &ModuleAscent,
) -> Result<f64> {
    let name = format!("{module}.weight");
    let start = network.parameter(&name)?.as_detached_tensor().copy()?;
    let ball = Ball { radius: settings.radius * norm(&start)?, centre: start };
    let mut climb = Climb { cx, network, name, weights: network.frozen_weights(), set, settings };
    let rise = match settings.mode {
        Mode::Strict => climb.strict(&ball)?,
        Mode::RiftCode => climb.rift(&ball, orders, false)?,
        Mode::RiftAlg1 => climb.rift(&ball, orders, true)?,
    };
    match rise.is_finite() {
        true => Ok(rise),
        false => Err(Error::new(ErrorKind::Numeric, format!("the loss of module `{module}` is not finite"))
            .hint("a smaller learning_rate or radius may help")),
    }
}

struct Ball {
    centre: Tensor,
    radius: f64,
}

impl Ball {
    /// The nearest point of the ball, and whether the weight was outside.
    fn project(&self, weight: Tensor) -> Result<(Tensor, bool)> {
        let moved = (&weight - &self.centre)?;
        let distance = norm(&moved)?;
        if distance <= self.radius {
            return Ok((weight, false));
        }
        Ok(((&self.centre + (moved * (self.radius / distance))?)?, true))
    }
}

struct Climb<'a> {
    cx: &'a CallContext<'a>,
    network: &'a Network,
    name: String,
    weights: Weights,
    set: &'a Batch,
    settings: &'a ModuleAscent,
}

impl Climb<'_> {
    fn strict(&mut self, ball: &Ball) -> Result<f64> {
        let rows: Vec<usize> = (0..self.set.len()).collect();
        let length = 2.5 * ball.radius / self.settings.steps as f64;
        let mut weight = ball.centre.clone();
        let (mut base, mut worst) = (None, f64::MIN);
        for _ in 0..self.settings.steps {
            // The pass that gives the gradient gives the loss at the same point.
            let (loss, gradient) = self.gradient(&weight, &rows)?;
            base.get_or_insert(loss);
            worst = worst.max(loss);
            let size = norm(&gradient)?;
            if size == 0.0 {
                break;
            }
            weight = (weight + (gradient * (length / size))?)?;
            if self.settings.projection != Some(Projection::PerEpoch) {
                weight = ball.project(weight)?.0;
            }
        }
        weight = ball.project(weight)?.0;
        worst = worst.max(self.loss(&weight)?);
        Ok(worst - base.unwrap_or(worst))
    }

    fn rift(&mut self, ball: &Ball, orders: &[Vec<usize>], stop_outside: bool) -> Result<f64> {
        let base = self.loss(&ball.centre)?;
        let mut weight = ball.centre.clone();
        // RiFT's code starts its maximum at 0, not at the loss of the weight where it is.
        let mut worst = 0f64;
        for order in orders.iter().take(self.settings.steps) {
            let mut outside = false;
            for rows in order.chunks(self.settings.batch) {
                let gradient = self.gradient(&weight, rows)?.1;
                weight = (weight + (gradient * self.settings.learning_rate)?)?;
                if self.settings.projection == Some(Projection::PerStep) {
                    let (inside, was_outside) = ball.project(weight)?;
                    (weight, outside) = (inside, outside || was_outside);
                }
            }
            let (inside, was_outside) = ball.project(weight)?;
            (weight, outside) = (inside, outside || was_outside);
            if stop_outside && outside {
                break;
            }
            if !stop_outside {
                worst = worst.max(self.loss(&weight)?);
            }
        }
        Ok(if stop_outside { self.loss(&weight)? } else { worst } - base)
    }

    /// Mean loss of the images at `rows` and its gradient by the weight, gathered batch by batch.
    fn gradient(&mut self, weight: &Tensor, rows: &[usize]) -> Result<(f64, Tensor)> {
        let (mut total, mut sum): (f64, Option<Tensor>) = (0.0, None);
        for part in rows.chunks(self.settings.batch) {
            self.cx.check_interrupt()?;
            let variable = Var::from_tensor(weight)?;
            let loss = self.summed_loss(variable.as_tensor(), part)?;
            total += value(&loss)?;
            let mut gradients = loss.backward()?;
            let gradient = gradients.remove(&variable).ok_or_else(|| {
                Error::new(ErrorKind::Numeric, format!("the loss has no gradient with respect to `{}`", self.name))
            })?;
            sum = Some(match sum {
                None => gradient,
                Some(sum) => (sum + gradient)?,
            });
        }
        let count = rows.len() as f64;
        let sum = sum.ok_or_else(|| Error::new(ErrorKind::Data, "no images to measure on"))?;
        Ok((total / count, (sum / count)?))
    }

    /// Mean loss over all images.
    fn loss(&mut self, weight: &Tensor) -> Result<f64> {
        let rows: Vec<usize> = (0..self.set.len()).collect();
        let mut total = 0.0;
        for part in rows.chunks(self.settings.batch) {
            self.cx.check_interrupt()?;
            total += value(&self.summed_loss(&weight.detach(), part)?)?;
        }
        Ok(total / rows.len() as f64)
    }

    fn summed_loss(&mut self, weight: &Tensor, rows: &[usize]) -> Result<Tensor> {
        self.weights.insert(self.name.clone(), weight.clone());
        let batch = match rows.len() == self.set.len() && rows.is_sorted() {
            true => self.set.clone(),
            false => self.set.select(rows)?,
        };
        let logits = self.network.forward_with(&self.weights, &batch.images, mrpf_api::network::Mode::Evaluate)?;
        Ok(loss::cross_entropy_per_image(&logits, &batch.labels)?.sum_all()?)
    }
}

fn value(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.to_dtype(DType::F64)?.to_scalar()?)
}

/// Frobenius norm, in f64.
fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(value(&tensor.to_dtype(DType::F64)?.sqr()?.sum_all()?)?.sqrt())
}
