//! Module Robustness Sensitivity.
