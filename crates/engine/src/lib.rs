//! The daemon: everything that touches the world at night.

pub mod archive;
mod audit;
mod board;
mod clock;
pub mod cold_copy;
mod collect;
mod context;
pub mod control;
pub mod daemon;
pub mod drill;
pub mod etcd;
mod expected;
mod hash_sink;
mod hashed_file;
mod heartbeat;
mod hint_file;
pub mod logging;
pub mod machine;
pub mod offload;
mod outbox;
pub mod peer;
mod pieces;
pub mod record_file;
mod runner;
pub mod space;
pub mod spool;
mod stages;
pub mod status;
pub mod store;
mod supervisor;
mod systemd;
#[cfg(test)]
mod testing;
pub mod verify;

pub use collect::detect_generation;
