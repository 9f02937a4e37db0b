//! The ascent on one module's weight.

use mrpf_api::context::Parts;
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
    /// Bytes of values before the module that are kept.
    pub memory: usize,
    /// The ascent ends with a step or pass that raised the loss by less than this share of the rise so far.
    pub early_stop: f64,
}

impl ModuleAscent {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the setting, what was found and what was expected.
    pub fn check(&self) -> Result<()> {
        let wrong = |found: String, expected: &str| {
            Err(Error::new(ErrorKind::Settings, format!("{found}, expected {expected}")))
        };
        if !(self.radius >= 0.0 && self.radius.is_finite()) {
            return wrong(format!("radius {}", self.radius), "a share of at least 0");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return wrong(format!("learning_rate {}", self.learning_rate), "a number above 0");
        }
        if self.steps == 0 || self.batch == 0 {
            return wrong(format!("steps {}, batch {}", self.steps, self.batch), "at least 1 of each");
        }
        if !(0.0..1.0).contains(&self.early_stop) {
            return wrong(format!("early_stop {}", self.early_stop), "a share of at least 0 and below 1");
        }
        Ok(())
    }
}

/// [`rise_of_module`] for every module of the network, in forward order; `frozen` is `network` frozen.
///
/// The order of the images in each pass comes from the streams of `cx`.
///
/// # Errors
/// As [`rise_of_module`].
pub fn rises(
    cx: &CallContext<'_>,
    network: &Network,
    frozen: &FrozenNetwork,
    set: &Batch,
    settings: &ModuleAscent,
) -> Result<Vec<ModuleSensitivity>> {
    let order = |pass: usize| {
        let mut order: Vec<usize> = (0..set.len()).collect();
        cx.streams.child("order").child(pass).stream().shuffle(&mut order);
        order
    };
    let orders: Vec<Vec<usize>> = (0..settings.steps).map(order).collect();
    let modules: Vec<String> = network.declaration().modules().map(|layer| layer.name.clone()).collect();
    // What the attack on the images has left ready on a GPU is of no use to the ascents.
    frozen.release_memory()?;
    let mut values = Vec::with_capacity(modules.len());
    for (at, module) in modules.iter().enumerate() {
        cx.step(&format!("module {module}"), at, modules.len())?;
        let value = rise_of_module(cx, network, frozen, module, set, &orders, settings)?;
        values.push(ModuleSensitivity { module: module.clone(), value });
    }
    Ok(values)
}

/// How far the mean cross-entropy over `set` rises when the weight of `module` moves within its ball.
///
/// `frozen` is the network frozen as it is. Only the part of it that depends on the module is computed, again and again.
/// `orders[t]` is the order of the images in pass t, for the modes that go in batches. Batch norm is in evaluation mode
/// throughout, and no gradient but that of this one weight is computed.
///
/// # Errors
/// [`ErrorKind::Numeric`] if a loss is not finite, naming the module.
pub fn rise_of_module(
    cx: &CallContext<'_>,
    network: &Network,
    frozen: &FrozenNetwork,
    module: &str,
    set: &Batch,
    orders: &[Vec<usize>],
    settings: &ModuleAscent,
) -> Result<f64> {
    let start = network.parameter(&format!("{module}.weight"))?.as_detached_tensor().copy()?;
    let ball = Ball { radius: settings.radius * norm(&start)?, centre: start };
    let suffix = frozen.suffix(module, &set.images, settings.memory)?;
    let climb = Climb { cx, module, frozen, suffix, set, settings };
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
    module: &'a str,
    frozen: &'a FrozenNetwork,
    suffix: Suffix,
    set: &'a Batch,
    settings: &'a ModuleAscent,
}

/// A weight with the mean loss over all images.
struct Point {
    weight: Var,
    loss: f64,
    /// The sum that the loss was taken from, if all images went through together: its gradient costs no further forward pass.
    sum: Option<Tensor>,
}

