//! The images under attack as plain numbers, and the one way to ask the classifier about points near them.

use candle_core::{DType, Device, Tensor};

use crate::network::{Classifier, InputGradient, LossOnLogits};
use crate::numeric::InF64;
use crate::{Error, ErrorKind, Result};

/// One image under attack, classified rightly so far.
#[derive(Debug, Clone)]
pub struct Case {
    /// Address of its random numbers.
    pub index: usize,
    /// Its class.
    pub label: usize,
    /// The image, `channel * height * width` values.
    pub clean: Vec<f64>,
    /// The classes from the highest logit of the clean image to the lowest; of equals the later class first, as `torch.sort` has them.
    pub ranking: Vec<usize>,
}

/// Shape, precision and place of the images.
#[derive(Debug, Clone)]
pub struct Form {
    /// Colour planes.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    dtype: DType,
    device: Device,
}

impl Form {
    /// The form of a batch `[batch, channel, height, width]`.
    pub fn of(images: &Tensor) -> Result<Self> {
        let (_, channels, height, width) = images.dims4()?;
        Ok(Self { channels, height, width, dtype: images.dtype(), device: images.device().clone() })
    }

    /// Values in one image.
    pub fn values(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Points as images, rounded to the precision of the network: `[count, channel, height, width]`.
    pub fn tensor<'p>(&self, points: impl Iterator<Item = &'p [f64]>) -> Result<Tensor> {
        let points: Vec<&[f64]> = points.collect();
        let shape = (points.len(), self.channels, self.height, self.width);
        let tensor = match self.dtype {
            DType::F32 => {
                let values: Vec<f32> =
                    points.iter().flat_map(|point| point.iter().map(|&value| value as f32)).collect();
                Tensor::from_vec(values, shape, &Device::Cpu)?
            }
            dtype => Tensor::from_vec(points.concat(), shape, &Device::Cpu)?.to_dtype(dtype)?,
        };
        Ok(tensor.to_device(&self.device)?)
    }
}

/// The numbers of a tensor of any shape.
pub fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.in_f64()?.flatten_all()?.to_vec1()?)
}

/// Logits of some points, all finite.
#[derive(Debug)]
pub struct Logits {
    values: Vec<f64>,
    classes: usize,
}

impl Logits {
    /// Takes `[batch, class]` in.
    ///
    /// # Errors
    /// [`ErrorKind::Numeric`] for a logit that is not finite.
    pub fn new(logits: &Tensor) -> Result<Self> {
        let (values, classes) = (numbers(logits)?, logits.dim(1)?);
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (found, class) = (values[at], at % classes);
            let message =
                format!("the logit of class {class} at a point under attack is {found}, expected a finite number");
            return Err(Error::new(ErrorKind::Numeric, message).hint(
                "the network has diverged, or its logits overflow near its images; no robustness can be measured",
            ));
        }
        Ok(Self { values, classes })
    }

    /// The logits of one point.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.classes..(row + 1) * self.classes]
    }

    /// The class of the highest logit; the first of equals.
    pub fn predicted(&self, row: usize) -> usize {
        let row = self.row(row);
        (1..row.len()).fold(0, |top, class| if row[class] > row[top] { class } else { top })
    }

    /// The label's logit above the highest of the others: positive while the point is classified rightly.
    pub fn margin(&self, row: usize, label: usize) -> f64 {
        let row = self.row(row);
        let others = row.iter().enumerate().filter(|(class, _)| *class != label).map(|(_, &value)| value);
        row[label] - others.fold(f64::NEG_INFINITY, f64::max)
    }

    /// The classes from the highest logit to the lowest; of equals the later class first, as `torch.sort` has them.
    pub fn ranking(&self, row: usize) -> Vec<usize> {
        let row = self.row(row);
        let mut classes: Vec<usize> = (0..row.len()).collect();
        classes.sort_by(|&a, &b| row[a].total_cmp(&row[b]));
        classes.reverse();
        classes
    }
}

/// What is known of some points after going back through the network.
#[derive(Debug)]
pub struct Slopes {
    /// Logits of each point.
    pub logits: Logits,
    /// Loss of each point.
    pub losses: Vec<f64>,
    /// Gradient of each point's loss, point after point.
    pub gradients: Vec<f64>,
}

/// The images under attack, and the network that they are shown to.
pub struct Ground<'a> {
    /// The network.
    pub classifier: &'a dyn Classifier,
    /// What the images look like.
    pub form: Form,
    /// The images.
    pub cases: Vec<Case>,
}

impl Ground<'_> {
    /// Logits of points.
    pub fn logits<'p>(&self, points: impl Iterator<Item = &'p [f64]>) -> Result<Logits> {
        Logits::new(&self.classifier.logits(&self.form.tensor(points)?)?)
    }

    /// Logits, losses and gradients of points; `loss` sees the logits in their order.
    pub fn slopes<'p>(&self, points: impl Iterator<Item = &'p [f64]>, loss: &LossOnLogits<'_>) -> Result<Slopes> {
        slopes(&self.classifier.input_gradient(&self.form.tensor(points)?, loss)?)
    }

    /// Logits and losses of points, and no gradients.
    pub fn losses<'p>(&self, points: impl Iterator<Item = &'p [f64]>, loss: &LossOnLogits<'_>) -> Result<Slopes> {
        let logits = self.classifier.logits(&self.form.tensor(points)?)?;
        Ok(Slopes { losses: numbers(&loss(&logits)?)?, logits: Logits::new(&logits)?, gradients: Vec::new() })
    }

    /// By how much logits of other classes lie above the labels' at the same points, with the gradients of that.
    ///
    /// Each of `rivals` names a class for every point; there is one answer for each.
    pub fn leads<'p>(
        &self,
        points: impl Iterator<Item = &'p [f64]>,
        labels: &[usize],
        rivals: &[Vec<usize>],
    ) -> Result<Vec<Slopes>> {
        let lead = |rivals: &'_ Vec<usize>| {
            let rivals = rivals.clone();
            move |logits: &Tensor| Ok((pick(logits, rivals.iter().copied())? - pick(logits, labels.iter().copied())?)?)
        };
        let leads: Vec<_> = rivals.iter().map(lead).collect();
        let leads: Vec<&LossOnLogits<'_>> = leads.iter().map(|lead| lead as &LossOnLogits<'_>).collect();
        self.classifier.input_gradients(&self.form.tensor(points)?, &leads)?.iter().map(slopes).collect()
    }
}

fn slopes(at: &InputGradient) -> Result<Slopes> {
    Ok(Slopes { logits: Logits::new(&at.logits)?, losses: numbers(&at.loss)?, gradients: numbers(&at.gradient)? })
}

/// The logit of one class for each image, `[batch]`.
pub fn pick(logits: &Tensor, classes: impl Iterator<Item = usize>) -> Result<Tensor> {
    let classes: Vec<u32> = classes.map(|class| class as u32).collect();
    let classes = Tensor::from_vec(classes, (logits.dim(0)?, 1), logits.device())?;
    Ok(logits.gather(&classes, 1)?.squeeze(1)?)
}
