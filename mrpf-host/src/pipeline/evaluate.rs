//! The stage that attacks a network.

use mrpf_api::network::Network;
use mrpf_api::{Error, ErrorKind, Result};
use std::time::Instant;

use super::session::Session;
use crate::evaluation::{Evaluation, Journal, evaluate};
use crate::event::{AttackShare, Event, EventSink};
use crate::experiment::EvaluateSettings;
use crate::files::sha256;

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
        if let Some(evaluation) = self.dir.read_evaluation(label)? {
            self.tell(row, when, &evaluation, None);
            return Ok(evaluation);
        }
        let mut journal = Journal::open(&self.dir.journal(label), &self.fingerprint(settings, network)?)?;
        let start = Instant::now();
        let evaluation = evaluate(&self.context("evaluate"), network, &self.data.test, settings, &mut journal)?;
        let seconds = start.elapsed().as_secs_f64();
        self.dir.write_evaluation(label, &evaluation, &settings.threat)?;
        self.tell(row, when, &evaluation, Some(evaluation.images as f64 / seconds.max(1e-9)));
        Ok(evaluation)
    }

    /// What the outcome of every single image depends on.
    fn fingerprint(&self, settings: &EvaluateSettings, network: &Network) -> Result<String> {
        // Neither the batch size nor how many images there are changes what happens to one.
        let settings = EvaluateSettings { batch: 0, images: None, curves: None, ..settings.clone() };
        let data = &self.experiment.data;
        let about = serde_json::to_vec(&(&settings, &data.name, &data.dir, self.experiment.seed))
            .map_err(|error| Error::new(ErrorKind::Settings, format!("the settings cannot be written: {error}")))?;
        Ok(sha256(&[about, network.to_bytes()?].concat()))
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
