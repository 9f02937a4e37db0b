//! The runtime of mrpf: experiments, training, pruning, evaluation, and the `mrpf` program's commands.
//!
//! Plugins are known by name only; the one list of those that are built in is [`built_in`].

pub mod built_in;
pub mod evaluation;
pub mod event;
pub mod experiment;
pub mod pipeline;
pub mod pruning;
pub mod training;
