//! `mrpf evaluate`: attacks a saved network.

use mrpf_api::Result;
use mrpf_api::fraction::Fraction;
use std::time::Instant;

use super::Console;
use super::open::open_model;
use crate::cli::EvaluateArgs;
use crate::experiment::PluginChoice;
use crate::pipeline::Session;

/// Attacks with each radius and writes a row of results for it.
pub fn evaluate(args: &EvaluateArgs, console: &Console<'_>) -> Result<()> {
    let start = Instant::now();
    let radii: Vec<Fraction> = args.epsilons.iter().map(|text| text.parse()).collect::<Result<_>>()?;
    let (mut opened, network) = open_model(&args.model, "evaluate", console)?;
    let settings = &mut opened.experiment.evaluate;
    settings.images = args.images.or(settings.images);
    if !args.attacks.is_empty() {
        // An attack that the experiment has already keeps its settings.
        let known = settings.attacks.clone();
        let choose = |name: &String| {
            known.iter().find(|choice| choice.name == *name).cloned().unwrap_or(PluginChoice::named(name))
        };
        settings.attacks = args.attacks.iter().map(choose).collect();
    }
    opened.experiment.check()?;
    opened.dir.write_experiment(&opened.experiment)?;
    let radii = if radii.is_empty() { vec![opened.experiment.evaluate.threat.epsilon.clone()] } else { radii };
    let session = Session::open(opened, radii.len(), console.events, console.watcher)?;
    session.check_fits(&network)?;
    let mut rows = Vec::new();
    for epsilon in radii {
        let mut settings = session.experiment.evaluate.clone();
        let name = format!("epsilon {epsilon}");
        settings.threat.epsilon = epsilon;
        rows.push(session.evaluated_row(&name, &args.model.model, &network, &settings)?);
    }
    session.finish(&rows, start.elapsed().as_secs_f64())
}
