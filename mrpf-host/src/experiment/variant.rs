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

impl Variant {
    /// The variant's allocation asks for sensitivities.
    pub fn needs_sensitivity(&self) -> Result<bool> {
        Ok(self.prune.allocation.make::<dyn Allocation>()?.needs_sensitivity())
    }
}

impl Experiment {
    /// The method under test first, then the rows to compare it with; a row that repeats an earlier one is left out.
    pub fn variants(&self) -> Vec<Variant> {
        let mut variants = vec![self.variant(&CompareRow::default())];
        for row in &self.compare {
            let mut variant = self.variant(row);
            let known = |other: &Variant| other.prune == variant.prune && other.finetune == variant.finetune;
            if variants.iter().any(known) {
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
        variants
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
