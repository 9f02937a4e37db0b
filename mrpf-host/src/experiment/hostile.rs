//! Experiments that are damaged or made to do harm: they are refused, or taken and checked; nothing panics.

use mrpf_test_support::mutated;
use proptest::prelude::*;

use super::{BUILT_IN, Experiment};

proptest! {
    #[test]
    fn a_mutated_experiment_is_taken_or_refused(seed: u64) {
        let text = mutated(BUILT_IN.as_bytes(), seed);
        if let Ok(experiment) = Experiment::from_toml(&String::from_utf8_lossy(&text)) {
            let _ = experiment.check();
        }
    }
}
