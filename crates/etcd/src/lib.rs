//! The local etcd member: how it is reached, its health and that of the other members, whether all of them contain the same,
//! and its snapshot. [`trial`] restores a stored copy and tests it; [`service`] and [`stopped`] are for a member that is stopped.
//!
//! Members are queried over this host's own TLS files; no data directory of a running member is read.

pub mod agreement;
pub mod client;
pub mod cluster;
pub mod container;
pub mod discover;
pub mod error;
pub mod expiry;
pub mod health;
pub mod kept_tools;
mod kv;
mod lease;
mod membership;
pub mod message;
pub mod restorer;
pub mod service;
mod small_file;
pub mod snapshot;
pub mod stopped;
pub mod stream;
pub mod trial;
pub mod v2;
