//! What people read, as snapshots.

use super::*;
use crate::evaluation::{AttackRecord, Evaluation, Latency, Sign};
use crate::experiment::Experiment;
use mrpf_api::attack::AttackMeans;
use mrpf_api::coupling::{ChannelGroup, Cost, PruningPlan};
use mrpf_api::sensitivity::ModuleSensitivity;

fn results() -> Results {
    let evaluation = |clean, robust| Evaluation {
        images: 200,
        clean,
        robust,
        attacks: vec![AttackRecord {
            remarks: Vec::new(),
            name: "pgd".into(),
            means: AttackMeans::Gradients,
            survivors: robust,
            nearest: false,
            parts: Vec::new(),
        }],
        outcomes: Vec::new(),
        signs: Vec::new(),
        curves: None,
        left_out: Vec::new(),
    };
    let latency = |median_ms| Some(Latency { batch: 64, median_ms });
    let dense = Row {
        trainer: "pgd-at".into(),
        budget: "macs".into(),
        best_and_last_robust: Some([0.61, 0.6]),
        latency: latency(8.125),
        ..Row::measured("dense", &Cost { macs: 40_813_184, params: 272_474, ..Cost::default() }, &evaluation(180, 120))
    };
    let mut pruned = Row {
        sensitivity: Some("mrs".into()),
        criterion: Some("l1-norm".into()),
        allocation: Some("sensitivity".into()),
        schedule: Some("one-shot".into()),
        trainer: "trades".into(),
        budget: "macs".into(),
        ratio_asked: 0.5,
        ratio_achieved: 0.487,
        shortfall: Some("48.7 % is the nearest".into()),
        clean_accuracy_pruned: Some(0.4),
        robust_accuracy_pruned: Some(0.1),
        latency: latency(5.5),
        ..Row::measured(
            "mrs-l1-norm",
            &Cost { macs: 20_931_072, params: 9_000, ..Cost::default() },
            &evaluation(170, 110),
        )
    };
    let message = "random noise breaks as much as the attacks".into();
    pruned.signs.push(Sign { name: "noise-as-strong".into(), message });
    let mut rows = vec![dense, pruned];
    rows.iter_mut().for_each(|row| row.epsilon = "8/255".into());
    Results::new(&Experiment { name: "demo".into(), ..Experiment::default() }, rows)
}

#[test]
fn the_table_for_the_terminal() {
    insta::assert_snapshot!(comparison_table(&results()));
}

#[test]
fn the_report() -> mrpf_api::Result<()> {
    let results = results();
    let experiment = Experiment { name: "demo".into(), ..Experiment::default() };
    let modules = vec![
        ModuleSensitivity { module: "conv1".into(), value: 0.25 },
        ModuleSensitivity { module: "linear".into(), value: 1.5 },
    ];
    let group = ChannelGroup { name: "conv1".into(), channels: 16, members: Vec::new(), frozen: None };
    let record = crate::pruning::PruneRecord {
        ratio_asked: 0.5,
        ratio_achieved: 0.487,
        shortfall: None,
        groups: vec![crate::pruning::GroupRecord { group, sensitivity: Some(0.25), scores: vec![], kept: vec![0, 3] }],
    };
    let plan = crate::pipeline::PrunedRow {
        row: "mrs-l1-norm".into(),
        dense: Cost::default(),
        pruned: Cost::default(),
        plan: PruningPlan { keep: [("conv1".to_owned(), vec![0, 3])].into() },
        rounds: vec![record],
    };
    insta::assert_snapshot!(report_markdown(&results, &experiment, &[("mrs".into(), modules)], &[plan])?);
    Ok(())
}

#[test]
fn rows_attacked_with_other_radii_are_not_told_as_the_experiments() -> mrpf_api::Result<()> {
    let experiment = Experiment { name: "demo".into(), ..Experiment::default() };
    let with = |radii: &[&str]| {
        let row =
            |radius: &&str| Row { name: format!("epsilon {radius}"), epsilon: (*radius).into(), ..Row::default() };
        Results::new(&experiment, radii.iter().map(row).collect())
    };
    let told = |radii: &[&str]| report_markdown(&with(radii), &experiment, &[], &[]);
    assert_eq!([&[][..], &["0.3"], &["0", "0.3", "0"]].map(|radii| with(radii).epsilon), ["8/255", "0.3", "0, 0.3"]);
    assert!(told(&["0.3", "0.3"])?.contains("in the linf ball of radius 0.3."));
    assert!(told(&["0", "0.3"])?.contains("in the linf ball of the row's radius (0, 0.3)."));
    Ok(())
}

#[test]
fn a_report_has_no_empty_tables_and_names_stay_in_their_cells() -> mrpf_api::Result<()> {
    let mut results = results();
    results.rows.iter_mut().for_each(|row| row.best_and_last_robust = None);
    results.rows[1].name = "a|b".into();
    let report = report_markdown(&results, &Experiment::default(), &[], &[])?;
    assert!(!report.contains("Robust overfitting") && report.contains("| a\\|b "), "{report}");
    assert!(comparison_table(&results).contains(" a|b "), "the terminal shows names as they are");
    Ok(())
}

#[test]
fn results_are_the_same_after_writing_and_reading() -> serde_json::Result<()> {
    let mut results = results();
    let text = serde_json::to_string_pretty(&results)?;
    results.rows.iter_mut().for_each(|row| row.latency = None);
    assert_eq!(serde_json::from_str::<Results>(&text)?, results);
    for field in [
        "name",
        "sensitivity",
        "criterion",
        "allocation",
        "trainer",
        "ratio_asked",
        "ratio_achieved",
        "budget",
        "macs",
        "params",
        "clean_accuracy",
        "robust_accuracy",
        "seed",
        "model",
    ] {
        assert!(text.contains(&format!("\"{field}\"")), "{field}");
    }
    Ok(())
}
