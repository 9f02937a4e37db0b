//! Allocation uniform.
