//! The images whose loss a criterion looks at.

use mrpf_api::prelude::*;

/// Which training images are looked at, and how.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct ImageSettings {
    /// Clean or attacked images.
    pub input: Input,
    /// How many training images, class-balanced; at least 1.
    #[schemars(range(max = 100_000_000))]
    pub images: usize,
    /// Images in a batch; at least 1.
    #[schemars(range(max = 1_000_000))]
    pub batch: usize,
    /// Radius of the attack's L-inf ball, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub epsilon: Fraction,
    /// Length of an attack's step, in the unit of the pixels.
    #[schemars(extend("x-length" = "linf"))]
    pub step_size: Fraction,
    /// Number of the attack's steps.
    #[schemars(range(max = 10_000))]
    pub steps: usize,
}

/// What is done to the images first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Input {
    /// Nothing.
    #[default]
    Clean,
    /// PGD against the network as it is, from a uniform start.
    Adversarial,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            input: Input::Clean,
            images: 512,
            batch: 64,
            epsilon: Fraction::new(8, 255),
            step_size: Fraction::new(2, 255),
            steps: 10,
        }
    }
}

impl ImageSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] for no images, a negative radius, or steps that are not positive.
    pub fn check(&self) -> Result<()> {
        let Self { images, batch, epsilon, step_size, steps, .. } = self;
        if *images > 0 && *batch > 0 && epsilon.value() >= 0.0 && step_size.value() > 0.0 && *steps > 0 {
            return Ok(());
        }
        let found = format!("images {images}, batch {batch}, epsilon {epsilon}, step_size {step_size}, {steps} steps");
        let expected = "expected at least 1 image in a batch, a radius of at least 0, a positive step, at least 1 step";
        Err(Error::new(ErrorKind::Settings, format!("{found}, {expected}")))
    }

    /// The images in batches, attacked if that is asked for.
    pub(crate) fn batches(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<Batch>> {
        let indices = data.train.balanced_subset(self.images, &cx.streams.child("subset"));
        let chunks: Vec<_> = indices.chunks(self.batch).collect();
        let frozen = (self.input == Input::Adversarial).then(|| network.freeze()).transpose()?;
        let mut batches = Vec::with_capacity(chunks.len());
        for (at, part) in chunks.iter().enumerate() {
            let batch = data.train.batch(part, network.dtype(), network.device())?;
            batches.push(match &frozen {
                None => batch,
                Some(frozen) => {
                    cx.step("attacking images", at, chunks.len())?;
                    self.attacked(cx, frozen, batch)?
                }
            });
        }
        Ok(batches)
    }

    fn attacked(&self, cx: &CallContext<'_>, frozen: &FrozenNetwork, batch: Batch) -> Result<Batch> {
        let ascent = Ascent {
            threat: ThreatModel { norm: Norm::Linf, epsilon: self.epsilon.clone() },
            step_size: self.step_size.value(),
            steps: self.steps,
            start: Start::Uniform,
        };
        let mut attacked = Vec::new();
        let mut parts = cx.parts(batch.len(), batch.len(), || frozen.release_memory());
        while let Some(found) = parts.next_part(|part| {
            let part = batch.part(part)?;
            let start = ascent.starting_images(&cx.child("attack"), &part)?;
            let loss = |logits: &Tensor| loss::cross_entropy_per_image(logits, &part.labels);
            ascend(cx, frozen, &part.images, &start, &ascent, &loss)
        })? {
            attacked.push(found);
        }
        Ok(batch.with_images(Tensor::cat(&attacked, 0)?))
    }
}
