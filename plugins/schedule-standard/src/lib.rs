//! Pruning schedules one-shot, linear, cubic, exponential.
