//! The images under attack as plain numbers, and the one way to ask the classifier about points near them.

use mrpf_api::network::LossOnLogits;
use mrpf_api::prelude::*;

/// One image under attack, classified rightly so far.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Address of its random numbers.
    pub index: usize,
    pub label: usize,
    /// The image, `channel * height * width` values.
    pub clean: Vec<f64>,
    /// The classes from the highest logit of the clean image to the lowest; of equals the later class first, as `torch.sort` has them.
    pub ranking: Vec<usize>,
}

/// Shape, precision and place of the images.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    dtype: DType,
    device: Device,
}

impl Form {
    pub fn of(images: &Tensor) -> Result<Self> {
        let (_, channels, height, width) = images.dims4()?;
        Ok(Self { channels, height, width, dtype: images.dtype(), device: images.device().clone() })
    }

    /// Values in one image.
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// `[count, channel, height, width]`.
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
pub(crate) fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// Logits of some points, all finite.
#[derive(Debug)]
pub(crate) struct Logits {
    values: Vec<f64>,
    classes: usize,
}

impl Logits {
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

    /// The classes from the highest logit to the lowest.
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
pub(crate) struct Slopes {
    pub logits: Logits,
    /// Loss of each point.
    pub losses: Vec<f64>,
    /// Gradient of each point's loss, point after point.
    pub gradients: Vec<f64>,
}

/// The images under attack, and the network that they are shown to.
pub(crate) struct Ground<'a> {
    pub classifier: &'a dyn Classifier,
    pub form: Form,
    pub cases: Vec<Case>,
}

impl Ground<'_> {
    pub fn logits<'p>(&self, points: impl Iterator<Item = &'p [f64]>) -> Result<Logits> {
        Logits::new(&self.classifier.logits(&self.form.tensor(points)?)?)
    }

    pub fn slopes<'p>(&self, points: impl Iterator<Item = &'p [f64]>, loss: &LossOnLogits<'_>) -> Result<Slopes> {
        slopes(&self.classifier.input_gradient(&self.form.tensor(points)?, loss)?)
    }

    /// Loss without gradient.
    pub fn losses<'p>(&self, points: impl Iterator<Item = &'p [f64]>, loss: &LossOnLogits<'_>) -> Result<Slopes> {
        let logits = self.classifier.logits(&self.form.tensor(points)?)?;
        Ok(Slopes { losses: numbers(&loss(&logits)?)?, logits: Logits::new(&logits)?, gradients: Vec::new() })
    }

    /// The slopes of several losses at the same points.
    pub fn slopes_of<'p>(
        &self,
        points: impl Iterator<Item = &'p [f64]>,
        losses: &[&LossOnLogits<'_>],
    ) -> Result<Vec<Slopes>> {
        self.classifier.input_gradients(&self.form.tensor(points)?, losses)?.iter().map(slopes).collect()
    }
}

fn slopes(at: &InputGradient) -> Result<Slopes> {
    Ok(Slopes { logits: Logits::new(&at.logits)?, losses: numbers(&at.loss)?, gradients: numbers(&at.gradient)? })
}

/// The logit of one class for each image, `[batch]`.
pub(crate) fn pick(logits: &Tensor, classes: impl Iterator<Item = usize>) -> Result<Tensor> {
    let classes: Vec<u32> = classes.map(|class| class as u32).collect();
    let classes = Tensor::from_vec(classes, (logits.dim(0)?, 1), logits.device())?;
    Ok(logits.gather(&classes, 1)?.squeeze(1)?)
}
