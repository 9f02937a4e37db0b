//! A library with a manifest and nothing else.

mrpf_api::export_plugin!();
