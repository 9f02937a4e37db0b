//! Laws of criteria.

use super::problem::{ROOM, contents, data, network, streams};
use super::{Finding, KEEPS_ITS_WORD, Subject, Verdict, holds_if, keeps_its_word, law, same_but_for_rounding};
use crate::Result;
use crate::context::CallContext;
use crate::coupling::{ChannelGroup, channel_groups};
use crate::criterion::Criterion;
use crate::network::Network;

pub(super) fn laws(subject: &Subject<'_>) -> Vec<Finding> {
    vec![
        law("it gives one finite score for each channel", || finite(subject)),
        law(KEEPS_ITS_WORD, || word_kept(subject)),
        law("the order in which groups are asked for does not matter", || order(subject)),
        law("the same seed gives the same scores", || same_seed(subject)),
        law("the network is left as it was", || network_stays(subject)),
        law("the scores are the same where a GPU has room for few images", || few_at_a_time(subject)),
    ]
}

fn groups(network: &Network) -> Result<Vec<ChannelGroup>> {
    Ok(channel_groups(network.declaration())?.into_iter().filter(|group| group.frozen.is_none()).collect())
}

/// Scores of all groups, asked for in the given order, told in forward order.
fn scores(subject: &Subject<'_>, network: &Network, reversed: Order) -> Result<Vec<Vec<f64>>> {
    scores_in(&CallContext::unwatched(streams().child("criterion")), subject, network, reversed)
}

fn scores_in(cx: &CallContext<'_>, subject: &Subject<'_>, network: &Network, reversed: Order) -> Result<Vec<Vec<f64>>> {
    let mut criterion = subject.make::<dyn Criterion>()?;
    criterion.prepare(cx, network, &data()?)?;
    let mut groups = groups(network)?;
    if reversed == Order::Backward {
        groups.reverse();
    }
    let mut all: Vec<Vec<f64>> =
        groups.iter().map(|group| criterion.scores(cx, network, group)).collect::<Result<_>>()?;
    if reversed == Order::Backward {
        all.reverse();
    }
    Ok(all)
}

#[derive(PartialEq)]
enum Order {
    Forward,
    Backward,
}

fn finite(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    for (group, scores) in groups(&network)?.iter().zip(scores(subject, &network, Order::Forward)?) {
        if scores.len() != group.channels {
            let (found, expected) = (scores.len(), group.channels);
            return Ok(Verdict::Broken(format!("{found} scores for the {expected} channels of `{}`", group.name)));
        }
        if let Some(at) = scores.iter().position(|score| !score.is_finite()) {
            return Ok(Verdict::Broken(format!("{} for channel {at} of `{}`", scores[at], group.name)));
        }
    }
    Ok(Verdict::Holds)
}

fn word_kept(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let said = subject.make::<dyn Criterion>()?.check(network.declaration());
    keeps_its_word(said, || scores(subject, &network, Order::Forward).map(drop))
}

fn order(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let (forward, backward) = (scores(subject, &network, Order::Forward)?, scores(subject, &network, Order::Backward)?);
    Ok(holds_if(forward == backward, || {
        "scores change when the groups are asked for from the last to the first".into()
    }))
}

fn same_seed(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let (first, second) = (scores(subject, &network, Order::Forward)?, scores(subject, &network, Order::Forward)?);
    Ok(holds_if(first == second, || "two askings give different scores".into()))
}

/// For those who take their images by [`CallContext::parts`].
fn few_at_a_time(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let cx = CallContext::unwatched(streams().child("criterion")).short_of_memory(ROOM);
    let all = scores(subject, &network, Order::Forward)?;
    let few = scores_in(&cx, subject, &network, Order::Forward)?;
    Ok(same_but_for_rounding(&all.concat(), &few.concat()))
}

fn network_stays(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let before = contents(&network)?;
    scores(subject, &network, Order::Forward)?;
    Ok(holds_if(before == contents(&network)?, || "weights or running statistics have changed".into()))
}
