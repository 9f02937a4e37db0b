//! What can be known of a run before anything is computed: whether plugins will do what settings ask of them, with this network and data.

use mrpf_api::attack::{Attack, Norm, check_length};
use mrpf_api::criterion::Criterion;
use mrpf_api::network::Declaration;
use mrpf_api::registry::{Kind, PluginKind, find};
use mrpf_api::sensitivity::SensitivityMetric;
use mrpf_api::trainer::AdversarialTrainer;
use mrpf_api::{Context, Result};
use serde_json::Value;

use super::choice::PluginChoice;
use super::settings::EvaluateSettings;
use super::variant::Variant;
use crate::training::TrainingSettings;

/// The work that is ahead.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ahead<'a> {
    /// Trainings, each with the name of its settings.
    pub trainings: &'a [(&'a str, &'a TrainingSettings)],
    /// Metrics that measure the network.
    pub metrics: &'a [&'a PluginChoice],
    /// Ways of pruning and fine-tuning it; of their metrics those that are asked for.
    pub variants: &'a [Variant],
    /// Attacks on it and on what is made of it.
    pub attacks: Option<&'a EvaluateSettings>,
}

impl Ahead<'_> {
    /// Asks everyone who will take part; gives what people should know of it, each as a sentence once.
    ///
    /// # Errors
    /// What would stop the work later, naming the setting: [`mrpf_api::ErrorKind::Settings`] of a plugin that will not do it, and of
    /// lengths that cannot be meant.
    pub fn foresee(&self, network: &Declaration) -> Result<Vec<String>> {
        let mut remarks = Vec::new();
        for (stage, settings) in self.trainings {
            training(stage, settings, network, &mut remarks)?;
        }
        for metric in self.metrics {
            sensitivity("prune.sensitivity", metric, network, &mut remarks)?;
        }
        for variant in self.variants {
            if variant.needs_sensitivity()? {
                sensitivity("prune.sensitivity", &variant.prune.sensitivity, network, &mut remarks)?;
            }
            let criterion = &variant.prune.criterion;
            let said = criterion.make::<dyn Criterion>()?.check(network);
            note("prune.criterion", criterion, Kind::Criterion, said, &mut remarks)?;
            training("finetune", &variant.finetune, network, &mut remarks)?;
        }
        if let Some(settings) = self.attacks {
            attacks(settings, network, &mut remarks)?;
        }
        let mut once: Vec<String> = Vec::new();
        remarks.into_iter().for_each(|remark| {
            if !once.contains(&remark) {
                once.push(remark);
            }
        });
        Ok(once)
    }
}

fn training(stage: &str, settings: &TrainingSettings, network: &Declaration, remarks: &mut Vec<String>) -> Result<()> {
    if settings.epochs == 0 {
        return Ok(());
    }
    let trainer = &settings.trainer;
    let said = trainer.make::<dyn AdversarialTrainer>()?.check(network, settings.epochs);
    note(&format!("{stage}.trainer"), trainer, <dyn AdversarialTrainer>::KIND, said, remarks)?;
    let validation = &settings.validation;
    for (setting, length) in [("epsilon", &validation.epsilon), ("step_size", &validation.step_size)] {
        let what = format!("setting `{stage}.validation.{setting}`:");
        remarks.extend(check_length(&what, length, Norm::Linf, None)?);
    }
    Ok(())
}

fn sensitivity(setting: &str, metric: &PluginChoice, network: &Declaration, remarks: &mut Vec<String>) -> Result<()> {
    let said = metric.make::<dyn SensitivityMetric>()?.check(network);
    note(setting, metric, Kind::Sensitivity, said, remarks)
}

fn attacks(settings: &EvaluateSettings, network: &Declaration, remarks: &mut Vec<String>) -> Result<()> {
    let radius = settings.threat.check(network.input).context(|| "setting `evaluate.threat`".into())?;
    remarks.extend(radius.map(|remark| format!("setting `evaluate.threat`: {remark}")));
    for attack in &settings.attacks {
        let said = attack.make::<dyn Attack>()?.check(&settings.threat, network.classes, network.input);
        note("evaluate.attacks", attack, Kind::Attack, said, remarks)?;
    }
    Ok(())
}

/// Notes what a plugin said, and what is unusual in its settings.
fn note(
    setting: &str,
    choice: &PluginChoice,
    kind: Kind,
    said: Result<mrpf_api::foresight::Foresight>,
    remarks: &mut Vec<String>,
) -> Result<()> {
    let about = || format!("setting `{setting}`: {} `{}`", kind.name(), choice.name);
    let said = said.context(about)?.remarks();
    let unusual = find(kind, &choice.name)?.remarks(Value::Object(choice.settings.clone())).context(about)?;
    remarks.extend(said.into_iter().chain(unusual).map(|remark| format!("{}: {remark}", about())));
    Ok(())
}
