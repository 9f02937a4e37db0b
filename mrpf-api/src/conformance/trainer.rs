//! Laws of adversarial trainers.

use super::problem::{batch, clean_loss, contents, data, descend, network, numbers, streams, teacher};
use super::{Finding, KEEPS_ITS_WORD, Subject, Verdict, holds_if, keeps_its_word, law};
use crate::Result;
use crate::context::CallContext;
use crate::data::Batch;
use crate::network::{Network, Weights};
use crate::trainer::{AdversarialTrainer, TrainingLoss, TrainingStep};

const BATCH: usize = 24;
const STEPS: usize = 30;
const RATE: f64 = 0.2;

pub(super) fn laws(subject: &Subject<'_>) -> Vec<Finding> {
    vec![
        law("the loss of a batch is one finite number", || finite(subject)),
        law("the logits are finite, a row for each image, and carry no gradient", || logits(subject)),
        law("every parameter has a finite gradient", || gradients(subject)),
        law("the same seed gives the same loss and gradients", || same_seed(subject)),
        law(KEEPS_ITS_WORD, || word_kept(subject)),
        law("making the loss moves no weight", || weights_stay(subject)),
        law("the end of an epoch changes nothing of the network", || end_of_epoch(subject)),
        law("training with it improves a small problem", || improves(subject)),
        law("with its state put back it goes on as if uninterrupted", || resumes(subject)),
    ]
}

fn step(number: usize) -> TrainingStep<'static> {
    let cx = CallContext::unwatched(streams().child("step").child(number));
    TrainingStep { cx, epoch: number / 10, epochs: STEPS / 10, label_smoothing: 0.0 }
}

/// The trainer, with a teacher if it asks for one.
fn made(subject: &Subject<'_>) -> Result<Box<dyn AdversarialTrainer>> {
    let mut trainer = subject.make::<dyn AdversarialTrainer>()?;
    if trainer.needs_teacher() {
        trainer.teacher(&teacher()?)?;
    }
    Ok(trainer)
}

fn first_loss(subject: &Subject<'_>, network: &Network) -> Result<(TrainingLoss, Batch)> {
    let batch = batch(&data()?.train, BATCH)?;
    let loss = made(subject)?.loss(&step(0), network, &batch)?;
    Ok((loss, batch))
}

fn finite(subject: &Subject<'_>) -> Result<Verdict> {
    let loss = first_loss(subject, &network()?)?.0.loss;
    let (dims, values) = (loss.dims().to_vec(), numbers(&loss)?);
    Ok(holds_if(dims.is_empty() && values[0].is_finite(), || format!("shape {dims:?}, value {values:?}")))
}

fn logits(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let (loss, batch) = first_loss(subject, &network)?;
    let expected = [batch.len(), network.declaration().classes];
    if loss.logits.dims() != expected {
        return Ok(Verdict::Broken(format!("shape {:?}, expected {expected:?}", loss.logits.dims())));
    }
    if loss.logits.track_op() {
        return Ok(Verdict::Broken("they carry a gradient: detach them, or the whole graph is kept".into()));
    }
    Ok(holds_if(numbers(&loss.logits)?.iter().all(|value| value.is_finite()), || "some are not finite".into()))
}

fn gradients(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let gradients = first_loss(subject, &network)?.0.loss.backward()?;
    for (name, variable) in network.parameters() {
        match gradients.get(variable) {
            None => return Ok(Verdict::Broken(format!("`{name}` has none"))),
            Some(gradient) if gradient.dims() != variable.dims() => {
                let (found, expected) = (gradient.dims(), variable.dims());
                return Ok(Verdict::Broken(format!("that of `{name}` has shape {found:?}, expected {expected:?}")));
            }
            Some(gradient) if !numbers(gradient)?.iter().all(|value| value.is_finite()) => {
                return Ok(Verdict::Broken(format!("that of `{name}` is not finite")));
            }
            Some(_) => {}
        }
    }
    Ok(Verdict::Holds)
}

