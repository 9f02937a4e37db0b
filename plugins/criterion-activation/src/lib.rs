//! Criteria by what a channel shows of images, in evaluation mode on clean training images: `activation` and `hrank`.

mod maps;
mod rank;

use mrpf_api::prelude::*;

pub use rank::rank;

use maps::{Maps, OfMaps, mean_over_images};

/// Settings of `activation`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct ActivationSettings {
    /// What is measured of a channel's values after the activation.
    pub measure: Measure,
    /// How the numbers of the places at which one channel shows become one score.
    pub reduction: Reduction,
    /// How many training images are shown, class-balanced; at least 1.
    #[schemars(range(max = 100_000_000))]
    pub images: usize,
    /// Images in a batch; changes nothing but time and memory. At least 1.
    #[schemars(range(max = 1_000_000))]
    pub batch: usize,
}

/// What is measured of a channel's values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Measure {
    /// The mean of their sizes, over images and pixels.
    #[default]
    MeanAbsolute,
    /// The Euclidean norm of an image's map, averaged over images.
    L2,
    /// The share that is not zero: 1 - APoZ, the average percentage of zeros (Hu et al. 2016).
    Apoz,
}

impl Default for ActivationSettings {
    fn default() -> Self {
        Self { measure: Measure::default(), reduction: Reduction::default(), images: 512, batch: 64 }
    }
}

register_plugin! {
    kind: Criterion,
    name: "activation",
    summary: "how strongly a channel answers to images, or how often at all (APoZ)",
    source: "Molchanov et al. 2017, arXiv 1611.06440; apoz: Hu et al. 2016, Network Trimming, arXiv 1607.03250",
    settings: ActivationSettings,
    make: |settings| {
        let ActivationSettings { measure, reduction, images, batch } = settings;
        check(images, batch)?;
        Ok(Box::new(Shown { of_maps: Box::new(move |maps| measure.of(maps)), reduction, images, batch, seen: None }))
    },
}

impl Measure {
    /// For each channel the sum over the images.
    fn of(self, maps: &Maps) -> Result<Vec<f64>> {
        let of_image = match self {
            Self::MeanAbsolute => maps.0.abs()?.mean(2)?,
            Self::L2 => maps.0.sqr()?.sum(2)?.sqrt()?,
            Self::Apoz => maps.0.ne(0.0)?.in_f64()?.mean(2)?,
        };
        Ok(of_image.sum(0)?.to_vec1()?)
    }
}

/// Settings of `hrank`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct HrankSettings {
    /// How the ranks at the places at which one channel shows become one score.
    pub reduction: Reduction,
    /// How many training images are shown, class-balanced; at least 1. The authors take 640 augmented ones and find that few tell the same.
    #[schemars(range(max = 100_000_000))]
    pub images: usize,
    /// Images in a batch; changes nothing but time and memory. At least 1.
    #[schemars(range(max = 1_000_000))]
    pub batch: usize,
}

impl Default for HrankSettings {
    fn default() -> Self {
        Self { reduction: Reduction::default(), images: 128, batch: 64 }
    }
}

register_plugin! {
    kind: Criterion,
    name: "hrank",
    summary: "mean rank of a channel's maps after the activation, as matrices of pixels",
    source: "Lin et al. 2020, HRank, arXiv 2002.10179",
    settings: HrankSettings,
    make: |settings| {
        let HrankSettings { reduction, images, batch } = settings;
        check(images, batch)?;
        Ok(Box::new(Shown { of_maps: Box::new(rank::sums_of_ranks), reduction, images, batch, seen: None }))
    },
}

fn check(images: usize, batch: usize) -> Result<()> {
    if images > 0 && batch > 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Settings, format!("images {images}, batch {batch}, expected at least 1 of each")))
}

/// A number of each channel's maps, averaged over images.
struct Shown {
    of_maps: Box<OfMaps>,
    reduction: Reduction,
    images: usize,
    batch: usize,
    /// For each layer at which channels show, the mean of each channel.
    seen: Option<maps::Means>,
}

impl Criterion for Shown {
    fn prepare(&mut self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<()> {
        let indices = data.train.balanced_subset(self.images, &cx.streams.child("subset"));
        self.seen = Some(mean_over_images(cx, network, &data.train, &indices, self.batch, self.of_maps.as_ref())?);
        Ok(())
    }

    fn scores(&self, _cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let seen = self.seen.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Plugin, "scores were asked for before any image was shown")
                .hint("call `prepare` first")
        })?;
        Ok(self.reduction.reduce(&maps::of_group(seen, network.declaration(), group)?, group.channels))
    }
}

#[cfg(test)]
mod tests;
