//! Checks the settings of a training stage.

use mrpf_api::attack::{Norm, check_length};
use mrpf_api::{Error, ErrorKind, Result};

use super::settings::TrainingSettings;
use crate::experiment::check_counts;

impl TrainingSettings {
    /// Checks every value; `path` names the stage in messages, for example `pretrain`.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`] naming the setting, what was found and what was expected.
    pub fn check(&self, path: &str) -> Result<()> {
        let path_of = |setting: &str| format!("{path}.{setting}");
        for (setting, found, expected) in [
            ("epochs", self.epochs, 0..=100_000),
            ("batch", self.batch, 2..=1_000_000),
            ("augment.crop", self.augment.crop, 0..=10_000),
            ("augment.cutout", self.augment.cutout, 0..=10_000),
            ("validation.steps", self.validation.steps, 0..=10_000),
        ] {
            check_counts(&[(&path_of(setting), Some(found), expected)])?;
        }
        let validation = &self.validation;
        for (setting, length) in [("epsilon", &validation.epsilon), ("step_size", &validation.step_size)] {
            let what = format!("setting `{path}.validation.{setting}`:");
            check_length(&what, length, Norm::Linf, None)?;
        }
        let share = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let ascending = self.learning_rate.milestones.is_sorted_by(|a, b| a < b);
        let in_range = self.learning_rate.milestones.iter().all(|&at| at > 0.0 && at < 1.0);
        let rules = [
            (
                "learning_rate.peak",
                self.learning_rate.peak.to_string(),
                positive(self.learning_rate.peak),
                "a number above 0",
            ),
            (
                "learning_rate.warm_up",
                self.learning_rate.warm_up.to_string(),
                share(self.learning_rate.warm_up),
                "a share of the steps, at least 0 and below 1",
            ),
            (
                "learning_rate.milestones",
                format!("{:?}", self.learning_rate.milestones),
                ascending && in_range,
                "ascending shares of the steps between 0 and 1",
            ),
            (
                "learning_rate.factor",
                self.learning_rate.factor.to_string(),
                positive(self.learning_rate.factor),
                "a number above 0",
            ),
            ("momentum", self.momentum.to_string(), share(self.momentum), "at least 0 and below 1"),
            (
                "weight_decay",
                self.weight_decay.to_string(),
                self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
                "at least 0",
            ),
            (
                "clip",
                self.clip.map_or(String::new(), |clip| clip.to_string()),
                self.clip.is_none_or(positive),
                "a number above 0",
            ),
            (
                "label_smoothing",
                self.label_smoothing.to_string(),
                share(self.label_smoothing),
                "at least 0 and below 1",
            ),
            (
                "validation.step_size",
                self.validation.step_size.to_string(),
                self.validation.step_size.value() > 0.0,
                "a length above 0",
            ),
        ];
        for (setting, found, holds, expected) in rules {
            if !holds {
                let message = format!("setting `{path}.{setting}`: found {found}, expected {expected}");
                return Err(Error::new(ErrorKind::Settings, message));
            }
        }
        if self.nesterov && self.momentum == 0.0 {
            let message = format!("setting `{path}.nesterov`: true with a momentum of 0, expected a momentum above 0");
            return Err(Error::new(ErrorKind::Settings, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::LearningRate;

    #[test]
    fn values_out_of_range_are_named() {
        let good = TrainingSettings::default;
        for (settings, message) in [
            (TrainingSettings { batch: 1, ..good() }, "setting `x.batch`: found 1, expected 2 to 1000000"),
            (
                TrainingSettings { momentum: 1.0, ..good() },
                "setting `x.momentum`: found 1, expected at least 0 and below 1",
            ),
            (TrainingSettings { clip: Some(-1.0), ..good() }, "setting `x.clip`: found -1, expected a number above 0"),
            (
                TrainingSettings {
                    learning_rate: LearningRate { milestones: vec![0.7, 0.5], ..LearningRate::default() },
                    ..good()
                },
                "setting `x.learning_rate.milestones`: found [0.7, 0.5], expected ascending shares of the steps between 0 and 1",
            ),
        ] {
            assert_eq!(settings.check("x").err().map(|error| error.to_string()).as_deref(), Some(message));
        }
        assert!(good().check("x").is_ok());
    }
}
