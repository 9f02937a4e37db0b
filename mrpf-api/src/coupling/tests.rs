//! Networks with tricky couplings, each with the groups that it must have.

mod attention;
mod surgery;

use super::*;
use crate::data::ImageShape;
use crate::network::{BatchNorm, Builder, Declaration, LayerKind};
use crate::numeric::{ConvGeometry, PoolGeometry};
use crate::{ErrorKind, Result};

/// A network and, for each group: its name, its channels, its producers, how often each channel stands on its last consumer's
/// axis, and whether it may be pruned.
pub(crate) struct Tricky {
    pub(crate) name: &'static str,
    pub(crate) declaration: Declaration,
    groups: Vec<(&'static str, usize, Vec<&'static str>, usize, bool)>,
}

fn start(name: &str) -> Builder {
    let mut net = Builder::new(name, ImageShape { channels: 3, height: 6, width: 6 }, 4);
    net.normalize("normalize", &[0.5; 3], &[0.25; 3]);
    net
}

fn finish(net: &mut Builder) -> Result<Declaration> {
    net.global_avg_pool("pool").linear("out", 4).finish()
}

pub(crate) fn tricky() -> Result<Vec<Tricky>> {
    let (same, point) = (ConvGeometry::same3(), ConvGeometry::square(1));
    let out = ("out", 4, vec!["out"], 0, false);
    let mut all = Vec::new();

    let mut net = start("chain");
    net.conv("a", 5, same, true).batch_norm("a.bn").relu("a.relu").conv("b", 6, same.stride(2), false).relu("b.relu");
    let groups = vec![("a", 5, vec!["a"], 1, true), ("b", 6, vec!["b"], 1, true), out.clone()];
    all.push(Tricky { name: "chain", declaration: finish(&mut net)?, groups });

    let mut net = start("residual");
    net.conv("stem", 5, same, false).batch_norm("stem.bn").relu("stem.relu");
    net.conv("inner", 7, same, false)
        .batch_norm("inner.bn")
        .relu("inner.relu")
        .conv("outer", 5, same, false)
        .batch_norm("outer.bn");
    net.add("sum", "stem.relu").relu("sum.relu");
    let sum = net.current();
    net.conv("down", 8, same.stride(2), false).batch_norm("down.bn");
    let down = net.current();
    net.from(&sum).conv("projection", 8, point.stride(2), false).batch_norm("projection.bn").add("sum2", &down);
    let groups = vec![
        ("stem", 5, vec!["stem", "outer"], 1, true),
        ("inner", 7, vec!["inner"], 1, true),
        ("down", 8, vec!["down", "projection"], 1, true),
        out.clone(),
    ];
    all.push(Tricky { name: "residual", declaration: finish(&mut net)?, groups });

    let mut net = start("concat");
    net.conv("a", 4, same, false).relu("a.relu").from("normalize").conv("b", 5, same, true).batch_norm("b.bn");
    net.layer("joined", LayerKind::Concat, &["a.relu", "b.bn"]).batch_norm("joined.bn").conv("c", 6, same, false);
    net.layer("again", LayerKind::Concat, &["c", "joined.bn"]);
    let groups =
        vec![("a", 4, vec!["a"], 1, true), ("b", 5, vec!["b"], 1, true), ("c", 6, vec!["c"], 1, true), out.clone()];
    all.push(Tricky { name: "concat", declaration: finish(&mut net)?, groups });

    let mut net = start("concat then add");
    net.conv("a", 4, same, false).from("normalize").conv("b", 5, same, false);
    net.layer("joined", LayerKind::Concat, &["a", "b"]).conv("c", 9, same, false).add("sum", "joined");
    // The filters of `c` tie those of `a` and `b` into one group, in whose order they come.
    let groups = vec![("a", 9, vec!["a", "b", "c"], 1, true), out.clone()];
    all.push(Tricky { name: "concat then add", declaration: finish(&mut net)?, groups });

    let mut net = start("flatten");
    net.conv("a", 5, same, false).relu("a.relu").max_pool("a.pool", PoolGeometry::square(2));
    let declaration = net.flatten("flat").linear("hidden", 6).relu("hidden.relu").linear("out", 4).finish()?;
    let groups = vec![("a", 5, vec!["a"], 9, true), ("hidden", 6, vec!["hidden"], 1, true), out.clone()];
    all.push(Tricky { name: "flatten", declaration, groups });

    let mut net = start("depthwise");
    net.conv("a", 6, point, false).batch_norm("a.bn").relu("a.relu");
    net.conv("deep", 6, same.groups(6), true).batch_norm("deep.bn").conv("b", 5, point, false);
    let groups = vec![("a", 6, vec!["a", "deep"], 1, true), ("b", 5, vec!["b"], 1, true), out.clone()];
    all.push(Tricky { name: "depthwise", declaration: finish(&mut net)?, groups });

    let mut net = start("depthwise with a multiplier");
    net.conv("a", 3, point, false)
        .conv("deep", 6, same.groups(3), false)
        .batch_norm("deep.bn")
        .conv("b", 5, point, false);
    let groups = vec![("a", 3, vec!["a", "deep"], 2, true), ("b", 5, vec!["b"], 1, true), out.clone()];
    all.push(Tricky { name: "depthwise with a multiplier", declaration: finish(&mut net)?, groups });

    let mut net = start("grouped");
    net.conv("a", 8, same, false).relu("a.relu").conv("split", 6, same.groups(2), true).batch_norm("split.bn");
    // Four places in each of two blocks; three filters in each.
    let groups = vec![("a", 4, vec!["a"], 1, true), ("split", 3, vec!["split"], 2, true), out.clone()];
    all.push(Tricky { name: "grouped", declaration: finish(&mut net)?, groups });

    let mut net = start("pre-activation");
    net.conv("stem", 5, same, false).batch_norm("n1").relu("r1").conv("inner", 7, same.stride(2), false);
    net.batch_norm("n2").relu("r2").conv("outer", 8, same, false);
    net.from("r1").conv("projection", 8, point.stride(2), false).add("sum", "outer").batch_norm("n3").relu("r3");
    net.conv("last", 8, same, true).add("sum2", "sum").batch_norm("n4").relu6("r4");
    // The projection reads what is active, the identity what is not.
    let stream = ("outer", 8, vec!["outer", "projection", "last"], 1, true);
    let groups = vec![("stem", 5, vec!["stem"], 1, true), ("inner", 7, vec!["inner"], 1, true), stream, out.clone()];
    all.push(Tricky { name: "pre-activation", declaration: finish(&mut net)?, groups });

    let mut net = start("inverted residual");
    net.conv("stem", 4, same, false).batch_norm("stem.bn").relu6("stem.relu");
    let before = net.current();
    net.conv("wide", 8, point, false).batch_norm("wide.bn").relu6("wide.relu");
    net.conv("deep", 8, same.groups(8), false).batch_norm("deep.bn").relu6("deep.relu");
    net.conv("narrow", 4, point, false).batch_norm("narrow.bn").add("sum", &before);
    net.conv("strided", 4, same.stride(2).groups(4), false).batch_norm("strided.bn").relu6("strided.relu");
    let stream = ("stem", 4, vec!["stem", "narrow", "strided"], 1, true);
    let groups = vec![stream, ("wide", 8, vec!["wide", "deep"], 1, true), out.clone()];
    all.push(Tricky { name: "inverted residual", declaration: finish(&mut net)?, groups });

    let mut net = start("dense block");
    net.conv("stem", 4, same, false);
    for name in ["d1", "d2"] {
        let before = net.current();
        net.batch_norm(&format!("{name}.bn")).relu(&format!("{name}.relu")).conv(name, 3, same, false);
        net.concat(&format!("{name}.concat"), &[&before]);
    }
    net.batch_norm("bn").relu("relu").conv("transition", 5, point, false).avg_pool("half", PoolGeometry::square(2));
    let declaration = net.flatten("flat").linear("hidden", 6).relu("hidden.relu").linear("out", 4).finish()?;
    let alone = |name, channels| (name, channels, vec![name], 1, true);
    let transition = ("transition", 5, vec!["transition"], 9, true);
    let groups = vec![alone("stem", 4), alone("d1", 3), alone("d2", 3), transition, alone("hidden", 6), out.clone()];
    all.push(Tricky { name: "dense block", declaration, groups });

    let mut net = start("padding shortcut");
    net.conv("stem", 5, same, false)
        .relu("stem.relu")
        .conv("inner", 7, same.stride(2), false)
        .relu("inner.relu")
        .conv("outer", 8, same, false);
    let outer = net.current();
    net.layer("shortcut", LayerKind::PadShortcut { stride: 2, channels: 8 }, &["stem.relu"]).add("sum", &outer);
    let groups = vec![("stem", 8, vec!["stem", "outer"], 1, false), ("inner", 7, vec!["inner"], 1, true), out.clone()];
    all.push(Tricky { name: "padding shortcut", declaration: finish(&mut net)?, groups });

    let mut net = start("read twice");
    net.conv("a", 5, same, false).layer("a.gelu", LayerKind::Gelu, &["a"]).conv("b", 6, same, false);
    net.layer("b.silu", LayerKind::Silu, &["b"]).from("a.gelu").conv("c", 6, same, false).add("sum", "b.silu");
    let groups = vec![("a", 5, vec!["a"], 1, true), ("b", 6, vec!["b", "c"], 1, true), out.clone()];
    all.push(Tricky { name: "read twice", declaration: finish(&mut net)?, groups });

    let mut net = start("linear chain");
    let declaration = net.flatten("flat").linear("a", 7).relu("a.relu").linear("b", 5).linear("out", 4).finish()?;
    let groups = vec![("a", 7, vec!["a"], 1, true), ("b", 5, vec!["b"], 1, true), out.clone()];
    all.push(Tricky { name: "linear chain", declaration, groups });

    let mut net = start("depthwise on a concatenation");
    net.conv("a", 3, point, false).from("normalize").conv("b", 2, point, true).relu("b.relu");
    net.layer("joined", LayerKind::Concat, &["a", "b.relu"]).conv("deep", 5, same.groups(5), false);
    // Reading `b` alone as well, a consumer that only some channels of the group reach.
    net.conv("c", 4, point, false).from("b.relu").conv("d", 4, point, false).add("sum", "c");
    let groups = vec![("a", 5, vec!["a", "b", "deep"], 1, true), ("c", 4, vec!["c", "d"], 1, true), out.clone()];
    all.push(Tricky { name: "depthwise on a concatenation", declaration: finish(&mut net)?, groups });

    let mut net = start("tied to the input");
    net.conv("deep", 6, same.groups(3), false)
        .conv("a", 3, same, false)
        .add("sum", "normalize")
        .conv("b", 5, same, true);
    let groups = vec![("deep", 3, vec!["deep", "a"], 1, false), ("b", 5, vec!["b"], 1, true), out.clone()];
    all.push(Tricky { name: "tied to the input", declaration: finish(&mut net)?, groups });

    let mut net = start("normalised inside");
    net.conv("a", 3, same, false).normalize("inner", &[0.1; 3], &[0.5; 3]).conv("b", 5, same, false);
    let groups = vec![("a", 3, vec!["a"], 1, false), ("b", 5, vec!["b"], 1, true), out];
    all.push(Tricky { name: "normalised inside", declaration: finish(&mut net)?, groups });
    all.extend(attention::transformers()?);
    Ok(all)
}

