//! A small made-up comparison for tests: two ratios, three methods, two seeds, the same in every call.

use mrpf_api::Result;
use mrpf_api::attack::AttackMeans;
use mrpf_api::coupling::{ChannelGroup, Cost, Member, PruningPlan, Role};
use mrpf_api::random::Streams;
use mrpf_api::sensitivity::ModuleSensitivity;
use serde_json::json;
use std::collections::BTreeMap;

use super::findings::{Axis, DenseFinding, Failure, Finding, Findings, Place};
use crate::evaluation::{AttackRecord, AttackedImage, Evaluation, ImageOutcome};
use crate::experiment::{BUILT_IN, Experiment};
use crate::pipeline::{PrunedRow, TrainedRecord};
use crate::pruning::{GroupRecord, PruneRecord};
use crate::results::Row;
use crate::training::EpochRecord;

/// The setting that is varied.
pub(crate) const SETTING: &str = "prune.ratio";
const SEEDS: [u64; 2] = [1, 2];
const IMAGES: usize = 150;
const ATTACKS: [&str; 2] = ["pgd", "square"];

/// A method with its clean and robust accuracy at both ratios: the first two are alike at the low ratio and apart at the high one.
const METHODS: [(&str, [[f64; 2]; 2]); 3] = [
    ("mrs-l1-norm", [[0.88, 0.58], [0.82, 0.52]]),
    ("l1-norm-uniform", [[0.88, 0.57], [0.74, 0.38]]),
    ("random-uniform", [[0.70, 0.34], [0.50, 0.18]]),
];
const RATIOS: [f64; 2] = [0.5, 0.8];
/// Layers with their channels; each reads the one before it, with a 3x3 kernel on an 8x8 image.
const GROUPS: [(&str, usize); 4] = [("conv1", 8), ("block1", 8), ("block2", 16), ("block3", 16)];
const CLASSES: usize = 10;
/// How two metrics rate the layers, the classifier last.
const METRICS: [(&str, [f64; 5]); 2] = [("mrs", [0.9, 0.5, 0.31, 0.12, 0.7]), ("mrc", [4.0, 1.0, 1.5, 0.25, 3.5])];

/// The comparison with all of its twelve rows.
pub(crate) fn sample() -> Result<Findings> {
    let mut experiment = Experiment::from_toml(BUILT_IN)?;
    experiment.name = "sample".into();
    experiment.grid.seeds = SEEDS.to_vec();
    experiment.grid.vary = [(SETTING.to_owned(), RATIOS.map(|ratio| json!(ratio)).to_vec())].into();
    let mut pruned = Vec::new();
    for at_ratio in 0..RATIOS.len() {
        for (method, levels) in METHODS {
            pruned.extend(SEEDS.map(|seed| finding(at_ratio, method, levels[at_ratio], seed)));
        }
    }
    Ok(Findings {
        experiment,
        axes: vec![Axis { setting: SETTING.into(), values: RATIOS.map(|ratio| ratio.to_string()).to_vec() }],
        methods: METHODS.map(|(name, _)| name.to_owned()).to_vec(),
        dense: vec![dense()],
        pruned,
        failures: Vec::new(),
    })
}

/// The same without one row, which failed.
pub(crate) fn sample_with_a_failure() -> Result<Findings> {
    let mut findings = sample()?;
    let missing = findings.pruned.pop().map(|finding| finding.place);
    findings.failures.push(Failure {
        stage: "prune random-uniform, prune.ratio 0.8, seed 2".into(),
        reason: "process 7 ended with signal 9: memory ran out | limit 8 GB".into(),
        places: missing.into_iter().collect(),
    });
    Ok(findings)
}

