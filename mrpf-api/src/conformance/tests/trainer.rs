//! Broken trainers are found out.

use super::*;

impl AdversarialTrainer for Broken {
    fn loss(&mut self, step: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        self.seen += 1;
        if self.is("moves a weight") {
            let weight = network.parameter("stem.weight")?;
            weight.set(&(weight.as_detached_tensor() * 1.5)?)?;
        }
        let logits = network.forward(&batch.images, Mode::Train)?;
        let mut loss = loss::cross_entropy(&logits, &batch.labels, step.label_smoothing)?;
        match self.how.as_str() {
            "a loss per image" => loss = loss::cross_entropy_per_image(&logits, &batch.labels)?,
            "not finite" => loss = (loss * f64::INFINITY)?,
            "detached" => loss = loss.detach(),
            "unseeded" => loss = (loss * (1.0 + self.number as f64))?,
            "climbs" => loss = loss.neg()?,
            "remembers" => loss = (loss * (1.0 / self.seen as f64))?,
            _ => {}
        }
        let logits = if self.is("tracked logits") { logits } else { logits.detach() };
        Ok(TrainingLoss { loss, logits })
    }

    fn end_epoch(&mut self, _: &TrainingStep<'_>, network: &Network) -> Result<EpochEnd> {
        if self.is("ends with a pass in training mode") {
            network.forward(&Tensor::ones((2, 1, 8, 8), network.dtype(), network.device())?, Mode::Train)?;
        }
        Ok(EpochEnd::GoOn)
    }
}

#[test]
fn trainers() -> Result<()> {
    let no_gradient: &[&str] = &[
        "every parameter has a finite gradient",
        "training with it improves a small problem",
        "with its state put back it goes on as if uninterrupted",
    ];
    assert_broken(
        Kind::Trainer,
        "broken-trainer",
        &[
            ("tracked logits", &["the logits are finite, a row for each image, and carry no gradient"]),
            ("detached", no_gradient),
            ("ends with a pass in training mode", &["the end of an epoch changes nothing of the network"]),
            ("moves a weight", &["making the loss moves no weight"]),
            ("climbs", &["training with it improves a small problem"]),
            ("remembers", &["with its state put back it goes on as if uninterrupted"]),
        ],
    )?;
    for (how, law) in [
        ("a loss per image", "the loss of a batch is one finite number"),
        ("not finite", "the loss of a batch is one finite number"),
        ("unseeded", "the same seed gives the same loss and gradients"),
    ] {
        assert!(broken(Kind::Trainer, "broken-trainer", how)?.contains(&law), "{how}");
    }
    Ok(())
}
