//! Latency as a budget: given the table of layer times it is solved as any other, and the same every time.

use super::*;
use crate::network::LayerKind;

/// A table with times that are made up: a product of the widths, on a grid that hits some widths.
fn table(declaration: &Declaration) -> Result<LatencyTable> {
    let grid = |all: usize| {
        let mut grid = vec![1, all.div_ceil(3), all];
        grid.dedup();
        grid
    };
    let layers = declaration.modules().map(|layer| {
        let [outputs, inputs] = widths(&layer.kind).map(grid);
        let time = |out: usize| inputs.iter().map(|&input| 1e-3 * (out * input) as f64 + 0.01).collect();
        LayerTimes {
            layer: layer.name.clone(),
            milliseconds: outputs.iter().map(|&out| time(out)).collect(),
            outputs,
            inputs,
        }
    });
    let layers: Vec<LayerTimes> = layers.collect();
    let sum: f64 = layers.iter().filter_map(|times| times.milliseconds.last()?.last()).sum();
    LatencyTable { device: "made up".into(), batch: 1, network_ms: 1.1 * sum, layers }.checked()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn latency_is_met_as_the_table_tells_it(ratio in 0.05..0.6f64) {
        let dense = resnet(2, [12, 20, 40])?;
        let groups = channel_groups(&dense)?;
        let table = table(&dense)?;
        let problem = BudgetProblem::timed(&dense, &groups, &table, ratio)?;
        let solution = uniform(&problem)?;
        prop_assert!((solution.achieved - ratio).abs() <= TOLERANCE, "{:?}", solution);
        prop_assert_eq!(&uniform(&problem)?.keep, &solution.keep);
        let scores: Vec<Vec<f64>> = groups.iter().map(|group| vec![0.0; group.channels]).collect();
        let small = cut_declaration(&dense, &PruningPlan::keep_highest(&groups, &scores, &solution.keep))?;
        let gone = 1.0 - table.network(&small) / table.network(&dense);
        prop_assert!((gone - solution.achieved).abs() < 1e-9, "{} {:?}", gone, solution);
    }

    #[test]
    fn between_measured_widths_times_lie_between(width in 1..60usize, other in 1..60usize) {
        let times = LayerTimes {
            layer: "a".into(),
            outputs: vec![4, 10, 50],
            inputs: vec![2, 20],
            milliseconds: vec![vec![1.0, 2.0], vec![2.0, 3.0], vec![3.0, 8.0]],
        };
        let at = |outputs: usize, inputs: usize| {
            let geometry = ConvGeometry::same3();
            let conv = crate::network::Conv2d { in_channels: inputs, out_channels: outputs, geometry, bias: false };
            times.at(&LayerKind::Conv2d(conv))
        };
        prop_assert!(at(width, other) <= at(width + 1, other) && at(width, other) <= at(width, other + 1));
        prop_assert!((1.0..=8.0).contains(&at(width, other)));
        prop_assert_eq!([at(4, 2), at(10, 20), at(50, 20), at(7, 2), at(1, 11)], [1.0, 3.0, 8.0, 1.5, 1.5]);
    }
}

#[test]
fn what_is_no_latency_table_is_refused() -> Result<()> {
    let declaration = resnet(1, [8, 8, 8])?;
    let told = |change: &dyn Fn(&mut LatencyTable)| -> Result<String> {
        let mut changed = table(&declaration)?;
        change(&mut changed);
        Ok(changed.checked().expect_err("refused").to_string())
    };
    let about = "table of layer times: ";
    assert_eq!(
        told(&|table| table.network_ms = 0.0)?,
        format!("{about}the network takes 0 ms, expected a number above 0")
    );
    assert_eq!(
        told(&|table| table.layers[0].milliseconds[0][0] = f64::NAN)?,
        format!("{about}layer `conv1`: NaN ms, expected a number of at least 0")
    );
    for change in [
        (|table| table.layers[0].outputs.reverse()) as fn(&mut LatencyTable),
        |table| table.layers[0].inputs.clear(),
        |table| drop(table.layers[0].milliseconds.pop()),
    ] {
        assert_eq!(told(&change)?, format!("{about}layer `conv1`: expected ascending widths and a time for each pair"));
    }
    let groups = channel_groups(&declaration)?;
    let error = BudgetProblem::new(&declaration, &groups, BudgetKind::Latency, &cost(&declaration)?, 0.5);
    assert_eq!(error.expect_err("no table").to_string(), "a latency budget needs a table of layer times");
    Ok(())
}

#[test]
fn a_slower_narrow_layer_counts_as_no_slower() -> Result<()> {
    let times = LayerTimes {
        layer: "a".into(),
        outputs: vec![1, 2, 3],
        inputs: vec![1, 2],
        milliseconds: vec![vec![1.0, 0.5], vec![0.2, 3.0], vec![4.0, 2.0]],
    };
    let table = LatencyTable { network_ms: 9.0, layers: vec![times], ..LatencyTable::default() }.checked()?;
    assert_eq!(table.layers[0].milliseconds, [[1.0, 1.0], [1.0, 3.0], [4.0, 4.0]]);
    Ok(())
}
