//! `mrpf evaluate`: attacks a saved network.

use mrpf_api::attack::check_length;
use mrpf_api::fraction::Fraction;
use mrpf_api::network::Network;
use mrpf_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

use super::Console;
use super::foresee::foresee;
use super::open::{open_fresh, reopen};
use super::task::{SavedNetwork, task};
use crate::bundle::{Evidence, Submission};
use crate::cli::EvaluateArgs;
use crate::event::{Event, EventSink};
use crate::experiment::{Ahead, Experiment, PluginChoice};
use crate::pipeline::{Opened, Session, read_model};

/// On how many images curves are drawn where neither `--curves` nor `evaluate.curves` says it.
const CURVE_IMAGES: usize = 100;

/// What is evaluated, as the run directory keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub struct EvaluationTask {
    /// The saved network.
    #[serde(flatten)]
    network: SavedNetwork,
    /// The radii.
    epsilons: Vec<Fraction>,
}

/// Attacks with each radius and writes a row of results for it.
pub fn evaluate(args: &EvaluateArgs, console: &Console<'_>) -> Result<()> {
    let start = Instant::now();
    let submission = args.about.as_deref().map(Submission::read).transpose()?.unwrap_or_default();
    let (opened, network, task) = match (&args.resume, &args.model) {
        (Some(dir), _) => resume(dir, args, console)?,
        (None, Some(model)) => begin(model, args, console)?,
        (None, None) => return Err(Error::new(ErrorKind::Settings, "no network to attack, expected a file")),
    };
    let session = Session::open(opened, task.epsilons.len(), console.events, console.watcher)?;
    session.check_fits(&network)?;
    for epsilon in &task.epsilons {
        let mut settings = session.experiment.evaluate.clone();
        settings.threat.epsilon = epsilon.clone();
        foresee(&session, network.declaration(), &Ahead { attacks: Some(&settings), ..Ahead::default() })?;
    }
    let (mut rows, mut evaluations) = (Vec::new(), Vec::new());
    for epsilon in task.epsilons {
        let mut settings = session.experiment.evaluate.clone();
        let name = format!("epsilon {epsilon}");
        settings.threat.epsilon = epsilon.clone();
        let (row, evaluation) = session.evaluated_row(&name, &task.network.model, &network, &settings)?;
        rows.push(row);
        evaluations.push((epsilon, evaluation));
    }
    for leaderboard in &args.bundle {
        let evidence = Evidence {
            network: &network,
            data: &session.experiment.data.name.name,
            norm: session.experiment.evaluate.threat.norm,
            evaluations: &evaluations,
            submission: &submission,
        };
        let folder = session.dir.path().join(format!("bundle-{}", leaderboard.name()));
        let (_, unmet) = leaderboard.write(&evidence, &folder)?;
        if unmet > 0 {
            let message = format!(
                "{unmet} of the leaderboard's requirements are not met; {} says which",
                folder.join("requirements.md").display()
            );
            session.send(Event::Warning { about: leaderboard.name().into(), message });
        }
        session.send(Event::Written { what: format!("bundle for {}", leaderboard.name()), path: folder });
    }
    session.finish_evaluation(&rows, &evaluations, &network, start.elapsed().as_secs_f64())
}

fn begin(model: &Path, args: &EvaluateArgs, console: &Console<'_>) -> Result<(Opened, Network, EvaluationTask)> {
    let epsilons: Vec<Fraction> = args.epsilons.iter().map(|text| text.parse()).collect::<Result<_>>()?;
    let network = read_model(model)?.to_device(&console.device.device)?;
    let change = |experiment: &mut Experiment| {
        let settings = &mut experiment.evaluate;
        settings.images = args.images.or(settings.images);
        settings.curves = args.curves.or(settings.curves).or(Some(CURVE_IMAGES));
        if !args.attacks.is_empty() {
            // An attack that the experiment has already keeps its settings.
            let known = settings.attacks.clone();
            let choose = |name: &String| {
                known.iter().find(|choice| choice.name == *name).cloned().unwrap_or(PluginChoice::named(name))
            };
            settings.attacks = args.attacks.iter().map(choose).collect();
        }
    };
    let checked = |experiment: &mut Experiment| {
        change(experiment);
        let (norm, values) = (experiment.evaluate.threat.norm, network.declaration().input.len());
        // Before a folder is made; what is doubtful is told when the work begins.
        epsilons.iter().try_for_each(|epsilon| check_length("--epsilons", epsilon, norm, Some(values)).map(drop))
    };
    let opened = open_fresh(model, &args.experiment, &args.shared, checked, console)?;
    let epsilons = if epsilons.is_empty() { vec![opened.experiment.evaluate.threat.epsilon.clone()] } else { epsilons };
    let task = EvaluationTask { network: SavedNetwork::new(model, &network)?, epsilons };
    opened.dir.write_task(&task)?;
    Ok((opened, network, task))
}

fn resume(dir: &Path, args: &EvaluateArgs, console: &Console<'_>) -> Result<(Opened, Network, EvaluationTask)> {
    let opened = reopen(dir, &args.shared, console)?;
    let task: EvaluationTask = task(&opened.dir)?;
    let network = task.network.read(console)?;
    Ok((opened, network, task))
}
