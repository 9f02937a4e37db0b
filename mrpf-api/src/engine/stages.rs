//! Runs of steps through which a few images go at a time, so that their values stay in the cache from step to step.
//!
//! Few images at a time want to read the filters often, many want to read the values from memory. Where maps are large and filters
//! small, as at the beginning of a network, few are better; where it is the other way round, all. A network is cut where a
//! single value leads from one side to the other.

use super::plan::{IMAGES, Plan, Value};

/// Steps from the one that reads `input` to the one that makes `output`, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stage {
    pub input: Value,
    pub output: Value,
    /// Images at a time.
    pub together: usize,
}

impl Stage {
    /// The positions of its steps.
    pub fn steps(&self) -> std::ops::Range<usize> {
        self.input..self.output
    }
}

/// Bytes of the largest value of the images at a time, as long as filters are small: measured on two cores with 0.5 MB of cache each
/// and 32 MB between them, where half and twice of it are within a tenth as fast, and four times of it a quarter slower.
const VALUE: usize = 2 << 20;

/// The stages of a plan, given the bytes of each step's filters.
pub(super) fn stages(plan: &Plan, filters: impl Fn(usize) -> usize) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let (mut input, mut needed_until) = (IMAGES, 0);
    for at in 0..plan.steps.len() {
        needed_until = needed_until.max(plan.last_reader(at));
        if needed_until > at {
            continue;
        }
        let output = at + 1;
        let largest = 4 * plan.sizes[input..=output].iter().map(|sizes| sizes.len()).max().unwrap_or(1);
        let filters = (input..output).map(&filters).max().unwrap_or(0);
        if filters == 0 && stages.is_empty() && output < plan.output() {
            // Arranging the images goes along with the first layer.
            continue;
        }
        let together = (VALUE / largest).max(filters / (2 * largest)).max(4).next_power_of_two();
        match stages.last_mut() {
            Some(before) if before.together == together => before.output = output,
            _ => stages.push(Stage { input, output, together }),
        }
        input = output;
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;
    use crate::data::ImageShape;
    use crate::engine::PlanFor;
    use crate::network::Builder;
    use crate::numeric::ConvGeometry;

    #[test]
    fn stages_follow_one_another_and_cut_no_shortcut() -> Result<()> {
        let mut net = Builder::new("test", ImageShape { channels: 3, height: 32, width: 32 }, 10);
        net.conv("a", 64, ConvGeometry::same3(), false).relu("a.relu");
        let before = net.current();
        net.conv("b", 64, ConvGeometry::same3().stride(8), false);
        let inner = net.current();
        net.from(&before).conv("c", 64, ConvGeometry::square(1).stride(8), false).add("sum", &inner);
        let declaration = net.global_avg_pool("mean").linear("out", 10).finish()?;
        let plan = Plan::new(&declaration, &declaration.wiring()?, PlanFor::Processor).expect("a plan");
        let found = stages(&plan, |step| [0, 1 << 10, 1 << 28, 1 << 10].get(step).copied().unwrap_or(0));
        assert_eq!(found.first().map(|stage| stage.input), Some(IMAGES));
        assert_eq!(found.last().map(|stage| stage.output), Some(plan.output()));
        assert!(found.windows(2).all(|two| two[0].output == two[1].input && two[0].together != two[1].together));
        // Arranging and `a` have large maps; the block's large filters make it worth while to take many images at a time.
        assert_eq!(found[0], Stage { input: IMAGES, output: 2, together: 8 });
        assert_eq!((found[1].input, found[1].together), (2, 512));
        Ok(())
    }
}
