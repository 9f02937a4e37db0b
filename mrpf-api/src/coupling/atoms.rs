//! Disjoint sets of channel atoms.

use std::ops::Range;

/// Union-find over numbered atoms; each set is named by its smallest atom, so that results do not depend on the order of unions.
#[derive(Debug, Clone, Default)]
pub(super) struct Atoms {
    parent: Vec<usize>,
}

impl Atoms {
    /// New atoms, each in a set of its own.
    pub(super) fn fresh(&mut self, count: usize) -> Range<usize> {
        let start = self.parent.len();
        self.parent.extend(start..start + count);
        start..start + count
    }

    /// How many atoms there are.
    pub(super) fn len(&self) -> usize {
        self.parent.len()
    }

    /// The smallest atom of the set.
    pub(super) fn find(&mut self, atom: usize) -> usize {
        let mut root = atom;
        while self.parent[root] != root {
            root = self.parent[root];
        }
        // Paths are shortened on the way, so that long chains of residual blocks stay cheap.
        let mut at = atom;
        while self.parent[at] != root {
            at = std::mem::replace(&mut self.parent[at], root);
        }
        root
    }

    /// Joins the sets of two atoms.
    pub(super) fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a.max(b)] = a.min(b);
    }
}
