//! Reads etcd v3 snapshots: what `etcdctl snapshot save` writes, and what a member streams.
//!
//! A snapshot is a bbolt database followed by the SHA-256 of it (etcd,
//! `server/etcdserver/api/v3rpc/maintenance.go`). Nothing here trusts a length, maps a file or panics.

mod birth;
mod meta;
mod trailer;

pub use birth::{Birth, Finding, Report};
pub use meta::{Meta, MetaError, find_page_size};
pub use trailer::{TRAILER_LEN, Trailer, TrailerCheck};
