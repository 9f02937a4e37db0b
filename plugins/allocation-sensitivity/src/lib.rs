//! Allocation by sensitivity.
