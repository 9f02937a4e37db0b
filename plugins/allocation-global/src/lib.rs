//! Allocation by global ranking.
