//! Real etcd members for tests, also for those of crates that depend on this one.

pub mod etcd;
pub mod members;
