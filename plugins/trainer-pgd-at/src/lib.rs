//! Trainer pgd-at.
