//! The stage that attacks a network.

use mrpf_api::Result;
use mrpf_api::network::Network;
use std::time::Instant;

use super::keys::network_digest;
use super::session::Session;
use crate::evaluation::{Evaluation, Journal, evaluate};
use crate::event::{AttackShare, Event, EventSink};
use crate::experiment::EvaluateSettings;
use crate::files::remove_if_there;

impl Session<'_> {
    /// Attacks `network` under the name `label`, or takes the outcome from an earlier session of this run; one that was stopped in
    /// the middle goes on with the batch that it was at.
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
        let (stage, network_digest) = (format!("attack {label}"), network_digest(network)?);
        let key = self.attack_key(settings)?.with_input("network", network_digest);
        let journal = self.dir.journal(label);
        if self.dir.is_done(&stage, &key)?
            && let Some(evaluation) = self.dir.read_evaluation(label)?
        {
            // A process that was killed just before its end has left it.
            remove_if_there(&journal)?;
            self.tell(row, when, &evaluation, None);
            return Ok(evaluation);
        }
        // How many images there are changes what happens to none of them.
        let of_each = key.clone().without(&["evaluate.images", "evaluate.curves"]);
        let start = Instant::now();
        let evaluation = {
            let mut journal = Journal::open(&journal, &of_each, &stage)?;
            evaluate(&self.context("evaluate"), network, &self.data.test, settings, &mut journal)?
        };
        let seconds = start.elapsed().as_secs_f64();
        let files = self.dir.write_evaluation(label, &evaluation, &settings.threat)?;
        self.dir.write_done(&stage, &key, &files)?;
        remove_if_there(&journal)?;
        self.tell(row, when, &evaluation, Some(evaluation.images as f64 / seconds.max(1e-9)));
        Ok(evaluation)
    }

    fn tell(&self, row: &str, when: &str, evaluation: &Evaluation, images_per_s: Option<f64>) {
        let share = |name: &String, survivors: usize, parts| AttackShare {
            name: name.clone(),
            robust_accuracy: survivors as f64 / evaluation.images.max(1) as f64,
            parts,
        };
        let attacks = evaluation.attacks.iter().map(|attack| {
            let parts = attack.parts.iter().map(|part| share(&part.name, part.survivors, Vec::new())).collect();
            share(&attack.name, attack.survivors, parts)
        });
        self.send(Event::Evaluated {
            row: row.into(),
            when: when.into(),
            attacks: attacks.collect(),
            images: evaluation.images,
            clean_accuracy: evaluation.clean_accuracy(),
            robust_accuracy: evaluation.robust_accuracy(),
            images_per_s,
        });
        if when == "final" {
            for sign in &evaluation.signs {
                self.send(Event::Warning { about: row.into(), message: format!("{} ({})", sign.message, sign.name) });
            }
            for left_out in &evaluation.left_out {
                self.send(Event::Warning { about: row.into(), message: left_out.sentence() });
            }
        }
    }
}