#[test]
fn each_network_has_the_groups_that_it_must_have() -> Result<()> {
    for case in tricky()? {
        let groups = channel_groups(&case.declaration)?;
        let found: Vec<_> = groups
            .iter()
            .map(|group| {
                let producers: Vec<&str> = group.producers().map(|member| member.layer.as_str()).collect();
                let places =
                    group.consumers().last().and_then(|member| member.positions.iter().map(<[usize]>::len).max());
                (group.name.as_str(), group.channels, producers, places.unwrap_or(0), group.frozen.is_none())
            })
            .collect();
        assert_eq!(found, case.groups, "{}", case.name);
    }
    Ok(())
}

#[test]
fn frozen_groups_say_why() -> Result<()> {
    let cases = tricky()?;
    let reason = |name: &str, group: &str| -> Result<Option<String>> {
        let case = cases.iter().find(|case| case.name == name).expect("a case");
        Ok(channel_groups(&case.declaration)?
            .into_iter()
            .find(|found| found.name == group)
            .and_then(|found| found.frozen))
    };
    assert_eq!(reason("chain", "out")?.as_deref(), Some("its channels are the classes"));
    let padded = "the padding shortcut `shortcut` ties its channels to their places";
    assert_eq!(reason("padding shortcut", "stem")?.as_deref(), Some(padded));
    assert_eq!(reason("tied to the input", "deep")?.as_deref(), Some("its channels are those of the input images"));
    assert_eq!(reason("normalised inside", "a")?.as_deref(), Some("the fixed means of `inner` belong to its channels"));
    Ok(())
}

