//! The runtime of mrpf: experiments, training, pruning, evaluation, and the `mrpf` program's commands.
//!
//! Plugins are known by name only; the one list of those that are built in is [`built_in`].

pub mod bench;
pub mod built_in;
pub mod bundle;
pub mod cli;
pub mod commands;
pub mod comparison;
pub mod data_check;
pub mod device;
pub mod doctor;
pub mod evaluation;
pub mod event;
pub mod exchange;
pub mod experiment;
pub mod failure;
pub mod fetch;
pub mod files;
pub mod image_digest;
pub mod interrupt;
pub mod load_data;
pub mod output;
pub mod pipeline;
pub mod plugin_library;
pub mod plugin_listing;
pub mod plugin_sdk;
pub mod pruning;
pub mod results;
pub mod run_dir;
pub mod safe_text;
pub mod stage_key;
pub mod summary;
pub mod threads;
pub mod training;
