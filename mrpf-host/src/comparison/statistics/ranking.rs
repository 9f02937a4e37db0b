//! Ranks that claim no more than the tests show.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// The methods of a setting in classes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranking {
    /// The classes, the best first, each with its methods, the best first. Two methods share a class exactly if no difference
    /// between them is shown; a method may be in several.
    pub classes: Vec<Vec<String>>,
    /// What is shown, and what is not, as a sentence.
    pub words: String,
}

impl Ranking {
    /// Ranks methods that stand in the order of their accuracies, the best first. `shown` says of two places which one is shown to be
    /// the more robust: `Greater` the first, `Less` the second, `Equal` neither.
    pub fn new(methods: &[&str], shown: impl Fn(usize, usize) -> Ordering) -> Self {
        let named = |class: Vec<usize>| class.into_iter().map(|at| methods[at].to_owned()).collect();
        let classes = classes(methods.len(), &|a, b| shown(a, b).is_ne()).into_iter().map(named).collect();
        Self { classes, words: words(methods, &shown) }
    }

    /// The classes of a method, from 1.
    pub fn of(&self, method: &str) -> Vec<usize> {
        let within = self.classes.iter().enumerate().filter(|(_, class)| class.iter().any(|name| name == method));
        within.map(|(at, _)| at + 1).collect()
    }
}

/// The largest sets of `0..count` in which no two are shown to differ, each ascending, in lexicographic order.
///
/// Found by insert and absorb, as in Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons" (Journal of
/// Computational and Graphical Statistics 13, 2004).
pub fn classes(count: usize, shown: &impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
    let mut classes: Vec<Vec<usize>> = vec![(0..count).collect()];
    for b in 0..count {
        for a in (0..b).filter(|&a| shown(a, b)) {
            let (both, mut rest): (Vec<_>, Vec<_>) =
                classes.into_iter().partition(|class| class.contains(&a) && class.contains(&b));
            for class in both {
                for without in [a, b] {
                    let smaller: Vec<usize> = class.iter().copied().filter(|member| *member != without).collect();
                    let absorbed = rest.iter().any(|other| smaller.iter().all(|member| other.contains(member)));
                    if !absorbed {
                        rest.push(smaller);
                    }
                }
            }
            classes = rest;
        }
    }
    classes.retain(|class| !class.is_empty());
    classes.sort();
    classes
}

fn words(methods: &[&str], shown: &impl Fn(usize, usize) -> Ordering) -> String {
    match methods {
        [] => return "nothing was computed".into(),
        [only] => return format!("only {only} was computed"),
        _ => {}
    }
    let mut parts = Vec::new();
    for (at, method) in methods.iter().enumerate() {
        let others = |wanted: Ordering| -> Vec<&str> {
            (at + 1..methods.len()).filter(|&other| shown(at, other) == wanted).map(|other| methods[other]).collect()
        };
        let [worse, same, better] = [Ordering::Greater, Ordering::Equal, Ordering::Less].map(others);
        if at == 0 && same.len() + 1 == methods.len() && (1..methods.len()).all(|a| (1..a).all(|b| shown(a, b).is_eq()))
        {
            return format!("no difference shown between {}", listed(methods));
        }
        if !worse.is_empty() {
            parts.push(format!("{method} is shown to be more robust than {}", listed(&worse)));
        }
        if !same.is_empty() {
            parts.push(format!("no difference shown between {method} and {}", listed(&same)));
        }
        // Where seeds are missing, the order of the means need not be that of the networks that can be compared.
        parts.extend(better.iter().map(|better| format!("{better} is shown to be more robust than {method}")));
    }
    parts.join("; ")
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).into(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
