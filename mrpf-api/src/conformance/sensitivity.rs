//! Laws of sensitivity metrics.

use super::problem::{ROOM, contents, data, network, streams};
use super::{Finding, KEEPS_ITS_WORD, Subject, Verdict, holds_if, keeps_its_word, law, same_but_for_rounding};
use crate::Result;
use crate::context::CallContext;
use crate::network::Network;
use crate::sensitivity::{ModuleSensitivity, SensitivityMetric};

pub(super) fn laws(subject: &Subject<'_>) -> Vec<Finding> {
    vec![
        law("it gives one finite number for each module, in order", || finite(subject)),
        law(KEEPS_ITS_WORD, || word_kept(subject)),
        law("the same seed gives the same numbers", || same_seed(subject)),
        law("the network is left as it was", || network_stays(subject)),
        law("the numbers are the same where a GPU has room for few images", || few_at_a_time(subject)),
    ]
}

fn measure(subject: &Subject<'_>, network: &Network) -> Result<Vec<ModuleSensitivity>> {
    measure_in(&CallContext::unwatched(streams().child("sensitivity")), subject, network)
}

fn measure_in(cx: &CallContext<'_>, subject: &Subject<'_>, network: &Network) -> Result<Vec<ModuleSensitivity>> {
    subject.make::<dyn SensitivityMetric>()?.measure(cx, network, &data()?)
}

fn finite(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let found = measure(subject, &network)?;
    let names: Vec<&str> = found.iter().map(|module| module.module.as_str()).collect();
    let expected: Vec<&str> = network.declaration().modules().map(|layer| layer.name.as_str()).collect();
    if names != expected {
        return Ok(Verdict::Broken(format!("modules {names:?}, expected {expected:?}")));
    }
    let wrong = found.iter().find(|module| !module.value.is_finite());
    Ok(wrong.map_or(Verdict::Holds, |module| Verdict::Broken(format!("{} for `{}`", module.value, module.module))))
}

fn word_kept(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let said = subject.make::<dyn SensitivityMetric>()?.check(network.declaration());
    keeps_its_word(said, || measure(subject, &network).map(drop))
}

fn same_seed(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let (first, second) = (measure(subject, &network)?, measure(subject, &network)?);
    Ok(holds_if(first == second, || "two measurements differ".into()))
}

/// For those who take their images by [`CallContext::parts`].
fn few_at_a_time(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let cx = CallContext::unwatched(streams().child("sensitivity")).short_of_memory(ROOM);
    let (all, few) = (measure(subject, &network)?, measure_in(&cx, subject, &network)?);
    let values = |modules: &[ModuleSensitivity]| modules.iter().map(|module| module.value).collect::<Vec<f64>>();
    Ok(same_but_for_rounding(&values(&all), &values(&few)))
}

fn network_stays(subject: &Subject<'_>) -> Result<Verdict> {
    let network = network()?;
    let before = contents(&network)?;
    measure(subject, &network)?;
    Ok(holds_if(before == contents(&network)?, || "weights or running statistics have changed".into()))
}
