//! For each law a plugin that breaks it: the law is found broken, and no other that has nothing to do with it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::prelude::*;
use crate::register_plugin;

/// Which law is broken.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Breaks {
    /// A word for it; none keeps every law.
    how: String,
}

/// Counts the plugins made, for those that do something else each time.
static MADE: AtomicU64 = AtomicU64::new(0);

struct Broken {
    how: String,
    number: u64,
    seen: u64,
}

impl Broken {
    fn new(settings: Breaks) -> Self {
        Self { how: settings.how, number: MADE.fetch_add(1, Ordering::SeqCst), seen: 0 }
    }

    fn is(&self, how: &str) -> bool {
        self.how == how
    }

    /// A fraction that those made shortly before and after do not come near, whatever tests made in the meantime.
    fn fraction(&self) -> f64 {
        (self.number as f64 * 0.618_033_988_749_895).fract()
    }
}

macro_rules! broken {
    ($($kind:ident $name:literal;)*) => { $(
        register_plugin! {
            kind: $kind,
            name: $name,
            summary: "breaks a law when it is told to",
            source: "own",
            settings: Breaks,
            make: |settings| Ok(Box::new(Broken::new(settings))),
        }
    )* };
}

broken! {
    Trainer "broken-trainer";
    Criterion "broken-criterion";
    Sensitivity "broken-metric";
    Schedule "broken-schedule";
    Attack "broken-attack";
    Allocation "broken-allocation";
    Architecture "broken-architecture";
    DataSet "broken-data";
}

/// The laws that are found broken.
fn broken(kind: Kind, name: &str, how: &str) -> Result<Vec<&'static str>> {
    let settings = serde_json::Map::from_iter([("how".to_owned(), Value::from(how))]);
    let surroundings = Surroundings { settings, data_dir: None };
    let findings = examine(registry::find(kind, name)?, &surroundings);
    Ok(findings
        .into_iter()
        .filter(|finding| matches!(finding.verdict, Verdict::Broken(_)))
        .map(|finding| finding.law)
        .collect())
}

/// Asserts that exactly these laws are found broken.
#[track_caller]
fn assert_broken(kind: Kind, name: &str, cases: &[(&str, &[&str])]) -> Result<()> {
    assert_eq!(broken(kind, name, "")?, [""; 0], "without a fault");
    for (how, laws) in cases {
        assert_eq!(&broken(kind, name, how)?, laws, "{name} with {how}");
    }
    Ok(())
}

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

impl Criterion for Broken {
    fn prepare(&mut self, _: &CallContext<'_>, network: &Network, _: &LoadedData) -> Result<()> {
        if self.is("moves a weight") {
            let weight = network.parameter("stem.weight")?;
            weight.set(&(weight.as_detached_tensor() * 1.5)?)?;
        }
        Ok(())
    }

    fn scores(&self, cx: &CallContext<'_>, _: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let mut scores: Vec<f64> = (0..group.channels).map(|channel| channel as f64).collect();
        match self.how.as_str() {
            "too few" => scores.truncate(1),
            "not finite" => scores[0] = f64::NAN,
            "unseeded" => scores[0] = self.number as f64,
            // The watcher's streams do not change from call to call, so a count of calls would; here a static stands for it.
            "order" => scores[0] = MADE.fetch_add(1, Ordering::SeqCst) as f64,
            _ => scores[0] = cx.streams.child(&group.name).stream().unit(),
        }
        Ok(scores)
    }
}

#[test]
fn criteria() -> Result<()> {
    assert_broken(
        Kind::Criterion,
        "broken-criterion",
        &[
            ("too few", &["it gives one finite score for each channel"]),
            ("moves a weight", &["the network is left as it was"]),
        ],
    )?;
    for (how, law) in [
        ("not finite", "it gives one finite score for each channel"),
        ("unseeded", "the same seed gives the same scores"),
        ("order", "the order in which groups are asked for does not matter"),
    ] {
        assert!(broken(Kind::Criterion, "broken-criterion", how)?.contains(&law), "{how}");
    }
    Ok(())
}

