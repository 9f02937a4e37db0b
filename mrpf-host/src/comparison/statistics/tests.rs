//! Beside SciPy and statsmodels on recorded values; laws; what the sample shows.

use mrpf_api::Result;
use mrpf_api::random::Streams;
use proptest::prelude::*;
use serde_json::Value;
use std::cmp::Ordering;

use super::*;
use crate::comparison::sample::{sample, sample_with_a_failure};

/// The records of that name in `tests/fixtures/statistics.json`.
fn recorded(name: &str) -> Vec<Value> {
    let all: Value =
        serde_json::from_str(include_str!("../../../../tests/fixtures/statistics.json")).expect("valid JSON");
    all[name].as_array().expect("a list").clone()
}

fn number(record: &Value, name: &str) -> f64 {
    record[name].as_f64().unwrap_or_else(|| panic!("{name} in {record}"))
}

fn numbers(record: &Value, name: &str) -> Vec<f64> {
    record[name].as_array().expect("a list").iter().map(|value| value.as_f64().expect("a number")).collect()
}

/// Equal to ten digits: both sides compute in double precision, by different series.
fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-10 * expected.abs().max(1e-3)
}

#[test]
fn means_and_intervals_are_those_of_scipy() {
    for record in recorded("means") {
        let found = Mean::of(&numbers(&record, "sample")).expect("values");
        assert!(close(found.mean, number(&record, "mean")), "{found:?} {record}");
        assert!(close(found.half.expect("several values"), number(&record, "half")), "{found:?} {record}");
    }
    for record in recorded("quantiles") {
        // The standard error of two groups of values, one apart, is known: 1 / (2 sqrt(n - 1)) for n of them.
        let freedom = number(&record, "freedom");
        if freedom as usize % 2 == 1 {
            let values: Vec<f64> = (0..=freedom as usize).map(|at| (at % 2) as f64).collect();
            let half = Mean::of(&values).and_then(|mean| mean.half).expect("several values");
            assert!(close(half, number(&record, "quantile") / (2.0 * freedom.sqrt())), "{half} {record}");
        }
    }
    assert_eq!(Mean::of(&[0.7]), Some(Mean { mean: 0.7, half: None, seeds: 1 }));
    assert_eq!(Mean::of(&[]), None);
}

#[test]
fn mcnemar_is_that_of_statsmodels() {
    for record in recorded("mcnemar") {
        let found = McNemar::of(number(&record, "only_first") as usize, number(&record, "only_second") as usize);
        assert!(close(found.exact_p, number(&record, "exact")), "{found:?} {record}");
        assert!(close(found.mid_p, number(&record, "mid_p")), "{found:?} {record}");
    }
}

#[test]
fn holm_is_that_of_statsmodels() {
    for record in recorded("holm") {
        let (found, expected) = (holm(&numbers(&record, "raw")), numbers(&record, "corrected"));
        assert!(found.iter().zip(&expected).all(|(found, expected)| close(*found, *expected)), "{found:?} {record}");
        assert_eq!(found.len(), expected.len());
    }
}

#[test]
fn rank_correlations_are_those_of_scipy() {
    for record in recorded("correlations") {
        let (first, second) = (numbers(&record, "first"), numbers(&record, "second"));
        let found = [spearman(&first, &second), kendall_tau_b(&first, &second)].map(|value| value.expect("an order"));
        assert!(close(found[0], number(&record, "spearman")), "{found:?} {record}");
        assert!(close(found[1], number(&record, "kendall")), "{found:?} {record}");
    }
    for none in [vec![], vec![1.0], vec![2.0, 2.0, 2.0]] {
        let other: Vec<f64> = (0..none.len()).map(|value| value as f64).collect();
        assert_eq!((spearman(&none, &other), kendall_tau_b(&none, &other)), (None, None));
    }
    assert_eq!((spearman(&[1.0, 2.0], &[1.0]), kendall_tau_b(&[1.0, 2.0], &[1.0])), (None, None));
}

#[test]
fn the_bootstrap_is_that_of_scipy_within_chance() {
    for record in recorded("bootstraps") {
        let [better, worse, equal] = ["better", "worse", "equal"].map(|name| number(&record, name) as usize);
        let differences = [vec![1; better], vec![-1; worse], vec![0; equal]].concat();
        let images = differences.len() as f64;
        let found = paired_bootstrap(&[differences], &Streams::new(0));
        for (found, expected) in found.iter().zip(numbers(&record, "interval")) {
            // The quantile of 2000 draws is off by a tenth of the deviation of the mean, and it moves in steps of one image.
            let deviation = ((better + worse) as f64).sqrt() / images;
            assert!((found - expected).abs() <= 0.3 * deviation + 1.0 / images, "{found} {record}");
        }
    }
    assert_eq!(paired_bootstrap(&[], &Streams::new(0)), [0.0, 0.0]);
}

