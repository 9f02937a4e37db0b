//! Clean and robust accuracy on held-out training images.

use mrpf_api::Result;
use mrpf_api::attack::{Ascent, Norm, Start, ThreatModel, ascend};
use mrpf_api::context::CallContext;
use mrpf_api::network::Classifier;
use mrpf_api::numeric::loss;

use super::device_images::DeviceImages;
use super::job::TrainingJob;
use super::parts::Parts;

/// Shares of the held-out images that are classified rightly, clean and under the validation attack; `None` if none are held out.
///
/// The attack starts from the same points in every epoch, so that epochs can be compared.
///
/// `cx` is the same in every epoch, so that how many images a GPU has room for is found once.
pub(super) fn validate(
    cx: &CallContext<'_>,
    job: &TrainingJob<'_>,
    parts: &Parts,
    images: Option<&DeviceImages>,
) -> Result<Option<[f64; 2]>> {
    let holdout = &job.split.holdout;
    if holdout.is_empty() {
        return Ok(None);
    }
    let settings = &job.settings.validation;
    let ascent = Ascent {
        threat: ThreatModel { norm: Norm::Linf, epsilon: settings.epsilon.clone() },
        step_size: settings.step_size.value(),
        steps: settings.steps,
        start: Start::Uniform,
    };
    let network = &job.network;
    let frozen = network.freeze()?;
    let (mut clean, mut robust) = (0, 0);
    // What training keeps ready goes as well.
    let release = || network.release_memory().and_then(|()| frozen.release_memory());
    let mut parts = cx.parts(holdout.len(), parts.at_a_time(job.settings.batch), release);
    while let Some((unattacked, attacked)) = parts.next_part(|part| {
        let part = &holdout[part];
        let batch = match images {
            Some(images) => images.unvaried(&job.data.train, part, network)?,
            None => job.data.train.batch(part, network.dtype(), network.device())?,
        };
        let right = |images| -> Result<Vec<bool>> { loss::correct(&frozen.logits(images)?, &batch.labels) };
        let unattacked = right(&batch.images)?;
        let start = ascent.starting_images(cx, &batch)?;
        let climbed = |logits: &_| loss::cross_entropy_per_image(logits, &batch.labels);
        let attacked = right(&ascend(cx, &frozen, &batch.images, &start, &ascent, &climbed)?)?;
        Ok((unattacked, attacked))
    })? {
        clean += unattacked.iter().filter(|&&right| right).count();
        robust += unattacked.iter().zip(&attacked).filter(|(clean, robust)| **clean && **robust).count();
    }
    let count = holdout.len() as f64;
    Ok(Some([clean as f64 / count, robust as f64 / count]))
}
