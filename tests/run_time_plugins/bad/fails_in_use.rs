//! A plugin of several kinds that panics, or fails, where it is told to.

use mrpf_api::prelude::*;

#[derive(Default, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
enum Way {
    #[default]
    Panic,
    PanicInThread,
    Error,
    Nan,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
struct Settings {
    /// How it fails.
    way: Way,
    /// After so many calls.
    after: usize,
    /// Steps of the attack that it does not make.
    steps: usize,
}

export_plugin!();

register_plugin! {
    kind: Trainer,
    name: "failing-trainer",
    summary: "fails after some steps",
    source: "own",
    settings: Settings,
    make: |settings| Ok(Box::new(Failing { settings, calls: 0 })),
}

register_plugin! {
    kind: Schedule,
    name: "failing-schedule",
    summary: "has no way to say that it fails, and panics",
    source: "own",
    settings: Settings,
    make: |settings| Ok(Box::new(Failing { settings, calls: 0 })),
}

struct Failing {
    settings: Settings,
    calls: usize,
}

impl Failing {
    fn fail(&self) -> Result<f64> {
        match self.settings.way {
            Way::Panic => panic!("index 7 is out of range"),
            Way::PanicInThread => {
                use mrpf_api::rayon::iter::{IntoParallelIterator, ParallelIterator};
                (0..64).into_par_iter().for_each(|at| assert!(at != 63, "worker 63 has nothing to do"));
                Ok(0.0)
            }
            Way::Error => Err(Error::new(ErrorKind::Numeric, "the inner problem has no solution").hint("lower rho")),
            Way::Nan => Ok(f64::NAN),
        }
    }
}

impl AdversarialTrainer for Failing {
    fn loss(&mut self, _: &TrainingStep<'_>, network: &Network, batch: &Batch) -> Result<TrainingLoss> {
        let logits = network.forward(&batch.images, Mode::Train)?;
        let mut loss = loss::cross_entropy(&logits, &batch.labels, 0.0)?;
        self.calls += 1;
        if self.calls > self.settings.after {
            loss = (loss * self.fail()?)?;
        }
        Ok(TrainingLoss { loss, logits: logits.detach() })
    }
}

impl PruningSchedule for Failing {
    fn ratio(&self, _progress: f64, _final_ratio: f64) -> f64 {
        self.fail().unwrap_or(f64::NAN)
    }
}