impl SensitivityMetric for Broken {
    fn measure(&self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<Vec<ModuleSensitivity>> {
        let mut seen = 0;
        if self.is("counts what had no room") {
            let mut parts = cx.parts(data.train.len(), 32, || Ok(()));
            while let Some(()) = parts.next_part(|part| {
                seen += part.len();
                Ok(())
            })? {}
        }
        if self.is("moves the statistics") {
            let batch = data.train.batch(&[0, 1, 2, 3], DType::F32, &Device::Cpu)?;
            network.forward(&batch.images, Mode::Train)?;
        }
        let value = |at: usize| match self.how.as_str() {
            "not finite" => f64::NEG_INFINITY,
            "unseeded" => self.fraction(),
            _ => (at + seen) as f64,
        };
        let modules = network.declaration().modules().enumerate();
        let mut all: Vec<_> =
            modules.map(|(at, layer)| ModuleSensitivity { module: layer.name.clone(), value: value(at) }).collect();
        if self.is("disorder") {
            all.reverse();
        }
        Ok(all)
    }
}

#[test]
fn metrics() -> Result<()> {
    let finite = "it gives one finite number for each module, in order";
    let few = "the numbers are the same where a GPU has room for few images";
    assert_broken(
        Kind::Sensitivity,
        "broken-metric",
        &[
            ("not finite", &[finite]),
            ("disorder", &[finite]),
            ("unseeded", &["the same seed gives the same numbers", few]),
            ("counts what had no room", &[few]),
            ("moves the statistics", &["the network is left as it was"]),
        ],
    )
}

impl PruningSchedule for Broken {
    fn ratio(&self, progress: f64, final_ratio: f64) -> f64 {
        match self.how.as_str() {
            "panics" => panic!("no ratio today"),
            "short" => 0.9 * progress * final_ratio,
            "falls" => final_ratio * if progress < 0.5 { 2.0 * progress } else { progress },
            "over" => final_ratio * if progress < 1.0 { 1.5 * progress } else { 1.0 },
            _ => progress * final_ratio,
        }
    }
}

#[test]
fn schedules() -> Result<()> {
    let (ends, rises, inside) = ("it ends at its target", "it never falls", "it stays between nothing and its target");
    assert_broken(
        Kind::Schedule,
        "broken-schedule",
        &[("short", &[ends]), ("falls", &[rises]), ("over", &[rises, inside]), ("panics", &[ends, rises, inside])],
    )
}

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
}

