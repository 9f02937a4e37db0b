//! From stages to rows of the comparison, and the files that a run ends with.

use mrpf_api::Result;
use mrpf_api::coupling::cost;
use mrpf_api::fraction::Fraction;
use mrpf_api::network::Network;
use std::path::Path;

use super::keys::network_digest;
use super::session::Session;
use super::train::TrainedRecord;
use super::variant::Finished;
use crate::evaluation::{Evaluation, Latency, measure_latency, robust_overfitting};
use crate::event::{Event, EventSink};
use crate::experiment::{EvaluateSettings, Variant};
use crate::results::{AttackedNetwork, Results, Row, comparison_table, report_markdown};
use crate::stage_key::StageKey;

impl Session<'_> {
    /// Attacks a dense network and makes its row.
    pub fn dense_row(&self, name: &str, network: &Network, training: &TrainedRecord) -> Result<Row> {
        let settings = self.experiment.evaluate.clone();
        let evaluation = self.stage(&format!("attack {name}"), || {
            Ok((self.evaluated(name, name, "final", &settings, network)?, false))
        })?;
        let mut row = self.row(name, network, &evaluation)?;
        row.trainer.clone_from(&training.trainer);
        self.note_training(&mut row, training);
        Ok(row)
    }

    /// Attacks a pruned network, before and after fine-tuning, and makes its row. One that was not fine-tuned is attacked once: it is the
    /// network as cut.
    pub fn variant_row(&self, variant: &Variant, finished: &Finished) -> Result<Row> {
        let (name, settings) = (&variant.name, self.experiment.evaluate.clone());
        let (cut, evaluation) = self.stage(&format!("attack {name}"), || {
            let label = format!("{name} cut");
            let cut = match finished.training.is_trained() {
                true => Some(self.evaluated(&label, name, "pruned", &settings, &finished.cut)?),
                false => None,
            };
            Ok(((cut, self.evaluated(name, name, "final", &settings, &finished.network)?), false))
        })?;
        let mut row = self.row(name, &finished.network, &evaluation)?;
        let sensitive = variant.needs_sensitivity()?;
        row.sensitivity = sensitive.then(|| variant.prune.sensitivity.name.clone());
        row.criterion = Some(variant.prune.criterion.name.clone());
        row.allocation = Some(variant.prune.allocation.name.clone());
        row.schedule = Some(variant.prune.schedule.name.clone());
        row.trainer.clone_from(&variant.finetune.trainer.name);
        row.ratio_asked = variant.prune.ratio;
        if let Some(last) = finished.pruned.last() {
            row.ratio_achieved = last.ratio_achieved;
            row.shortfall.clone_from(&last.shortfall);
        }
        row.clean_accuracy_pruned = cut.as_ref().map(Evaluation::clean_accuracy);
        row.robust_accuracy_pruned = cut.as_ref().map(Evaluation::robust_accuracy);
        self.note_training(&mut row, &finished.training);
        Ok(row)
    }

    /// Robust accuracy at the chosen epoch and the last, and the sign of robust overfitting where they are far apart.
    fn note_training(&self, row: &mut Row, training: &TrainedRecord) {
        row.best_and_last_robust = training.best_and_last();
        let sign = row.best_and_last_robust.and_then(|[best, last]| robust_overfitting(best, last));
        if let Some(sign) = sign {
            let message = format!("{} ({})", sign.message, sign.name);
            self.send(Event::Warning { about: row.name.clone(), message });
            row.signs.push(sign);
        }
    }

    /// Attacks a network that lies in a file of its own and makes its row; gives also what it is made of.
    pub fn evaluated_row(
        &self,
        name: &str,
        model: &Path,
        network: &Network,
        settings: &EvaluateSettings,
    ) -> Result<(Row, Evaluation)> {
        let evaluation = self.stage(&format!("attack {name}"), || {
            Ok((self.evaluated(name, name, "final", settings, network)?, false))
        })?;
        let mut row = self.row(name, network, &evaluation)?;
        row.model = model.display().to_string();
        row.epsilon = settings.threat.epsilon.to_string();
        Ok((row, evaluation))
    }

    fn row(&self, name: &str, network: &Network, evaluation: &Evaluation) -> Result<Row> {
        let cost = cost(network.declaration())?;
        let mut row = Row::measured(name, &cost, evaluation);
        row.budget = self.experiment.prune.budget.name().into();
        row.seed = self.experiment.seed;
        row.epsilon = self.experiment.evaluate.threat.epsilon.to_string();
        row.model = self.dir.relative(&self.dir.network(name));
        row.latency = Some(self.latency(name, network)?);
        Ok(row)
    }

    /// Latency is the one figure that differs from run to run; it is kept apart from the results, which do not.
    fn latency(&self, name: &str, network: &Network) -> Result<Latency> {
        let (stage, digest) = (format!("latency {name}"), network_digest(network)?);
        let key = StageKey::default().with_input("network", digest);
        if self.dir.is_done(&stage, &key)?
            && let Some(latency) = self.dir.read_latency(name)?
        {
            return Ok(latency);
        }
        let latency = measure_latency(&self.context("latency"), network)?;
        self.dir.write_latency(name, &latency)?;
        self.dir.write_done(&stage, &key, &[self.dir.latency(name)])?;
        Ok(latency)
    }

    /// Writes `results.json` and `report.md` with the rows so far.
    pub fn write_results(&self, rows: &[Row]) -> Result<Results> {
        self.write(Results::new(&self.experiment, rows.to_vec()))
    }

    fn write(&self, results: Results) -> Result<Results> {
        self.dir.write_results(&results)?;
        let report =
            report_markdown(&results, &self.experiment, &self.dir.read_sensitivities()?, &self.dir.read_plans()?)?;
        self.dir.write_report(&report)?;
        Ok(results)
    }

    /// Writes the final results and says where everything is.
    pub fn finish(&self, rows: &[Row], seconds: f64) -> Result<()> {
        self.tell_end(&self.write_results(rows)?, seconds)
    }

    /// The same for the evaluations of one network with different radii.
    pub fn finish_evaluation(
        &self,
        rows: &[Row],
        evaluations: &[(Fraction, Evaluation)],
        network: &Network,
        seconds: f64,
    ) -> Result<()> {
        let results = Results {
            attacked: AttackedNetwork::new(evaluations, &self.data.class_names),
            // The network was not made by the experiment whose settings it is attacked with.
            architecture: network.declaration().architecture.clone(),
            ..Results::new(&self.experiment, rows.to_vec())
        };
        self.tell_end(&self.write(results)?, seconds)
    }

    fn tell_end(&self, results: &Results, seconds: f64) -> Result<()> {
        self.send(Event::Written { what: "results".into(), path: self.dir.results() });
        self.send(Event::Written { what: "report".into(), path: self.dir.report() });
        self.send(Event::RunFinished { seconds, table: comparison_table(results) });
        Ok(())
    }
}
