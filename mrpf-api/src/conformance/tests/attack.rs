//! Broken attacks are found out.

use super::*;

impl Attack for Broken {
    fn attack(
        &self,
        cx: &CallContext<'_>,
        classifier: &dyn Classifier,
        threat: &ThreatModel,
        batch: &Batch,
    ) -> Result<AttackOutcome> {
        if self.is("no norm") {
            return Err(Error::new(ErrorKind::Settings, "the norm is not known"));
        }
        if self.is("refuses late") && threat.norm == Norm::L1 {
            return Err(Error::new(ErrorKind::Settings, "l1 is not known"));
        }
        let epsilon = threat.epsilon.value();
        let shape = &batch.images.dims()[1..];
        let call = MADE.fetch_add(1, Ordering::SeqCst);
        let streams = if self.is("unseeded") { cx.streams.child(call) } else { cx.streams.clone() };
        let indices = if self.is("by place") { (0..batch.len()).collect() } else { batch.indices.clone() };
        let noise = (streams.normal_per_image(&indices, shape, &batch.images)? * (3.0 * epsilon))?;
        let moved = (&batch.images + noise)?;
        let images = match self.how.as_str() {
            "outside" => moved,
            "never still" => (threat.project(&batch.images, &moved)? * 0.99)?,
            "mends" | "timid" => {
                // Towards the label; or away from it, as long as the ball is small.
                let large = threat.epsilon.value() > [0.06, 0.25, 1.2][threat.norm as usize];
                let away = if self.is("mends") { -1.0 } else { f64::from(u8::from(!large)) };
                let loss = |logits: &Tensor| loss::cross_entropy_per_image(logits, &batch.labels);
                let step = classifier.input_gradient(&batch.images, &loss)?.gradient.sign()?;
                threat.project(&batch.images, &(&batch.images + (step * (away * epsilon))?)?)?
            }
            _ => threat.project(&batch.images, &moved)?,
        };
        let mut outcome = AttackOutcome::judge(classifier, images, &batch.labels)?;
        if self.is("boasts") {
            outcome.broken = vec![true; batch.len()];
            outcome.loss = vec![99.0; batch.len()];
        }
        Ok(outcome)
    }

    fn check(&self, _threat: &ThreatModel, classes: usize, _shape: ImageShape) -> Result<Foresight> {
        match self.how.as_str() {
            "refuses early" if classes > 2 => Err(Error::new(ErrorKind::Settings, "more than two classes")),
            "refuses late" => Ok(Foresight::Fits),
            _ => Ok(Foresight::Unknown),
        }
    }
}

#[test]
fn attacks() -> Result<()> {
    assert_broken(
        Kind::Attack,
        "broken-attack",
        &[
            ("no norm", &["it knows one norm at least"]),
            ("outside", &["it stays inside its ball and the valid range"]),
            ("refuses late", &["what it accepts beforehand it does not refuse later"]),
            ("refuses early", &["what it accepts beforehand it does not refuse later"]),
            ("unseeded", &["the same seed gives the same images", "an image is attacked alike in any company"]),
            ("by place", &["an image is attacked alike in any company"]),
            ("boasts", &["what it says of its images is true"]),
            ("mends", &["it makes no image right"]),
            ("timid", &["a larger ball is no safer"]),
        ],
    )?;
    assert!(broken(Kind::Attack, "broken-attack", "never still")?.contains(&"at epsilon 0 it changes nothing"));
    Ok(())
}
