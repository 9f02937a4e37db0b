//! Broken criteria are found out.

use super::*;

impl Criterion for Broken {
    fn prepare(&mut self, _: &CallContext<'_>, network: &Network, _: &LoadedData) -> Result<()> {
        if self.is("moves a weight") {
            let weight = network.parameter("stem.weight")?;
            weight.set(&(weight.as_detached_tensor() * 1.5)?)?;
        }
        Ok(())
    }

    fn scores(&self, cx: &CallContext<'_>, _: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let mut scores: Vec<f64> = (0..group.channels).map(|channel| channel as f64).collect();
        match self.how.as_str() {
            "too few" => scores.truncate(1),
            "not finite" => scores[0] = f64::NAN,
            "unseeded" => scores[0] = self.number as f64,
            // The watcher's streams do not change from call to call, so a count of calls would; here a static stands for it.
            "order" => scores[0] = MADE.fetch_add(1, Ordering::SeqCst) as f64,
            _ => scores[0] = cx.streams.child(&group.name).stream().unit(),
        }
        Ok(scores)
    }
}

#[test]
fn criteria() -> Result<()> {
    assert_broken(
        Kind::Criterion,
        "broken-criterion",
        &[
            ("too few", &["it gives one finite score for each channel"]),
            ("moves a weight", &["the network is left as it was"]),
        ],
    )?;
    for (how, law) in [
        ("not finite", "it gives one finite score for each channel"),
        ("unseeded", "the same seed gives the same scores"),
        ("order", "the order in which groups are asked for does not matter"),
    ] {
        assert!(broken(Kind::Criterion, "broken-criterion", how)?.contains(&law), "{how}");
    }
    Ok(())
}
