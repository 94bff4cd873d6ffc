//! The stages, one file or directory each; `runner.rs` starts them.

mod by_hand;
pub(crate) mod collect_role;
pub(crate) mod drill;
pub(crate) mod error;
mod free_space;
mod host_keys;
pub(crate) mod mirror_masters;
mod own_set;
pub(crate) mod pack_archive;
pub(crate) mod proofs;
pub(crate) mod prune;
pub(crate) mod pull;
mod queue;
pub(crate) mod ship_archive;
pub(crate) mod snapshot_etcd;
pub(crate) mod stored_sets;
