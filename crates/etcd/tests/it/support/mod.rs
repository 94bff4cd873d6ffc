//! What the kit's etcd members need of this crate, also for the tests of crates that depend on it.

pub mod members;
pub mod writer;
