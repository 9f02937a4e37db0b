//! Gradients of the loss of images in evaluation mode, by parameter, in f64.

use mrpf_api::prelude::*;

/// The gradient that was gathered for a parameter.
pub(crate) fn of<'a>(gathered: &'a Weights, parameter: &str) -> Result<&'a Tensor> {
    gathered
        .get(parameter)
        .ok_or_else(|| Error::unknown_name("gradient", parameter, gathered.keys().map(String::as_str)))
}

/// Gradient of the mean cross-entropy over all images.
pub(crate) fn mean_gradients(cx: &CallContext<'_>, network: &Network, batches: &[Batch]) -> Result<Weights> {
    let images: usize = batches.iter().map(Batch::len).sum();
    let mut mean = Weights::new();
    for (at, batch) in batches.iter().enumerate() {
        cx.step("gradients of batches", at, batches.len())?;
        let share = batch.len() as f64 / images as f64;
        for (name, gradient) in of_batch(cx, network, batch)? {
            add(&mut mean, name, (gradient * share)?)?;
        }
    }
    Ok(mean)
}

/// Mean over all images of the squared gradient of the image's cross-entropy.
pub(crate) fn squared_gradients(cx: &CallContext<'_>, network: &Network, batches: &[Batch]) -> Result<Weights> {
    let images: usize = batches.iter().map(Batch::len).sum();
    let mut mean = Weights::new();
    let mut done = 0;
    for batch in batches {
        for row in 0..batch.len() {
            cx.step("gradients of images", done, images)?;
            done += 1;
            for (name, gradient) in of_batch(cx, network, &batch.select(&[row])?)? {
                add(&mut mean, name, (gradient.sqr()? / images as f64)?)?;
            }
        }
    }
    Ok(mean)
}

fn add(sums: &mut Weights, name: String, term: Tensor) -> Result<()> {
    let sum = match sums.get(&name) {
        None => term,
        Some(sum) => (sum + term)?,
    };
    sums.insert(name, sum);
    Ok(())
}

/// Gradient of the mean cross-entropy of a batch; gathered from parts of it where a GPU has no room for it whole.
///
/// # Errors
/// [`ErrorKind::Numeric`] naming a parameter that the loss does not depend on.
pub(crate) fn of_batch(cx: &CallContext<'_>, network: &Network, batch: &Batch) -> Result<Weights> {
    let mut mean = Weights::new();
    let mut parts = cx.parts(batch.len(), batch.len(), || network.release_memory());
    while let Some((images, gradients)) =
        parts.next_part(|part| Ok((part.len(), of_images(network, &batch.part(part)?)?)))?
    {
        if images == batch.len() {
            return Ok(gradients);
        }
        let share = images as f64 / batch.len() as f64;
        gradients.into_iter().try_for_each(|(name, gradient)| add(&mut mean, name, (gradient * share)?))?;
    }
    Ok(mean)
}

/// The same of images that go through together.
fn of_images(network: &Network, batch: &Batch) -> Result<Weights> {
    let logits = network.forward(&batch.images, Mode::Evaluate)?;
    let gradients = loss::cross_entropy(&logits, &batch.labels, 0.0)?.backward()?;
    let of_parameter = |(name, variable): (&String, &Var)| {
        let none = || Error::new(ErrorKind::Numeric, format!("the loss has no gradient with respect to `{name}`"));
        Ok((name.clone(), gradients.get(variable).ok_or_else(none)?.in_f64()?))
    };
    network.parameters().iter().map(of_parameter).collect()
}
