//! The stage that attacks a network.

use mrpf_api::Result;
use mrpf_api::network::Network;

use super::session::Session;
use crate::evaluation::{Evaluation, evaluate};
use crate::event::{Event, EventSink};
use crate::experiment::EvaluateSettings;

impl Session<'_> {
    /// Attacks `network` under the name `label`, or takes the outcome from an earlier session of this run.
    ///
    /// `when` is `pruned` or `final`. Every network is attacked with the same random numbers.
    pub fn evaluated(
        &self,
        label: &str,
        row: &str,
        when: &str,
        settings: &EvaluateSettings,
        network: &Network,
    ) -> Result<Evaluation> {
        if let Some(evaluation) = self.dir.read_evaluation(label)? {
            self.tell(row, when, &evaluation);
            return Ok(evaluation);
        }
        let evaluation = evaluate(&self.context("evaluate"), network, &self.data.test, settings)?;
        self.dir.write_evaluation(label, &evaluation)?;
        self.tell(row, when, &evaluation);
        Ok(evaluation)
    }

    fn tell(&self, row: &str, when: &str, evaluation: &Evaluation) {
        let attacks: Vec<&str> = evaluation.attacks.iter().map(|attack| attack.name.as_str()).collect();
        self.send(Event::Evaluated {
            row: row.into(),
            when: when.into(),
            attack: attacks.join("+"),
            images: evaluation.images,
            clean_accuracy: evaluation.clean_accuracy(),
            robust_accuracy: evaluation.robust_accuracy(),
        });
        if when == "final" {
            for message in &evaluation.warnings {
                self.send(Event::Warning { about: row.into(), message: message.clone() });
            }
        }
    }
}
