//! Criterion random.
