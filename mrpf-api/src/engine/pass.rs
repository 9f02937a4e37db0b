//! What a pass over a plan holds: values on the way forward, gradients on the way back.

use std::sync::Arc;

use super::elementwise;
use super::finish::Finish;
use super::memory::{Buffer, Memory};
use super::plan::{Plan, Sizes, Step, Value};
use super::vector::mask_bytes;

/// What a step leaves for its backward pass.
#[derive(Debug, Default)]
pub(super) struct StepTrace {
    /// A bit for each value that passed a ReLU.
    pub relu: Vec<u8>,
    pub kept: Kept,
}

/// What the way back of some kinds of steps needs.
#[derive(Debug, Default)]
pub(super) enum Kept {
    #[default]
    Nothing,
    /// The tap that won each window.
    Winners(Vec<u16>),
    /// The operands, or the slopes there.
    Numbers(Vec<Buffer>),
}

impl StepTrace {
    /// For so many values of a step, before it runs.
    pub fn new(step: &Step, sizes: Sizes, batch: usize) -> Self {
        let bytes = batch * sizes.pixels() * mask_bytes(sizes.channels);
        Self { relu: if step.has_activation() { vec![0; bytes] } else { Vec::new() }, kept: Kept::Nothing }
    }

    /// What is to be done with the sums of the step.
    pub fn finish<'a>(&'a mut self, step: &Step, other: Option<&'a [f32]>) -> Finish<'a> {
        let relu = step.has_activation().then_some(&mut self.relu[..]);
        Finish { other, relu, ceiling: step.ceiling(), ..Finish::default() }
    }
}

/// The values that a pass holds at the moment.
pub(super) struct Values<'a> {
    of: Vec<Held<'a>>,
    /// Those that are wanted beyond their last reader.
    kept: Vec<Value>,
}

/// A value where it lies.
#[derive(Debug)]
pub(super) enum Held<'a> {
    Nothing,
    Slice(&'a [f32]),
    Buffer(Buffer),
}

impl<'a> Values<'a> {
    pub fn new(plan: &Plan) -> Self {
        Self { of: plan.sizes.iter().map(|_| Held::Nothing).collect(), kept: Vec::new() }
    }

    pub fn hold(&mut self, value: Value, held: Held<'a>) {
        self.of[value] = held;
    }

    /// The value's numbers; none if it is not held.
    pub fn read(&self, value: Value) -> &[f32] {
        match &self.of[value] {
            Held::Nothing => &[],
            Held::Slice(slice) => slice,
            Held::Buffer(buffer) => buffer,
        }
    }

    /// Does not drop these values.
    pub fn keep(&mut self, values: Vec<Value>) {
        self.kept = values;
    }

    pub(super) fn drop(&mut self, value: Value) {
        if !self.kept.contains(&value) {
            self.of[value] = Held::Nothing;
        }
    }
}

/// The gradients by values that are not done with yet, on the way back.
pub(super) struct Gradients<'a> {
    plan: &'a Plan,
    memory: &'a Arc<Memory>,
    pub traces: &'a [StepTrace],
    /// Which values' gradients are wanted at all.
    is_needed: &'a [bool],
    /// Where the way back ends.
    input: Value,
    of_values: Vec<Option<Buffer>>,
    /// Whether what a ReLU stopped is cleared already.
    is_cleared: Vec<bool>,
}

impl<'a> Gradients<'a> {
    /// For the way from a value `output`, the gradient by which is given, back to `input`.
    pub fn new(
        plan: &'a Plan,
        memory: &'a Arc<Memory>,
        traces: &'a [StepTrace],
        [input, output]: [Value; 2],
        by_output: &[f32],
        is_needed: &'a [bool],
    ) -> Self {
        let mut of_values: Vec<Option<Buffer>> = plan.sizes.iter().map(|_| None).collect();
        of_values[output] = Some(memory.copy(by_output));
        Self { plan, memory, traces, is_needed, input, of_values, is_cleared: vec![false; plan.sizes.len()] }
    }

    /// The complete gradient by what a step computed before its ReLU; empty if none reached it.
    pub fn of_step(&mut self, at: usize) -> Buffer {
        let mut gradient = self.take(at + 1);
        if self.plan.steps[at].has_activation() && !self.is_cleared[at + 1] {
            elementwise::through_relu(&mut gradient, self.plan.sizes[at + 1].channels, &self.traces[at].relu);
        }
        gradient
    }

    /// The gradient by a value as far as it has come; empty if none reached it.
    pub fn take(&mut self, value: Value) -> Buffer {
        self.of_values[value].take().unwrap_or_else(|| self.memory.take(0))
    }

    /// Lets `write` write a step's gradient by its input, or add it to what later steps gave; as told by what it has to finish with.
    pub fn add(&mut self, at: usize, batch: usize, write: impl FnOnce(&mut [f32], Finish<'_>)) {
        self.add_to(at, 0, batch, write);
    }

    /// The same for the operand at a place.
    pub fn add_to(&mut self, at: usize, place: usize, batch: usize, write: impl FnOnce(&mut [f32], Finish<'_>)) {
        let step = &self.plan.steps[at];
        let Some(value) = self.needed_operand(at, place) else { return };
        let accumulate = self.of_values[value].is_some();
        let length = batch * self.plan.sizes[value].len();
        let by_x = self.of_values[value].get_or_insert_with(|| self.memory.take(length));
        let mut finish = Finish { accumulate, ..Finish::default() };
        // The last one to add clears what the ReLU before stopped, if that is on the way.
        let is_read_again = step.operands().skip(place + 1).chain(step.other).any(|later| later == value);
        if self.plan.first_reader(value) == at
            && !is_read_again
            && value > self.input
            && self.plan.steps[value - 1].has_activation()
        {
            finish.passed = Some(&self.traces[value - 1].relu);
            self.is_cleared[value] = true;
        }
        write(by_x, finish);
    }

    /// The same for steps that only add.
    pub fn add_plainly(&mut self, at: usize, batch: usize, add: impl FnOnce(&mut [f32])) {
        let Some(value) = self.needed_operand(at, 0) else { return };
        let length = batch * self.plan.sizes[value].len();
        add(self.of_values[value].get_or_insert_with(|| {
            let mut fresh = self.memory.take(length);
            fresh.fill(0.0);
            fresh
        }));
    }

    /// The same for steps that only write, and any of their operands.
    pub fn add_made(&mut self, at: usize, place: usize, batch: usize, write: impl FnOnce(&mut [f32])) {
        let Some(value) = self.needed_operand(at, place) else { return };
        let mut made = self.memory.take(batch * self.plan.sizes[value].len());
        write(&mut made);
        match &mut self.of_values[value] {
            Some(there) => elementwise::add(&made, there),
            none => *none = Some(made),
        }
    }

    /// The value that a step's operand is, if its gradient is wanted.
    fn needed_operand(&self, at: usize, place: usize) -> Option<Value> {
        self.plan.steps[at].operands().nth(place).filter(|value| self.is_needed[*value])
    }

    /// Gives a step's gradient to the value that was added before its ReLU, or back to memory.
    pub fn pass_on(&mut self, at: usize, gradient: Buffer) {
        let Some(other) = self.plan.steps[at].other.filter(|other| self.is_needed[*other]) else { return };
        match &mut self.of_values[other] {
            Some(there) => elementwise::add(&gradient, there),
            none => *none = Some(gradient),
        }
    }
}