#[test]
fn a_group_reads_as_numbered_lines() -> Result<()> {
    let case = tricky()?.swap_remove(0);
    let text = channel_groups(&case.declaration)?[0].to_string();
    let expected = "group `a`: 5 channels\n   1. 1 filter of `a`\n   2. 1 norm channel of `a.bn`\n   3. 1 input of `b`";
    assert_eq!(text, expected);
    Ok(())
}

#[test]
fn narrow_groups_keep_what_their_structure_needs() -> Result<()> {
    let expected = [
        ("chain", vec![1, 1, 4]),
        ("concat then add", vec![2, 4]),
        ("depthwise", vec![2, 1, 4]),
        ("depthwise with a multiplier", vec![2, 1, 4]),
        ("grouped", vec![2, 1, 4]),
        ("depthwise on a concatenation", vec![2, 1, 4]),
        ("inverted residual", vec![2, 2, 4]),
        ("tied to the input", vec![3, 1, 4]),
    ];
    for case in tricky()? {
        let found = fewest_channels(&case.declaration, &channel_groups(&case.declaration)?);
        if let Some((_, fewest)) = expected.iter().find(|(name, _)| *name == case.name) {
            assert_eq!(found, *fewest, "{}", case.name);
        }
    }
    Ok(())
}

#[test]
fn declarations_that_contradict_themselves_are_refused() {
    let kinds = LayerKind::BatchNorm(BatchNorm::new(7));
    let cases: [(&str, Result<Declaration>); 4] = [
        ("layer `bn`: reads [3, 6, 6], expected 7 channels", start("x").layer("bn", kinds, &["normalize"]).finish()),
        (
            "layer `a`: reads `nowhere`, which no earlier layer has",
            start("x").layer("a", LayerKind::Relu, &["nowhere"]).finish(),
        ),
        ("layer `normalize`: the name is used twice", start("x").relu("normalize").finish()),
        ("the last layer gives [3], expected the logits [4]", start("x").global_avg_pool("pool").finish()),
    ];
    for (message, found) in cases {
        let error = found.expect_err(message);
        assert_eq!((error.to_string().as_str(), error.kind()), (message, ErrorKind::Declaration));
    }
}
