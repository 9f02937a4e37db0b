use mrpf_api::conformance;
use mrpf_api::coupling::channel_groups;
use mrpf_api::serde_json::json;
use proptest::prelude::*;

use super::distances::distance;
use super::*;

fn median(points: &[[f64; 2]]) -> Vec<f64> {
    geometric_median(&points.iter().map(<[f64; 2]>::as_slice).collect::<Vec<_>>(), 1e-12, 10_000)
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    assert!(distance(found, expected) < tolerance, "{found:?}, expected {expected:?}");
}

#[test]
fn medians_that_are_known() {
    // Where the diagonals of a convex quadrilateral meet.
    assert_near(&median(&[[0.0, 0.0], [4.0, 0.0], [5.0, 5.0], [0.0, 2.0]]), &[4.0 / 3.0, 4.0 / 3.0], 1e-8);
    // A corner of at least 120 degrees.
    assert_near(&median(&[[0.0, 0.0], [3.0, 0.1], [-3.0, 0.1]]), &[0.0, 0.0], 1e-8);
    // The point inside a triangle from which all sides are seen under 120 degrees; here by symmetry on the axis, at height 1 / sqrt(3).
    assert_near(&median(&[[-1.0, 0.0], [1.0, 0.0], [0.0, 3.0]]), &[0.0, 1.0 / 3.0_f64.sqrt()], 1e-8);
    // On a line the middle point, however far the last one is; twice at one place against three.
    assert_near(&median(&[[0.0, 0.0], [1.0, 0.0], [100.0, 0.0]]), &[1.0, 0.0], 1e-6);
    assert_near(&median(&[[2.0, 3.0], [2.0, 3.0], [2.0, 3.0]]), &[2.0, 3.0], 1e-12);
    assert_near(&median(&[[2.0, 3.0]]), &[2.0, 3.0], 1e-12);
    assert_eq!(geometric_median(&[], 1e-9, 10), Vec::<f64>::new());
    assert!(median(&[[f64::NAN, 0.0], [1.0, 1.0], [2.0, 0.0]])[0].is_nan());
}

/// In a corner of nearly 120 degrees the sum hardly falls on the way to the median, which is the corner or close beside it.
#[test]
fn a_corner_that_is_nearly_the_median() {
    for (degrees, corner_is_median) in
        [(119.0, false), (119.99, false), (119.9999, false), (120.0001, true), (121.0, true)]
    {
        let half = f64::to_radians(degrees / 2.0);
        let points = [[0.0, 0.0], [2.0 * half.cos(), 2.0 * half.sin()], [9.0 * half.cos(), -9.0 * half.sin()]];
        let found = geometric_median(&points.each_ref().map(<[f64; 2]>::as_slice), 1e-12, 200);
        assert_eq!(distance(&found, &points[0]) == 0.0, corner_is_median, "{degrees} degrees: {found:?}");
        if !corner_is_median {
            // All sides are seen from it under 120 degrees, so that the unit vectors to the corners cancel.
            let pull = |axis: usize| {
                points.iter().map(|point| (point[axis] - found[axis]) / distance(point, &found)).sum::<f64>()
            };
            assert!(pull(0).hypot(pull(1)) < 1e-6, "{degrees} degrees: {found:?}");
        }
    }
}

proptest! {
    /// No direction leads to a smaller sum of distances, and a shift of all points shifts the median.
    #[test]
    fn nothing_near_the_median_is_better(points in prop::collection::vec(prop::array::uniform3(-10.0..10.0_f64), 1..12)) {
        let rows: Vec<&[f64]> = points.iter().map(<[f64; 3]>::as_slice).collect();
        let found = geometric_median(&rows, 1e-10, 500);
        let sum = |at: &[f64]| points.iter().map(|point| distance(point, at)).sum::<f64>();
        let least = sum(&found);
        for axis in 0..3 {
            for by in [-1e-2, 1e-2, -1e-4, 1e-4] {
                let mut moved = found.clone();
                moved[axis] += by;
                prop_assert!(sum(&moved) >= least - 1e-9, "{least} there, {} beside it", sum(&moved));
            }
        }
        for point in &points {
            prop_assert!(sum(point) >= least - 1e-9);
        }
    }
}

/// Four filters of two weights, and a consumer.
fn network() -> Result<Network> {
    let mut net = Builder::new("test", ImageShape { channels: 2, height: 2, width: 2 }, 2);
    net.conv("a", 4, ConvGeometry::square(1), false).global_avg_pool("pool").linear("out", 2);
    let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F32, &Device::Cpu)?;
    let filters = vec![0.0_f32, 0.0, 3.0, 0.0, 0.0, 4.0, 3.0, 4.0];
    network.parameter("a.weight")?.set(&Tensor::from_vec(filters, (4, 2, 1, 1), &Device::Cpu)?)?;
    let rows = vec![0.0_f32, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, -1.0];
    network.parameter("out.weight")?.set(&Tensor::from_vec(rows, (2, 4), &Device::Cpu)?)?;
    Ok(network)
}

fn scores(name: &str, settings: mrpf_api::serde_json::Value) -> Result<Vec<f64>> {
    let (network, cx) = (network()?, CallContext::unwatched(Streams::new(0)));
    let group = &channel_groups(network.declaration())?[0];
    mrpf_api::registry::make::<dyn Criterion>(name, settings)?.scores(&cx, &network, group)
}

#[test]
fn scores_are_the_distances_by_hand() -> Result<()> {
    // The corners of a rectangle of 3 by 4: the median is its centre.
    assert_near(&scores("fpgm", json!({}))?, &[12.0; 4], 1e-9);
    assert_near(&scores("geometric-median", json!({}))?, &[2.5; 4], 1e-6);
    // Squares: corners (0, 0), (9, 0), (0, 16), (9, 16), and columns (0, 0), (1, 0), (4, 0), (0, 1).
    let diagonal = (81.0_f64 + 256.0).sqrt();
    let columns = [
        1.0 + 4.0 + 1.0,
        1.0 + 3.0 + 2.0_f64.sqrt(),
        4.0 + 3.0 + 17.0_f64.sqrt(),
        1.0 + 2.0_f64.sqrt() + 17.0_f64.sqrt(),
    ];
    let expected = columns.map(|column| f64::midpoint(9.0 + 16.0 + diagonal, column));
    assert_near(&scores("fpgm", json!({ "form": "coupled-squares" }))?, &expected, 1e-9);
    Ok(())
}

#[test]
fn settings_that_never_end_are_refused() {
    for settings in [json!({ "tolerance": 0.0 }), json!({ "steps": 0 })] {
        let error = scores("geometric-median", settings).expect_err("no search");
        assert!(error.to_string().contains("expected a tolerance above 0"), "{error}");
    }
}

#[test]
fn they_keep_the_laws_of_criteria() -> Result<()> {
    conformance::require(Kind::Criterion, "fpgm")?;
    conformance::require(Kind::Criterion, "geometric-median")
}
