//! The ascent for images that leave it when they are misclassified.

use mrpf_api::prelude::*;

use crate::objective::Objective;

/// The ascent, in which an image takes part until it is misclassified.
pub(crate) fn first_broken(
    cx: &CallContext<'_>,
    classifier: &dyn Classifier,
    batch: &Batch,
    start: &Tensor,
    ascent: &Ascent,
    objective: Objective,
) -> Result<AttackOutcome> {
    let mut done: Vec<Option<(Tensor, bool, f64)>> = vec![None; batch.len()];
    let (mut rest, mut images) = (batch.clone(), start.clone());
    let mut rows: Vec<usize> = (0..batch.len()).collect();
    for step in 0..ascent.steps {
        cx.check_interrupt()?;
        let loss = |logits: &Tensor| objective.per_image(logits, &rest.labels);
        let at = classifier.input_gradient(&images, &loss)?;
        // That start may lie outside the ball, where nothing counts.
        let is_inside = step > 0 || ascent.start != Start::SmallNormal;
        let here = AttackOutcome::from_logits(images.clone(), &at.logits, &rest.labels)?;
        let (leaving, staying): (Vec<usize>, Vec<usize>) =
            (0..rows.len()).partition(|&at| is_inside && here.broken[at]);
        for &at in &leaving {
            done[rows[at]] = Some((images.narrow(0, at, 1)?, true, here.loss[at]));
        }
        let mut gradient = at.gradient;
        if !leaving.is_empty() {
            if staying.is_empty() {
                rows.clear();
                break;
            }
            let indices: Vec<u32> = staying.iter().map(|&at| at as u32).collect();
            let indices = Tensor::new(indices, images.device())?;
            (images, gradient) = (images.index_select(&indices, 0)?, gradient.index_select(&indices, 0)?);
            rest = rest.select(&staying)?;
            rows = staying.into_iter().map(|at| rows[at]).collect();
        }
        images = ascent.step(&rest.images, &images, &gradient)?;
    }
    if !rows.is_empty() {
        let last = AttackOutcome::judge(classifier, ascent.threat.project(&rest.images, &images)?, &rest.labels)?;
        for (at, row) in rows.into_iter().enumerate() {
            done[row] = Some((last.images.narrow(0, at, 1)?, last.broken[at], last.loss[at]));
        }
    }
    let (mut images, mut broken, mut loss) = (Vec::new(), Vec::new(), Vec::new());
    for (image, is_broken, value) in done.into_iter().flatten() {
        images.push(image);
        broken.push(is_broken);
        loss.push(value);
    }
    Ok(AttackOutcome { images: Tensor::cat(&images, 0)?, broken, loss })
}
