//! Data set digits, built in.
