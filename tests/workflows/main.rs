//! Whole workflows: the real program, and laws that hold across crates.
//!
//! - `program`: the commands a user types, on the built-in images, in a fresh directory each.
//! - `bad_input`: what the program answers to everything that can be wrong.
//! - `pruning`: masked equals cut, for every architecture and criterion at several ratios.
//! - `pruned_channels`: the channels that Torch-Pruning keeps are kept.
//! - `budgets`: every architecture under every allocation meets its budget or says why not, and obeys the constraints.
//! - `determinism`: same seed, same bytes; resumed equals uninterrupted; threads do not matter.
//! - `doctor`: what it says of a machine without a GPU.
//! - `dry_run`: what `mrpf prune --dry-run` tells is what `mrpf prune` does, and budgets of latency.
//! - `evaluation`: what `mrpf evaluate` leaves, and that a killed one goes on without loss.
//! - `run_directories`: who may go on in them, and when they are free again.
//! - `resuming`: what a resumed run refuses to set beside what it has.
//! - `comparison`: `mrpf compare`, whole, killed, extended and failing.
//! - `cifar10`: the experiment of `examples/` on real CIFAR-10 images, where they are at hand.
//! - `originals`: architectures give what their originals give in PyTorch.
//! - `absurd_networks`: networks whose numbers ask for more memory or time than anybody has.
//! - `exchange`, `exchange_refusals`, `exchange_checkpoints`: networks to and from PyTorch. Set MRPF_PYTHON to a Python with torch and safetensors to have exports run there.
//! - `data`: the commands about images, and data sets that are not built in, from their files to a trained network.
//! - `foresight`: what can be known before anything is computed is told then, for every command.
//! - `tensorboard`: event files, read by TensorBoard. Set MRPF_TENSORBOARD to a Python that has it.
//! - `special_files`: devices, pipes and links in place of files, paths that are not UTF-8, inputs without an end.
//! - `signals`: which ones stop the program, and how.
//! - `repository`: invariants of the source tree that no compiler checks.

mod absurd_networks;
mod bad_input;
mod budgets;
mod cifar10;
mod comparison;
mod data;
mod determinism;
mod doctor;
mod dry_run;
mod evaluation;
mod exchange;
mod exchange_checkpoints;
mod exchange_refusals;
mod foresight;
mod originals;
mod program;
mod pruned_channels;
mod pruning;
mod repository;
mod resuming;
mod run_directories;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(target_os = "linux")]
mod special_files;
mod support;
mod tensorboard;