#[test]
fn seeds_that_disagree_widen_the_interval() {
    let better = vec![1; 100];
    let [low, high] = paired_bootstrap(&[better.clone(), vec![-1; 100]], &Streams::new(0));
    assert!(low < -0.5 && high > 0.5, "{low} {high}");
    assert_eq!(paired_bootstrap(&[better.clone(), better], &Streams::new(0)), [1.0, 1.0]);
}

#[test]
fn overlaps_by_chance_are_those_of_the_hypergeometric_distribution() {
    for record in recorded("overlaps") {
        let [channels, first, second] = ["channels", "first", "second"].map(|name| number(&record, name) as usize);
        let found = jaccard_by_chance(channels, first, second);
        assert!(close(found, number(&record, "expected")), "{found} {record}");
    }
    assert_eq!((jaccard(&[0, 1, 2], &[1, 2, 3]), jaccard(&[], &[]), jaccard(&[1], &[])), (0.5, 1.0, 0.0));
}

proptest! {
    #[test]
    fn the_order_of_seeds_does_not_matter(mut values in prop::collection::vec(0.0..1.0f64, 1..6), turn in 0..6usize) {
        let before = Mean::of(&values);
        let turn = turn % values.len();
        values.rotate_left(turn);
        prop_assert_eq!(Mean::of(&values), before);
    }

    #[test]
    fn equal_seeds_have_an_interval_of_nothing(value in 0.0..1.0f64, seeds in 2..6usize) {
        prop_assert_eq!(Mean::of(&vec![value; seeds]), Some(Mean { mean: value, half: Some(0.0), seeds }));
    }

    #[test]
    fn mcnemar_does_not_care_which_is_first_and_stays_in_bounds(a in 0..400usize, b in 0..400usize) {
        let (found, turned) = (McNemar::of(a, b), McNemar::of(b, a));
        prop_assert_eq!((found.exact_p, found.mid_p), (turned.exact_p, turned.mid_p));
        prop_assert!(0.0 <= found.mid_p && found.mid_p <= found.exact_p && found.exact_p <= 1.0);
        // More of the rarer images speak less against equality.
        if a < b {
            prop_assert!(McNemar::of(a + 1, b).mid_p >= found.mid_p);
        }
    }

    #[test]
    fn holm_is_never_below_the_raw_value_and_keeps_the_order(raw in prop::collection::vec(0.0..=1.0f64, 0..12), turn in 0..12usize) {
        let corrected = holm(&raw);
        for (a, b) in raw.iter().zip(&corrected) {
            prop_assert!(a <= b && *b <= (a * raw.len() as f64).min(1.0) + 1e-15);
        }
        for (a, b) in raw.iter().zip(&corrected) {
            prop_assert!(raw.iter().zip(&corrected).all(|(c, d)| a > c || b <= d));
        }
        let mut turned = raw.clone();
        turned.rotate_left(turn % raw.len().max(1));
        let mut expected = corrected;
        expected.rotate_left(turn % raw.len().max(1));
        prop_assert_eq!(holm(&turned), expected);
    }

    #[test]
    fn rank_correlations_are_symmetric_bounded_and_blind_to_scale(
        pairs in prop::collection::vec((0..6i32, 0..6i32), 2..20),
    ) {
        let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().map(|&(a, b)| (f64::from(a), f64::from(b))).unzip();
        let negated: Vec<f64> = second.iter().map(|value| -value).collect();
        let scaled: Vec<f64> = first.iter().map(|value| (0.5 * value).exp()).collect();
        for correlation in [spearman, kendall_tau_b] {
            let Some(found) = correlation(&first, &second) else { continue };
            prop_assert!((-1.0..=1.0).contains(&found));
            prop_assert_eq!(correlation(&second, &first), Some(found));
            prop_assert_eq!(correlation(&scaled, &second), Some(found));
            prop_assert!((correlation(&first, &negated).unwrap_or(f64::NAN) + found).abs() < 1e-12);
            prop_assert!((correlation(&first, &first).unwrap_or(f64::NAN) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_bootstrap_turns_round_with_its_methods(seeds in prop::collection::vec(prop::collection::vec(-1..=1i8, 12), 1..4)) {
        let negated: Vec<Vec<i8>> = seeds.iter().map(|seed| seed.iter().map(|value| -value).collect()).collect();
        let [low, high] = paired_bootstrap(&seeds, &Streams::new(0));
        prop_assert!(-1.0 <= low && low <= high && high <= 1.0);
        prop_assert_eq!(paired_bootstrap(&negated, &Streams::new(0)), [-high, -low].map(|value| value + 0.0));
    }

    #[test]
    fn overlaps_are_symmetric_and_bounded(channels in 1..40usize, first in 0..40usize, second in 0..40usize) {
        let (first, second) = (first % (channels + 1), second % (channels + 1));
        let found = jaccard_by_chance(channels, first, second);
        prop_assert!((0.0..=1.0).contains(&found));
        prop_assert!((found - jaccard_by_chance(channels, second, first)).abs() < 1e-9);
        let [a, b]: [Vec<usize>; 2] = [(0..first).collect(), (channels - second..channels).collect()];
        prop_assert_eq!(jaccard(&a, &b), jaccard(&b, &a));
        prop_assert_eq!(jaccard(&a, &a), 1.0);
    }

    #[test]
    fn methods_share_a_class_exactly_if_no_difference_is_shown(count in 1..7usize, bits in any::<u32>()) {
        let shown = |a: usize, b: usize| {
            let (a, b) = (a.min(b), a.max(b));
            a != b && bits >> (b * (b - 1) / 2 + a) & 1 == 1
        };
        let classes = classes(count, &shown);
        for b in 0..count {
            for a in 0..=b {
                let together = classes.iter().any(|class| class.contains(&a) && class.contains(&b));
                prop_assert_eq!(together, !shown(a, b), "{} and {} in {:?}", a, b, classes);
            }
        }
        // No class is part of another.
        for (at, class) in classes.iter().enumerate() {
            let within = |other: &Vec<usize>| class.iter().all(|member| other.contains(member));
            prop_assert!(classes.iter().enumerate().all(|(other, wider)| other == at || !within(wider)));
        }
    }
}

#[test]
fn the_order_of_rows_does_not_matter() -> Result<()> {
    let findings = sample()?;
    let expected = Statistics::of(&findings);
    for turn in [1, 5, 11] {
        let mut turned = findings.clone();
        turned.pruned.rotate_left(turn);
        turned.pruned[2..9].reverse();
        turned.pruned.iter_mut().for_each(|finding| finding.evaluation.outcomes.reverse());
        assert_eq!(Statistics::of(&turned), expected);
    }
    Ok(())
}

#[test]
fn exchanging_two_methods_turns_their_pair_round() -> Result<()> {
    let mut findings = sample()?;
    let before = Statistics::of(&findings);
    findings.methods.reverse();
    let after = Statistics::of(&findings);
    for (before, after) in before.settings.iter().zip(&after.settings) {
        assert_eq!(before.ranking, after.ranking);
        for pair in &before.pairs {
            let turned = after.pair(pair.outcome, &pair.first, &pair.second).expect("the same pair");
            assert_eq!((&turned.first, turned.difference), (&pair.second, -pair.difference));
            assert_eq!(turned.interval, [-pair.interval[1], -pair.interval[0]]);
            assert_eq!((turned.corrected_p, turned.shown), (pair.corrected_p, pair.shown));
            assert_eq!(
                (turned.test.only_first, turned.test.only_second),
                (pair.test.only_second, pair.test.only_first)
            );
        }
    }
    Ok(())
}

#[test]
fn with_one_seed_the_test_counts_images() -> Result<()> {
    let mut findings = sample()?;
    findings.pruned.retain(|finding| finding.place.seed == 1);
    let statistics = Statistics::of(&findings);
    let pair = statistics.settings[0].pair(Outcome::Robust, "mrs-l1-norm", "random-uniform").expect("a pair");
    let [first, second] = [&findings.pruned[0], &findings.pruned[2]].map(|finding| &finding.evaluation);
    let only = |a: &crate::evaluation::Evaluation, b: &crate::evaluation::Evaluation| {
        a.outcomes.iter().zip(&b.outcomes).filter(|(a, b)| a.survives_all() && !b.survives_all()).count()
    };
    assert_eq!((pair.test.only_first, pair.test.only_second), (only(first, second), only(second, first)));
    assert_eq!(pair.difference, (first.robust as f64 - second.robust as f64) / first.images as f64);
    assert!(
        statistics.settings[0]
            .ranking
            .words
            .ends_with("with one seed this is about these networks, not about the methods")
    );
    Ok(())
}

#[test]
fn what_the_sample_shows() -> Result<()> {
    let statistics = Statistics::of(&sample()?);
    let words: Vec<String> = statistics
        .settings
        .iter()
        .map(|setting| format!("{:?}\n{:?}\n{}", setting.settings, setting.ranking.classes, setting.ranking.words))
        .collect();
    insta::assert_snapshot!(words.join("\n\n"));
    assert_eq!(statistics.family(Outcome::Robust), 6);
    let text = serde_json::to_string(&statistics).expect("JSON");
    assert_eq!(serde_json::from_str::<Statistics>(&text).expect("the same"), statistics);
    Ok(())
}

#[test]
fn methods_that_are_alike_are_not_told_apart() -> Result<()> {
    let mut findings = sample()?;
    let same = findings.pruned[0].evaluation.clone();
    findings.pruned.iter_mut().for_each(|finding| finding.evaluation = same.clone());
    for setting in Statistics::of(&findings).settings {
        assert_eq!(
            setting.ranking.words,
            "no difference shown between mrs-l1-norm, l1-norm-uniform and random-uniform"
        );
        assert_eq!(setting.ranking.classes.len(), 1);
        assert!(setting.pairs.iter().all(|pair| pair.corrected_p == 1.0 && pair.interval == [0.0, 0.0]));
    }
    Ok(())
}

#[test]
fn a_missing_row_leaves_the_seeds_that_there_are() -> Result<()> {
    let statistics = Statistics::of(&sample_with_a_failure()?);
    let last = &statistics.settings[1];
    assert_eq!(last.methods.iter().map(|method| method.seeds.len()).collect::<Vec<_>>(), [2, 2, 1]);
    let pair = last.pair(Outcome::Robust, "mrs-l1-norm", "random-uniform").expect("a pair");
    assert_eq!(pair.seeds, [1]);
    Ok(())
}

#[test]
fn networks_without_images_or_seeds_in_common_are_not_compared() -> Result<()> {
    let mut findings = sample()?;
    for finding in findings.pruned.iter_mut().filter(|finding| finding.place.method == "random-uniform") {
        finding.place.seed += 10;
    }
    for finding in findings.pruned.iter_mut().filter(|finding| finding.place.method == "l1-norm-uniform") {
        finding.evaluation.outcomes.iter_mut().for_each(|image| image.index += 1000);
    }
    let statistics = Statistics::of(&findings);
    assert!(statistics.settings.iter().all(|setting| setting.pairs.is_empty()));
    assert!(statistics.settings[0].ranking.words.starts_with("no difference shown between"));
    assert_eq!(statistics.settings[0].overlaps.len(), 1);
    Ok(())
}

#[test]
fn words_name_both_directions() {
    let shown = |a: usize, b: usize| match (a, b) {
        (0, 1) => Ordering::Less,
        (1, 0) => Ordering::Greater,
        (0, 2) => Ordering::Greater,
        (2, 0) => Ordering::Less,
        _ => Ordering::Equal,
    };
    let found = Ranking::new(&["a", "b", "c"], shown);
    let expected =
        "a is shown to be more robust than c; b is shown to be more robust than a; no difference shown between b and c";
    assert_eq!(found.words, expected);
    assert_eq!((found.of("a"), found.of("b"), found.of("c")), (vec![1], vec![2], vec![2]));
    assert_eq!(Ranking::new(&[], shown).words, "nothing was computed");
    assert_eq!(Ranking::new(&["a"], shown).words, "only a was computed");
}

#[test]
fn metrics_are_compared_by_group_where_the_groups_are_known() -> Result<()> {
    let mut findings = sample()?;
    let found = Statistics::of(&findings).agreement;
    // Of the four groups (not the classifier, which is frozen) the metrics order the second and third differently.
    let [pair] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((pair.first.as_str(), pair.second.as_str(), pair.unit, pair.count), ("mrs", "mrc", Unit::Groups, 4));
    assert!(
        close(pair.spearman.expect("an order"), 0.8) && close(pair.kendall.expect("an order"), 4.0 / 6.0),
        "{pair:?}"
    );
    findings.pruned.clear();
    let [pair] = &Statistics::of(&findings).agreement[..] else { panic!("one pair") };
    assert_eq!((pair.unit, pair.count), (Unit::Modules, 5));
    let rating = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), name.len() as f64)).collect::<Vec<_>>();
    assert_eq!(agreement(&rating(&["a", "bb", "ccc"]), &rating(&["bb", "ccc", "d"])), (2, Some(1.0), Some(1.0)));
    Ok(())
}