fn dense() -> DenseFinding {
    let evaluation = evaluation("dense", [0.92, 0.62]);
    let mut row = Row::measured("dense", &cost(&GROUPS.map(|(_, channels)| channels)), &evaluation);
    row.trainer = "pgd-at".into();
    row.budget = "macs".into();
    row.epsilon = "0.1".into();
    row.model = "train/dense.safetensors".into();
    let modules = |values: [f64; 5]| {
        let names = GROUPS.iter().map(|(name, _)| *name).chain(["linear"]);
        names.zip(values).map(|(module, value)| ModuleSensitivity { module: module.into(), value }).collect()
    };
    DenseFinding {
        settings: BTreeMap::new(),
        training: training("pgd-at"),
        evaluation,
        sensitivities: METRICS.map(|(metric, values)| (metric.to_owned(), modules(values))).to_vec(),
        network: row.model.clone().into(),
        row,
    }
}

fn finding(at_ratio: usize, method: &str, level: [f64; 2], seed: u64) -> Finding {
    let ratio = RATIOS[at_ratio];
    let place = Place { settings: [(SETTING.to_owned(), ratio.to_string())].into(), method: method.into(), seed };
    let name = format!("{method}, {SETTING} {ratio}, seed {seed}");
    let evaluation = evaluation(&name, level);
    let cut = cut(&name, ratio, method, seed);
    let mut row = Row::measured(&name, &cut.pruned, &evaluation);
    row.sensitivity = method.starts_with("mrs").then(|| "mrs".into());
    row.criterion = Some(if method.starts_with("random") { "random" } else { "l1-norm" }.into());
    row.allocation = Some(if method.starts_with("mrs") { "sensitivity" } else { "uniform" }.into());
    row.schedule = Some("one-shot".into());
    row.trainer = "trades".into();
    row.ratio_asked = ratio;
    row.ratio_achieved = cut.rounds[0].ratio_achieved;
    row.budget = "macs".into();
    row.epsilon = "0.1".into();
    row.clean_accuracy_pruned = Some(level[0] / 2.0);
    row.robust_accuracy_pruned = Some(level[1] / 4.0);
    row.seed = seed;
    row.model = format!("prune-{method}-{ratio}-{seed}/pruned.safetensors");
    let network = row.model.clone().into();
    Finding { place, dense: Some(0), cost: cut.pruned, row, cut, training: training("trades"), evaluation, network }
}