fn same_seed(subject: &Subject<'_>) -> Result<Verdict> {
    let once = || -> Result<Vec<Vec<f32>>> {
        let network = network()?;
        let loss = first_loss(subject, &network)?.0.loss;
        let gradients = loss.backward()?;
        let of = |variable| gradients.get(variable).map_or(Ok(Vec::new()), numbers);
        let mut all = vec![numbers(&loss)?];
        for variable in network.parameters().values() {
            all.push(of(variable)?);
        }
        Ok(all)
    };
    let (first, second) = (once()?, once()?);
    Ok(holds_if(first == second, || format!("losses {:?} and {:?}", first[0], second[0])))
}

fn word_kept(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let said = made(subject)?.check(network.declaration(), STEPS / 10);
    keeps_its_word(said, || first_loss(subject, &network).map(drop))
}

fn weights_stay(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let before = network.snapshot()?;
    first_loss(subject, &network)?;
    for (name, tensor) in &before {
        if numbers(tensor)? != numbers(network.parameter(name)?)? {
            return Ok(Verdict::Broken(format!("`{name}` is not what it was")));
        }
    }
    Ok(Verdict::Holds)
}

fn end_of_epoch(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let mut trainer = made(subject)?;
    trainer.loss(&step(0), &network, &batch(&data()?.train, BATCH)?)?;
    let before = contents(&network)?;
    trainer.end_epoch(&step(1), &network)?;
    Ok(holds_if(contents(&network)? == before, || "weights or running statistics are not what they were".into()))
}

fn improves(subject: &Subject<'_>) -> Result<Verdict> {
    let (network, data) = (network()?, data()?);
    let all = batch(&data.train, data.train.len())?;
    let before = clean_loss(&network, &all)?;
    let mut trainer = made(subject)?;
    train(trainer.as_mut(), &network, &all, 0..STEPS)?;
    let after = clean_loss(&network, &all)?;
    Ok(holds_if(after < before, || format!("the clean loss is {before:.3} before and {after:.3} after {STEPS} steps")))
}

fn resumes(subject: &Subject<'_>) -> Result<Verdict> {
    let data = data()?;
    let all = batch(&data.train, data.train.len())?;
    let uninterrupted = network()?;
    train(made(subject)?.as_mut(), &uninterrupted, &all, 0..6)?;

    let resumed = network()?;
    let mut first = made(subject)?;
    train(first.as_mut(), &resumed, &all, 0..3)?;
    let mut second = made(subject)?;
    second.restore(first.state())?;
    train(second.as_mut(), &resumed, &all, 3..6)?;
    Ok(holds_if(contents(&uninterrupted)? == contents(&resumed)?, || {
        "the weights differ after 3 + 3 steps: what it remembers must be in `state`".into()
    }))
}

/// Trains as the host does: perturbation on, loss, backward, perturbation off, step; each batch as often as it is asked for.
fn train(
    trainer: &mut dyn AdversarialTrainer,
    network: &Network,
    all: &Batch,
    steps: std::ops::Range<usize>,
) -> Result<()> {
    let parts = all.len() / BATCH;
    for number in steps {
        let first = (number % parts) * BATCH;
        let batch = all.select(&(first..first + BATCH).collect::<Vec<_>>())?;
        for replay in 0..trainer.replays().max(1) {
            let mut step = step(number);
            step.cx = step.cx.child(replay);
            let offset = trainer.perturb_weights(&step, network, &batch)?.unwrap_or_default();
            let mut unperturbed = Weights::new();
            for (name, offset) in &offset {
                let variable = network.parameter(name)?;
                unperturbed.insert(name.clone(), variable.as_detached_tensor().copy()?);
                variable.set(&(variable.as_detached_tensor() + offset)?)?;
            }
            let gradients = trainer.loss(&step, network, &batch)?.loss.backward()?;
            trainer.after_backward(&step, &gradients)?;
            for (name, weight) in &unperturbed {
                network.parameter(name)?.set(weight)?;
            }
            descend(network, &gradients, RATE)?;
        }
    }
    Ok(())
}