impl Climb<'_> {
    fn strict(&self, ball: &Ball) -> Result<f64> {
        let length = 2.5 * ball.radius / self.settings.steps as f64;
        let mut point = self.point(&ball.centre)?;
        let (base, mut worst) = (point.loss, point.loss);
        for step in 1..=self.settings.steps {
            let gradient = self.gradient_at(&mut point)?;
            let size = norm(&gradient)?;
            if size == 0.0 {
                break;
            }
            let mut weight = (point.weight.as_detached_tensor() + (gradient * (length / size))?)?;
            if self.settings.projection != Some(Projection::PerEpoch) || step == self.settings.steps {
                weight = ball.project(weight)?.0;
            }
            point = self.point(&weight)?;
            let before = worst;
            worst = worst.max(point.loss);
            if self.is_enough(base, before, worst) {
                break;
            }
        }
        Ok(worst - base)
    }

    fn rift(&self, ball: &Ball, orders: &[Vec<usize>], stop_outside: bool) -> Result<f64> {
        let mut point = self.point(&ball.centre)?;
        let base = point.loss;
        // RiFT's code starts its maximum at 0, not at the loss of the weight where it is.
        let mut worst = 0f64;
        for order in orders.iter().take(self.settings.steps) {
            let mut outside = false;
            let mut weight = point.weight.as_detached_tensor();
            for rows in order.chunks(self.settings.batch) {
                // In one batch the images' order is of no consequence.
                let gradient = match rows.len() == self.set.len() {
                    true => self.gradient_at(&mut point)?,
                    false => self.gradient(&weight, rows)?,
                };
                weight = (weight + (gradient * self.settings.learning_rate)?)?;
                if self.settings.projection == Some(Projection::PerStep) {
                    let (inside, was_outside) = ball.project(weight)?;
                    (weight, outside) = (inside, outside || was_outside);
                }
            }
            let (inside, was_outside) = ball.project(weight)?;
            outside |= was_outside;
            point = self.point(&inside)?;
            if stop_outside && outside {
                break;
            }
            let before = worst;
            worst = worst.max(point.loss);
            if !stop_outside && self.is_enough(base, before, worst) {
                break;
            }
        }
        Ok(if stop_outside { point.loss } else { worst } - base)
    }

    /// Whether the ascent may end for having gained little.
    fn is_enough(&self, base: f64, before: f64, worst: f64) -> bool {
        self.settings.early_stop > 0.0 && worst > base && worst - before < self.settings.early_stop * (worst - base)
    }

    /// Mean loss over all images at `weight`.
    fn point(&self, weight: &Tensor) -> Result<Point> {
        let rows: Vec<usize> = (0..self.set.len()).collect();
        let weight = Var::from_tensor(weight)?;
        let (mut total, mut sum) = (0.0, None);
        let mut parts = self.parts(rows.len());
        while let Some((loss, whole)) = parts.next_part(|part| {
            if part.len() == rows.len() {
                let sum = self.summed_loss(&weight, &rows)?;
                return Ok((value(&sum)?, Some(sum)));
            }
            Ok((value(&self.summed_loss(&weight.as_detached_tensor(), &rows[part])?)?, None))
        })? {
            total += loss;
            sum = whole;
        }
        Ok(Point { loss: total / rows.len() as f64, weight, sum })
    }

    /// Gradient of a point's loss by the weight.
    fn gradient_at(&self, point: &mut Point) -> Result<Tensor> {
        let rows: Vec<usize> = (0..self.set.len()).collect();
        self.gathered(&point.weight, &rows, point.sum.take())
    }

    /// Gradient of the mean loss of the images at `rows` by the weight.
    fn gradient(&self, weight: &Tensor, rows: &[usize]) -> Result<Tensor> {
        self.gathered(&Var::from_tensor(weight)?, rows, None)
    }

    /// The same, gathered batch by batch; `known` is the sum of their losses, if it is known.
    fn gathered(&self, weight: &Var, rows: &[usize], mut known: Option<Tensor>) -> Result<Tensor> {
        let mut total: Option<Tensor> = None;
        let mut parts = self.parts(rows.len());
        while let Some(gradient) = parts.next_part(|part| {
            // Taken, so that a GPU without room for the way back is rid of what the way there has left.
            let sum = match known.take().filter(|_| part.len() == rows.len()) {
                Some(sum) => sum,
                None => self.summed_loss(weight, &rows[part])?,
            };
            self.gradient_of(&sum, weight)
        })? {
            total = Some(match total {
                None => gradient,
                Some(total) => (total + gradient)?,
            });
        }
        let total = total.ok_or_else(|| Error::new(ErrorKind::Data, "no images to measure on"))?;
        Ok((total / rows.len() as f64)?)
    }

    /// So many images in batches, which get smaller where a GPU has no room.
    fn parts(&self, images: usize) -> Parts<'_, impl Fn() -> Result<()>> {
        self.cx.parts(images, self.settings.batch, || self.frozen.release_memory())
    }

    fn gradient_of(&self, sum: &Tensor, variable: &Var) -> Result<Tensor> {
        self.cx.check_interrupt()?;
        sum.backward()?.remove(variable).ok_or_else(|| {
            let message = format!("the loss has no gradient with respect to the weight of `{}`", self.module);
            Error::new(ErrorKind::Numeric, message)
        })
    }

    fn summed_loss(&self, weight: &Tensor, rows: &[usize]) -> Result<Tensor> {
        self.cx.check_interrupt()?;
        let labels = match rows.len() == self.set.len() && rows.is_sorted() {
            true => self.set.labels.clone(),
            false => self.set.select(rows)?.labels,
        };
        let logits = self.suffix.logits(weight, rows)?;
        Ok(loss::cross_entropy_per_image(&logits, &labels)?.sum_all()?)
    }
}

fn value(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.in_f64()?.to_scalar()?)
}

/// Frobenius norm, in f64.
fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(value(&tensor.in_f64()?.sqr()?.sum_all()?)?.sqrt())
}
