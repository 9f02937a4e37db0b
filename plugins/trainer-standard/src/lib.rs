//! Trainer standard.