/// Images differ in how hard they are, for all networks alike, and each network has its own luck with them.
fn evaluation(network: &str, [clean, robust]: [f64; 2]) -> Evaluation {
    let (mut difficulty, mut luck) = (Streams::new(3).stream(), Streams::new(3).child(network).stream());
    let outcome = |index| {
        let label = (index % CLASSES) as u32;
        let hard = 0.75 * difficulty.unit() + 0.25 * luck.unit();
        let right = hard < clean;
        let attacked = |at: usize| {
            // The second attack is the weaker one.
            let survives = hard < robust + 0.05 * at as f64;
            let distance = if survives { 0.1 } else { 0.1 * robust };
            AttackedImage { survives, loss: Some(hard * 2.0), distance, broken_by: None }
        };
        ImageOutcome {
            index,
            label,
            predicted: if right { label } else { (label + 1) % CLASSES as u32 },
            attacks: (0..ATTACKS.len()).map(|at| right.then(|| attacked(at))).collect(),
        }
    };
    let outcomes: Vec<ImageOutcome> = (0..IMAGES).map(outcome).collect();
    let count = |is: &dyn Fn(&ImageOutcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    let attack = |(at, name): (usize, &&str)| AttackRecord {
        remarks: Vec::new(),
        name: (*name).into(),
        means: if at == 0 { AttackMeans::Gradients } else { AttackMeans::Queries },
        survivors: count(&|outcome| outcome.survives(at)),
        nearest: false,
        parts: Vec::new(),
    };
    Evaluation {
        images: IMAGES,
        clean: count(&ImageOutcome::is_right),
        robust: count(&ImageOutcome::survives_all),
        attacks: ATTACKS.iter().enumerate().map(attack).collect(),
        outcomes,
        signs: Vec::new(),
        curves: None,
        left_out: Vec::new(),
    }
}

fn cut(name: &str, ratio: f64, method: &str, seed: u64) -> PrunedRow {
    let sensitive = method.starts_with("mrs");
    let scores_of = match method.starts_with("random") {
        true => Streams::new(seed).child("random"),
        false => Streams::new(0).child("l1-norm"),
    };
    let mut plan = PruningPlan::default();
    let mut groups = Vec::new();
    for (at, (group, channels)) in GROUPS.into_iter().enumerate() {
        let mut stream = scores_of.child(group).stream();
        let scores: Vec<f64> = (0..channels).map(|_| stream.unit()).collect();
        // Multiply-accumulates go with the square of the width.
        let share = (1.0 - ratio).sqrt() * if sensitive { [1.25, 1.0, 1.0, 0.85][at] } else { 1.0 };
        let group = group_of(group, channels);
        let kept = PruningPlan::keep_highest(
            std::slice::from_ref(&group),
            std::slice::from_ref(&scores),
            &[(channels as f64 * share).round() as usize],
        );
        let kept = kept.keep.into_values().next().unwrap_or_default();
        plan.keep.insert(group.name.clone(), kept.clone());
        groups.push(GroupRecord { group, sensitivity: sensitive.then_some(METRICS[0].1[at]), scores, kept });
    }
    let (before, after) = (
        cost(&GROUPS.map(|(_, channels)| channels)),
        cost(&groups.iter().map(|group| group.kept.len()).collect::<Vec<_>>()),
    );
    let frozen = Some("its channels are the classes".into());
    let classes = ChannelGroup { frozen, ..group_of("linear", CLASSES) };
    groups.push(GroupRecord { group: classes, sensitivity: None, scores: Vec::new(), kept: (0..CLASSES).collect() });
    let record = PruneRecord {
        ratio_asked: ratio,
        ratio_achieved: 1.0 - after.macs as f64 / before.macs as f64,
        shortfall: None,
        groups,
    };
    PrunedRow { row: name.into(), dense: before, pruned: after, plan, rounds: vec![record] }
}

fn group_of(layer: &str, channels: usize) -> ChannelGroup {
    let member = Member {
        layer: layer.into(),
        tensor: format!("{layer}.weight"),
        role: Role::Output,
        axis: 0,
        positions: (0..channels).map(|channel| vec![channel]).collect(),
    };
    ChannelGroup { name: layer.into(), channels, members: vec![member], frozen: None }
}

/// Cost of the layers with so many channels, and of the classifier.
fn cost(channels: &[usize]) -> Cost {
    let mut cost = Cost::default();
    let mut inputs = 1;
    for &outputs in channels {
        cost.params += (9 * inputs * outputs) as u64;
        cost.macs += (64 * 9 * inputs * outputs) as u64;
        cost.channels += outputs as u64;
        inputs = outputs;
    }
    cost.params += (inputs * CLASSES) as u64;
    cost.macs += (inputs * CLASSES) as u64;
    cost
}

fn training(trainer: &str) -> TrainedRecord {
    let epoch = |epoch: usize| EpochRecord {
        epoch,
        learning_rate: 0.1 / epoch as f64,
        loss: 2.0 / epoch as f64,
        train_accuracy: 0.5 + 0.1 * epoch as f64,
        holdout_clean: Some(0.6 + 0.08 * epoch as f64),
        holdout_robust: Some([0.31, 0.36, 0.35][epoch - 1]),
    };
    TrainedRecord { trainer: trainer.into(), history: (1..=3).map(epoch).collect(), chosen_epoch: 2, stopped: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_the_same_in_every_call_and_agrees_with_itself() -> Result<()> {
        let findings = sample()?;
        assert_eq!(findings, sample()?);
        assert_eq!(findings.pruned.len(), 12);
        for finding in &findings.pruned {
            assert_eq!(finding.row.macs, finding.cost.macs, "{}", finding.row.name);
            assert!((finding.row.ratio_achieved - finding.row.ratio_asked).abs() < 0.1, "{}", finding.row.name);
            let counts = finding.evaluation.by_class();
            assert_eq!(counts.iter().map(|class| class.robust).sum::<usize>(), finding.evaluation.robust);
        }
        let failed = sample_with_a_failure()?;
        assert!(failed.pruned.iter().all(|finding| finding.place != failed.failures[0].places[0]));
        Ok(())
    }
}
