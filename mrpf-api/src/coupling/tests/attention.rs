//! Networks with attention: what goes by width, what by head, and what a layer norm holds.

use super::{Tricky, finish, start};
use crate::Result;
use crate::coupling::{PruningPlan, channel_groups, cost, cut_declaration, layer_costs};
use crate::network::{Attention, AttentionUnit, LayerKind};
use crate::numeric::ConvGeometry;

/// A convolution's map in patches, an attention of two heads and a feed-forward part, each added to what it reads.
fn transformer(name: &'static str, unit: AttentionUnit, norm: bool) -> Result<Tricky> {
    let mut net = start(name);
    net.conv("a", 5, ConvGeometry::same3(), true).layer("tokens", LayerKind::Unfold { patch: [2, 3] }, &["a"]);
    if norm {
        net.layer_norm("norm1");
    }
    let read = net.current();
    for (layer, channels) in [("query", 6), ("key", 6), ("value", 4)] {
        net.from(&read).linear(layer, channels);
    }
    // Heads of three channels in queries and keys, and of two in values.
    let attention = Attention { query_channels: 6, value_channels: 4, heads: 2, scale: 0.6, unit };
    net.layer("attention", LayerKind::Attention(attention), &["query", "key", "value"]);
    net.linear("proj", 5).add("sum1", "tokens");
    net.linear("fc1", 7).silu("fc1.silu").linear("fc2", 5).add("sum2", "sum1");
    net.layer("map", LayerKind::Fold { patch: [2, 3], size: [6, 6] }, &["sum2"]).resize("resized", [5, 7]);
    let declaration = finish(&mut net)?;
    let mut groups = vec![("a", 5, vec!["a", "proj", "fc2"], 1, !norm)];
    groups.extend(match unit {
        AttentionUnit::Width => {
            vec![("query", 3, vec!["query", "key"], 0, true), ("value", 2, vec!["value"], 2, true)]
        }
        AttentionUnit::Head => vec![("query", 2, vec!["query", "key", "value"], 2, true)],
    });
    groups.extend([("fc1", 7, vec!["fc1"], 1, true), ("out", 4, vec!["out"], 0, false)]);
    Ok(Tricky { name, declaration, groups })
}

pub(super) fn transformers() -> Result<Vec<Tricky>> {
    Ok(vec![
        transformer("attention by width", AttentionUnit::Width, false)?,
        transformer("attention by head", AttentionUnit::Head, false)?,
        transformer("attention by width after a layer norm", AttentionUnit::Width, true)?,
        transformer("attention by head after a layer norm", AttentionUnit::Head, true)?,
    ])
}

#[test]
fn groups_of_attention_say_what_goes() -> Result<()> {
    let text = |case: Tricky, at: usize| Ok(channel_groups(&case.declaration)?[at].to_string());
    let found: Result<String> = text(transformer("x", AttentionUnit::Width, true)?, 0);
    assert_eq!(
        found?.lines().next(),
        Some("group `a`: 5 channels, frozen: the layer norm `norm1` takes mean and variance over all channels")
    );
    let found: Result<String> = text(transformer("x", AttentionUnit::Width, true)?, 1);
    let expected = "group `query`: 3 channels\n   1. 2 filters of `query`\n   2. 2 filters of `key`\n   \
                    3. 2 channels of `attention`";
    assert_eq!(found?, expected);
    let found: Result<String> = text(transformer("x", AttentionUnit::Head, true)?, 1);
    let expected = "group `query`: 2 channels\n   1. 3 filters of `query`\n   2. 3 filters of `key`\n   \
                    3. 2 filters of `value`\n   4. 2 channels of `attention`\n   5. 2 inputs of `proj`";
    assert_eq!(found?, expected);
    Ok(())
}

#[test]
fn a_cut_attention_has_narrower_or_fewer_heads() -> Result<()> {
    let cut = |unit, keep: Vec<usize>| -> Result<Attention> {
        let declaration = transformer("x", unit, true)?.declaration;
        let plan = PruningPlan { keep: [("query".to_owned(), keep)].into() };
        let cut = cut_declaration(&declaration, &plan)?;
        match &cut.layer("attention")?.kind {
            LayerKind::Attention(attention) => Ok(attention.clone()),
            other => panic!("{other:?}"),
        }
    };
    let whole = Attention { query_channels: 6, value_channels: 4, heads: 2, scale: 0.6, unit: AttentionUnit::Width };
    let narrow = Attention { query_channels: 4, ..whole.clone() };
    assert_eq!(cut(AttentionUnit::Width, vec![0, 2])?, narrow);
    let fewer = Attention { query_channels: 3, value_channels: 2, heads: 1, unit: AttentionUnit::Head, ..whole };
    assert_eq!(cut(AttentionUnit::Head, vec![1])?, fewer);
    Ok(())
}

#[test]
fn attention_costs_its_two_products() -> Result<()> {
    let declaration = transformer("x", AttentionUnit::Width, false)?.declaration;
    let costs = layer_costs(&declaration)?;
    let of = |name: &str| costs.iter().find(|layer| layer.layer == name).map(|layer| layer.cost);
    // Six sequences of six tokens: each token meets six, in 6 channels of queries and 4 of values.
    let attention = of("attention").expect("a cost");
    assert_eq!((attention.macs, attention.params), (6 * 6 * 6 * (6 + 4), 0));
    let projection = of("proj").expect("a cost");
    assert_eq!((projection.macs, projection.params), (36 * 4 * 5, 4 * 5 + 5));
    assert_eq!(cost(&declaration)?.macs, costs.iter().map(|layer| layer.cost.macs).sum::<u64>());
    Ok(())
}

#[test]
fn attention_that_does_not_fit_is_refused() -> Result<()> {
    let refused = |change: fn(&mut Attention)| -> Result<String> {
        let mut declaration = transformer("x", AttentionUnit::Width, false)?.declaration;
        for layer in &mut declaration.layers {
            if let LayerKind::Attention(attention) = &mut layer.kind {
                change(attention);
            }
        }
        Ok(declaration.wiring().expect_err("a contradiction").to_string())
    };
    type Change = fn(&mut Attention);
    let cases: [(Change, &str); 4] = [
        (|it| it.heads = 4, "4 heads do not divide 6 and 4 channels"),
        (|it| it.heads = 0, "0 heads do not divide 6 and 4 channels"),
        (|it| it.value_channels = 6, "reads values of [6, 6, 4], expected [6, 6, 6]"),
        (|it| it.scale = f64::NAN, "a scale of NaN, expected one above 0"),
    ];
    for (change, why) in cases {
        assert_eq!(refused(change)?, format!("layer `attention`: {why}"));
    }
    Ok(())
}
