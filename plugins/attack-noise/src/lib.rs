//! `gaussian-noise`: what random noise breaks. An attack that breaks no more than this sees nothing of the network.

use mrpf_api::attack::search::{Ball, Case, Ground, Search, Searches, length};
use mrpf_api::prelude::*;

/// Settings of `gaussian-noise`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct GaussianNoiseSettings {
    /// How many draws; each image keeps its worst. At least 1.
    #[schemars(range(max = 100_000))]
    pub draws: usize,
    /// Standard deviation of the noise, in the unit of the pixels, before it is put into the ball. When not given, the noise is
    /// scaled to the ball's surface.
    #[schemars(extend("x-length" = "linf"))]
    pub std: Option<Fraction>,
}

impl Default for GaussianNoiseSettings {
    fn default() -> Self {
        Self { draws: 10, std: None }
    }
}

register_plugin! {
    kind: Attack,
    name: "gaussian-noise",
    summary: "normal noise put into the ball, the worst of several draws: a control, for any norm",
    source: "own; the noise of Hendrycks & Dietterich 2019, arXiv 1903.12261, within a ball",
    settings: GaussianNoiseSettings,
    make: |settings| Ok(Searches::one(GaussianNoise::new(settings)?)),
}

struct GaussianNoise(GaussianNoiseSettings);

impl GaussianNoise {
    fn new(settings: GaussianNoiseSettings) -> Result<Self> {
        if settings.draws == 0 {
            return Err(Error::new(ErrorKind::Settings, "0 draws, expected at least 1"));
        }
        if let Some(std) = settings.std.as_ref().filter(|std| std.value() <= 0.0) {
            return Err(Error::new(ErrorKind::Settings, format!("std {std}, expected a number above 0")));
        }
        Ok(Self(settings))
    }

    /// The image with noise of its own.
    fn noisy(&self, ball: Ball, case: &Case, streams: &Streams) -> Vec<f64> {
        let mut noise = vec![0.0; case.clean.len()];
        streams.child(case.index).stream().fill_normal(&mut noise);
        let scale = match &self.0.std {
            Some(std) => std.value(),
            None => ball.epsilon / length(ball.norm, noise.iter().copied()).max(f64::MIN_POSITIVE),
        };
        let mut point: Vec<f64> = case.clean.iter().zip(noise).map(|(clean, noise)| clean + scale * noise).collect();
        ball.project(&case.clean, &mut point);
        point
    }
}

impl Search for GaussianNoise {
    fn name(&self) -> &'static str {
        "gaussian-noise"
    }

    fn means(&self) -> AttackMeans {
        AttackMeans::Noise
    }

    fn search(&self, cx: &CallContext<'_>, ball: Ball, ground: &Ground<'_>) -> Result<Vec<Vec<f64>>> {
        let mut found: Vec<(f64, Vec<f64>)> =
            ground.cases.iter().map(|case| (f64::INFINITY, case.clean.clone())).collect();
        for draw in 0..self.0.draws {
            cx.check_interrupt()?;
            // Images that an earlier draw broke are left alone.
            let left: Vec<usize> = (0..found.len()).filter(|&row| found[row].0 >= 0.0).collect();
            if left.is_empty() {
                break;
            }
            let streams = cx.streams.child(draw);
            let points: Vec<Vec<f64>> =
                left.iter().map(|&row| self.noisy(ball, &ground.cases[row], &streams)).collect();
            let logits = ground.logits(points.iter().map(Vec::as_slice))?;
            for (at, point) in points.into_iter().enumerate() {
                let margin = logits.margin(at, ground.cases[left[at]].label);
                if margin < found[left[at]].0 {
                    found[left[at]] = (margin, point);
                }
            }
        }
        Ok(found.into_iter().map(|(_, point)| point).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::serde_json::json;
    use mrpf_test_support::resnet8;

    #[test]
    fn it_keeps_the_laws_of_its_kind() -> Result<()> {
        mrpf_api::conformance::require(Kind::Attack, "gaussian-noise")
    }

    #[test]
    fn the_noise_is_on_the_surface_or_as_wide_as_asked_and_more_draws_find_worse() -> Result<()> {
        let (network, mut batch) = resnet8()?;
        let frozen = network.freeze()?;
        batch.labels = Tensor::new(loss::predictions(&frozen.logits(&batch.images)?)?, &Device::Cpu)?;
        let cx = CallContext::unwatched(Streams::new(3));
        let run = |settings, epsilon: f64| {
            let threat = ThreatModel { norm: Norm::L2, epsilon: Fraction::from(epsilon) };
            mrpf_api::registry::make::<dyn Attack>("gaussian-noise", settings)?.attack(&cx, &frozen, &threat, &batch)
        };
        let longest = |outcome: &AttackOutcome| -> Result<f64> {
            Ok(Norm::L2.distances(&batch.images, &outcome.images)?.into_iter().fold(0.0, f64::max))
        };
        let surface = longest(&run(json!({ "draws": 1 }), 0.05)?)?;
        assert!((surface - 0.05).abs() < 0.005, "{surface}");
        let narrow = longest(&run(json!({ "draws": 1, "std": 0.001 }), 0.05)?)?;
        assert!((0.01..0.017).contains(&narrow), "{narrow} of about 0.001 * sqrt(192)");
        let loss = |draws: usize| -> Result<f64> { Ok(run(json!({ "draws": draws }), 8.0)?.loss.iter().sum()) };
        let (one, many) = (loss(1)?, loss(30)?);
        assert!(one + 0.1 < many, "{one} {many}");
        Ok(())
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let refused = |settings| GaussianNoise::new(settings).err().map(|error| error.to_string());
        let none = refused(GaussianNoiseSettings { draws: 0, std: None });
        assert_eq!(none.as_deref(), Some("0 draws, expected at least 1"));
        let flat = refused(GaussianNoiseSettings { draws: 1, std: Some(Fraction::from(0.0)) });
        assert_eq!(flat.as_deref(), Some("std 0, expected a number above 0"));
    }
}