#[test]
fn attacks() -> Result<()> {
    assert_broken(
        Kind::Attack,
        "broken-attack",
        &[
            ("no norm", &["it knows one norm at least"]),
            ("outside", &["it stays inside its ball and the valid range"]),
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

impl Allocation for Broken {
    fn allocate(&self, request: &AllocationRequest<'_>) -> Result<Solution> {
        let groups = request.problem.groups();
        let mut solution = request.problem.solve(&|strength| vec![0.95 * strength; groups.len()])?;
        match self.how.as_str() {
            "forgets a group" => {
                solution.keep.pop();
            }
            "nothing left" => solution.keep[0] = 0,
            "out of reach" => return Err(Error::new(ErrorKind::Budget, "no ratio is in reach")),
            "boasts" => solution.achieved += 0.1,
            "always halves" => {
                solution.keep = groups.iter().map(|group| group.channels.div_ceil(2)).collect();
                solution
                    .keep
                    .iter_mut()
                    .zip(groups)
                    .filter(|(_, group)| group.frozen.is_some())
                    .for_each(|(keep, group)| *keep = group.channels);
                solution.achieved = request.problem.achieved(&solution.keep)?;
                solution.shortfall = None;
            }
            _ => {}
        }
        Ok(solution)
    }
}

#[test]
fn allocations() -> Result<()> {
    let counts = "it keeps between one and all channels of each group, and all of a frozen one";
    let budget = "the budget is met, or what stands between is said";
    assert_broken(Kind::Allocation, "broken-allocation", &[("boasts", &[budget])])?;
    for (how, law) in [
        ("forgets a group", counts),
        ("nothing left", counts),
        ("out of reach", counts),
        ("always halves", budget),
        ("always halves", "a ratio of 0 removes nothing"),
        ("always halves", "it keeps to the widths that the constraints allow"),
    ] {
        assert!(broken(Kind::Allocation, "broken-allocation", how)?.contains(&law), "{how}");
    }
    Ok(())
}

impl Architecture for Broken {
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        if self.is("refuses all") {
            return Err(Error::new(ErrorKind::Declaration, "the images are too small"));
        }
        let classes = if self.is("other classes") { request.classes + 1 } else { request.classes };
        let width = if self.is("unseeded") { 4 + (MADE.fetch_add(1, Ordering::SeqCst) % 64) as usize } else { 4 };
        let mut net = Builder::new("broken", request.input, classes);
        net.normalize("normalize", &request.mean, &request.std);
        if !self.is("nothing to prune") {
            net.conv("conv", width, ConvGeometry::same3(), false).batch_norm("bn").relu("relu");
        }
        net.global_avg_pool("pool").linear("out", classes).finish()
    }
}

#[test]
fn architectures() -> Result<()> {
    let fits = "the network takes the images and classes that were asked for";
    let prunes = "some of its channels can be pruned, and the cut network is the masked one";
    assert_broken(
        Kind::Architecture,
        "broken-architecture",
        &[
            ("refuses all", &["it declares a network for some images, and says why not for others"]),
            ("unseeded", &["the same request gives the same declaration"]),
            ("nothing to prune", &[prunes]),
            ("other classes", &[fits, "its logits are finite"]),
        ],
    )
}

impl DataSource for Broken {
    fn load(&self, directory: Option<&Path>) -> Result<LoadedData> {
        if self.is("needs a folder") && directory.is_none() {
            return Err(Error::new(ErrorKind::Data, "name a folder"));
        }
        let set = |count: usize, classes: usize, shift: u64| {
            let shape = ImageShape { channels: 1, height: 2, width: 2 };
            let pixels = (0..4 * count).map(|at| ((at as u64 + shift) % 200) as u8).collect();
            ImageSet::new(shape, pixels, 255, (0..count).map(|at| (at % 2) as u32).collect(), classes)
        };
        let classes = if self.is("a class without images") { 3 } else { 2 };
        let test_classes = if self.is("other classes") { 4 } else { classes };
        let shift = if self.is("unseeded") { self.number } else { 0 };
        Ok(LoadedData {
            train: set(if self.is("nothing to train") { 0 } else { 6 }, classes, shift)?,
            test: set(4, test_classes, 0)?,
            class_names: ["a", "b", "c"][..classes].iter().map(|name| (*name).to_owned()).collect(),
            mean: vec![0.5],
            std: vec![if self.is("no deviation") { 0.0 } else { 0.25 }],
            mirror_keeps_class: false,
        })
    }
}

#[test]
fn data_sets() -> Result<()> {
    let agree = "it has images to train and to test with, of one shape and the same classes";
    let occur = "every class has a name and occurs in the training images";
    assert_broken(
        Kind::DataSet,
        "broken-data",
        &[
            ("other classes", &[agree]),
            ("nothing to train", &[agree, occur]),
            ("a class without images", &[occur]),
            ("no deviation", &["there is a mean and a positive deviation for each channel"]),
            ("unseeded", &["loading it twice gives the same images"]),
            ("needs a folder", &[]),
        ],
    )
}

/// Settings that are written otherwise than they are read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Lossy {
    /// Written twice as large.
    #[serde(serialize_with = "doubled")]
    value: f64,
}

impl Default for Lossy {
    fn default() -> Self {
        Self { value: 1.0 }
    }
}

fn doubled<S: serde::Serializer>(value: &f64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(2.0 * value)
}

/// Settings whose schema knows less than they hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Hidden {
    /// In no schema.
    #[schemars(skip)]
    value: f64,
}

register_plugin! {
    kind: Schedule,
    name: "lossy-settings",
    summary: "settings that change when they are written",
    source: "own",
    settings: Lossy,
    make: |settings| Ok(Box::new(Broken::new(Breaks { how: if settings.value < 0.0 { "panics".into() } else { String::new() } }))),
}

register_plugin! {
    kind: Schedule,
    name: "hidden-settings",
    summary: "a setting that nobody is told of",
    source: "own",
    settings: Hidden,
    make: |settings| Ok(Box::new(Broken::new(Breaks { how: if settings.value < 0.0 { "panics".into() } else { String::new() } }))),
}

#[test]
fn settings_are_examined_for_every_kind() -> Result<()> {
    let found = |name: &str| -> Result<Vec<&'static str>> {
        let findings = examine(registry::find(Kind::Schedule, name)?, &Surroundings::default());
        Ok(findings
            .into_iter()
            .filter(|finding| finding.verdict != Verdict::Holds)
            .map(|finding| finding.law)
            .collect())
    };
    assert_eq!(found("lossy-settings")?, ["its settings survive being written and read"]);
    assert_eq!(found("hidden-settings")?, ["its schema describes every setting"]);
    Ok(())
}

#[test]
fn what_is_broken_fails_a_plugins_own_test() {
    assert!(require(Kind::Schedule, "broken-schedule").is_ok());
    let error = require(Kind::Schedule, "lossy-settings").expect_err("a law is broken");
    assert_eq!(error.kind(), ErrorKind::Plugin);
    assert!(error.to_string().contains("`lossy-settings` breaks its laws: its settings survive"), "{error}");
}
