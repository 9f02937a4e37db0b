//! One row of the comparison: prune and fine-tune in rounds, then attack.

use mrpf_api::Result;
use mrpf_api::budget::BudgetKind;
use mrpf_api::coupling::{Cost, PruningPlan, cost};
use mrpf_api::network::Network;
use mrpf_api::schedule::PruningSchedule;
use mrpf_api::sensitivity::ModuleSensitivity;
use serde::{Deserialize, Serialize};

use super::keys::network_digest;
use super::session::Session;
use super::train::{TrainedRecord, TrainingStage};
use crate::event::{Event, EventSink};
use crate::experiment::Variant;
use crate::pruning::{PruneRecord, PruneStep, prune_step, rounds};
use crate::stage_key::StageKey;

/// What is kept of a row's pruning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrunedRow {
    /// The row.
    pub row: String,
    /// Cost of the dense network.
    pub dense: Cost,
    /// Cost after pruning.
    pub pruned: Cost,
    /// The kept channels, in the numbering of the dense network.
    pub plan: PruningPlan,
    /// What was decided in each round and why.
    pub rounds: Vec<PruneRecord>,
}

impl PrunedRow {
    /// The last round.
    pub fn last(&self) -> Option<&PruneRecord> {
        self.rounds.last()
    }
}

/// A pruned and fine-tuned network with its history.
#[derive(Debug)]
pub struct Finished {
    /// The network in the end.
    pub network: Network,
    /// The network as cut, before the last fine-tuning.
    pub cut: Network,
    /// What was cut and why.
    pub pruned: PrunedRow,
    /// The last fine-tuning.
    pub training: TrainedRecord,
}

impl Session<'_> {
    /// Prunes a copy of `dense` as the variant says, fine-tuning after each round.
    ///
    /// `modules` are the sensitivities of the dense network; empty when the variant needs none.
    pub fn pruned_and_finetuned(
        &self,
        variant: &Variant,
        dense: &Network,
        modules: &[ModuleSensitivity],
    ) -> Result<Finished> {
        let (teacher, before) = (dense, self.dense(dense, &variant.prune)?);
        let key = self.pruning_inputs(variant, dense, modules, before.table.as_ref())?;
        let done = format!("prune {}", variant.name);
        // What an earlier session has pruned in another way is refused here.
        self.dir.is_done(&done, &key)?;
        let schedule = variant.prune.schedule.make::<dyn PruningSchedule>()?;
        let rounds = rounds(schedule.as_ref(), variant.prune.rounds, variant.prune.ratio, variant.finetune.epochs);
        let (mut network, mut cut, mut training) = (dense.duplicate()?, dense.duplicate()?, TrainedRecord::default());
        let mut pruned = PrunedRow {
            row: variant.name.clone(),
            dense: before.cost,
            pruned: before.cost,
            plan: PruningPlan::default(),
            rounds: Vec::new(),
        };
        for (at, round) in rounds.iter().enumerate() {
            let suffix = if rounds.len() > 1 { format!(" round {}", at + 1) } else { String::new() };
            let name = if at + 1 < rounds.len() { format!("{}{suffix}", variant.name) } else { variant.name.clone() };
            let remeasured;
            let mut modules = modules;
            if at > 0 && variant.prune.remeasure && !modules.is_empty() {
                remeasured = self.sensitivities(
                    &format!("{} {}{suffix}", variant.prune.sensitivity.name, variant.name),
                    &variant.prune.sensitivity,
                    &network,
                )?;
                modules = &remeasured;
            }
            let stage = format!("prune {}{suffix}", variant.name);
            let (dense, plan) = (&before, &mut pruned);
            let result = self.stage(&stage, || {
                let step = PruneStep {
                    cx: self.context("prune"),
                    settings: &variant.prune,
                    data: &self.data,
                    modules,
                    dense,
                    ratio: round.ratio,
                };
                let result = prune_step(&step, &network)?;
                plan.plan = plan.plan.compose(&result.plan);
                plan.pruned = cost(result.network.declaration())?;
                self.announce(variant, plan, &result.record);
                plan.rounds.push(result.record);
                Ok((result.network, false))
            })?;
            cut = result;
            if let (BudgetKind::Latency, Some(last)) = (variant.prune.budget, pruned.last()) {
                self.check_latency(variant, teacher, &cut, last.ratio_achieved)?;
            }
            let settings = crate::training::TrainingSettings { epochs: round.epochs, ..variant.finetune.clone() };
            let stage = format!("finetune {}{suffix}", variant.name);
            // Every row fine-tunes on the same stream: the same batches, the same augmentation, the same attack starts.
            let training_stage = TrainingStage {
                stage: &stage,
                name: &name,
                streams: &format!("finetune{suffix}"),
                path: "finetune",
                settings: &settings,
                teacher: Some(teacher),
                start: key.clone().with_input("pruned network", network_digest(&cut)?),
            };
            (network, training) = match round.epochs {
                0 => self.untrained(&training_stage, &cut)?,
                _ => self.trained(&training_stage, || cut.duplicate())?,
            };
        }
        self.dir.write_plan(&variant.name, &pruned)?;
        self.dir.write_done(&done, &key, &[self.dir.plan(&variant.name)])?;
        Ok(Finished { network, cut, pruned, training })
    }

    /// Keeps the cut network, before its last fine-tuning, as the network `name`.
    ///
    /// # Errors
    /// [`mrpf_api::ErrorKind::Io`] if it cannot be written.
    pub fn keep_cut(&self, name: &str, finished: &Finished) -> Result<()> {
        self.dir.write_network(name, &finished.cut)?;
        let key = StageKey::default().with_input("pruned network", network_digest(&finished.cut)?);
        self.dir.write_done("cut", &key, &[self.dir.network(name)])
    }

    /// Tells what was cut.
    fn announce(&self, variant: &Variant, pruned: &PrunedRow, record: &PruneRecord) {
        self.send(Event::Pruned {
            row: variant.name.clone(),
            budget: variant.prune.budget.name().into(),
            ratio_asked: record.ratio_asked,
            ratio_achieved: record.ratio_achieved,
            macs_before: pruned.dense.macs,
            macs_after: pruned.pruned.macs,
            params_before: pruned.dense.params,
            params_after: pruned.pruned.params,
            shortfall: record.shortfall.clone(),
        });
    }
}
