//! Trainer trades.
