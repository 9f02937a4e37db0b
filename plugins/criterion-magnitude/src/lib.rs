//! Criteria l1-norm and l2-norm.
