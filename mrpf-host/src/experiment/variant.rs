//! The rows of a comparison: the method under test and what it is set beside.

use mrpf_api::Result;
use mrpf_api::allocation::Allocation;

use super::settings::{CompareRow, Experiment, PruneSettings};
use crate::training::TrainingSettings;

/// One way of pruning and fine-tuning.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// The row's name.
    pub name: String,
    /// How it prunes.
    pub prune: PruneSettings,
    /// How it fine-tunes.
    pub finetune: TrainingSettings,
}

/// A row that is left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repeated {
    /// Its name.
    pub row: String,
    /// The name of the one before it that prunes and fine-tunes the same way.
    pub first: String,
}

impl Variant {
    /// The variant's allocation asks for sensitivities.
    pub fn needs_sensitivity(&self) -> Result<bool> {
        Ok(self.prune.allocation.make::<dyn Allocation>()?.needs_sensitivity())
    }
}

impl Experiment {
    /// The method under test first, then the rows to compare it with; a row that repeats an earlier one is left out.
    pub fn variants(&self) -> Vec<Variant> {
        self.variants_and_repeated().0
    }

    /// The same, and the rows that are left out and whose names are nowhere to be found then.
    pub fn variants_and_repeated(&self) -> (Vec<Variant>, Vec<Repeated>) {
        let mut variants = vec![self.variant(&CompareRow::default())];
        let mut repeated = Vec::new();
        for row in &self.compare {
            let mut variant = self.variant(row);
            let known = |other: &&Variant| other.prune == variant.prune && other.finetune == variant.finetune;
            if let Some(first) = variants.iter().find(known) {
                if first.name != variant.name {
                    repeated.push(Repeated { row: variant.name, first: first.name.clone() });
                }
                continue;
            }
            let wanted = variant.name.clone();
            let mut count = 2;
            while variants.iter().any(|other| other.name == variant.name) {
                variant.name = format!("{wanted}-{count}");
                count += 1;
            }
            variants.push(variant);
        }
        (variants, repeated)
    }

    /// The rows that set themselves what stands at `path`, a setting of pruning or fine-tuning, so that changing it changes nothing for them.
    pub fn rows_that_set(&self, path: &str) -> Vec<String> {
        let sets = |row: &&CompareRow| {
            let own = [
                ("prune.sensitivity", row.sensitivity.is_some()),
                ("prune.criterion", row.criterion.is_some()),
                ("prune.allocation", row.allocation.is_some()),
                ("prune.schedule", row.schedule.is_some()),
                ("prune.ratio", row.ratio.is_some()),
                ("finetune.trainer", row.trainer.is_some()),
            ];
            let is_at = |own: &str| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            own.into_iter().any(|(own, is_set)| is_set && is_at(own))
        };
        self.compare.iter().filter(sets).map(|row| self.variant(row).name).collect()
    }

    fn variant(&self, row: &CompareRow) -> Variant {
        let (mut prune, mut finetune) = (self.prune.clone(), self.finetune.clone());
        let replace = |slot: &mut super::PluginChoice, with: &Option<super::PluginChoice>| {
            if let Some(choice) = with {
                slot.clone_from(choice);
            }
        };
        replace(&mut prune.sensitivity, &row.sensitivity);
        replace(&mut prune.criterion, &row.criterion);
        replace(&mut prune.allocation, &row.allocation);
        replace(&mut prune.schedule, &row.schedule);
        replace(&mut finetune.trainer, &row.trainer);
        prune.ratio = row.ratio.unwrap_or(prune.ratio);
        let name = row.name.clone().unwrap_or_else(|| automatic_name(&prune));
        Variant { name, prune, finetune }
    }
}

/// `mrs-l1-norm` where a sensitivity decides, `l1-norm-uniform` where none does.
fn automatic_name(prune: &PruneSettings) -> String {
    let sensitive = prune.allocation.make::<dyn Allocation>().is_ok_and(|allocation| allocation.needs_sensitivity());
    match sensitive {
        true => format!("{}-{}", prune.sensitivity.name, prune.criterion.name),
        false => format!("{}-{}", prune.criterion.name, prune.allocation.name),
    }
}
