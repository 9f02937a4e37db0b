//! What an experiment is when nothing is said.

use mrpf_api::attack::ThreatModel;
use mrpf_api::budget::BudgetKind;

use super::choice::PluginChoice;
use super::settings::{
    Combine, DataSettings, EvaluateSettings, Experiment, GridSettings, NetworkSettings, PruneSettings,
};
use crate::training::{LearningRate, TrainingSettings};

impl Default for Experiment {
    /// MRPF with MRS on CIFAR-10: PGD-AT, half of the MACs removed by sensitivity and L1 norm, TRADES, PGD-20 at 8/255.
    fn default() -> Self {
        let named = PluginChoice::named;
        Self {
            name: "experiment".into(),
            seed: 0,
            plugins: Vec::new(),
            data: DataSettings {
                name: named("cifar10"),
                dir: None,
                train_images: None,
                holdout: 0.1,
                split_seed: None,
            },
            network: NetworkSettings { architecture: named("resnet") },
            pretrain: TrainingSettings::default(),
            prune: PruneSettings {
                sensitivity: named("mrs"),
                criterion: named("l1-norm"),
                allocation: named("sensitivity"),
                schedule: named("one-shot"),
                rounds: 1,
                ratio: 0.5,
                budget: BudgetKind::Macs,
                combine: Combine::Max,
                remeasure: true,
            },
            finetune: TrainingSettings {
                trainer: named("trades").with("epsilon", "8/255").with("step_size", "2/255"),
                epochs: 10,
                learning_rate: LearningRate { peak: 0.01, ..LearningRate::default() },
                ..TrainingSettings::default()
            },
            evaluate: EvaluateSettings {
                attacks: vec![named("pgd")],
                threat: ThreatModel::default(),
                images: None,
                batch: 128,
                curves: None,
            },
            standard_baseline: false,
            compare: Vec::new(),
            grid: GridSettings::default(),
        }
    }
}
