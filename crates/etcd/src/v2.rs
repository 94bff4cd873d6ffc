//! etcd's v2 store, which no snapshot contains (docs/facts/etcd.md#two-stores): its keys are found by HTTP requests, saved by
//! `etcdctl backup`, and checked in a scratch etcd.
//!
//! Nothing else in this crate depends on this module, so that a restore can do without it.

pub mod backup;
pub mod client;
mod keys;
pub mod replay;
pub mod restored;
pub mod stores;
