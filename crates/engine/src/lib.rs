//! The daemon: the night's stages, the drills and cold copies, and the control socket.

mod audit;
mod board;
mod clock;
pub mod cold_copy;
mod collect;
mod context;
pub mod control;
pub mod daemon;
pub mod drill;
mod expected;
mod heartbeat;
mod hint_file;
pub mod logging;
pub mod machine;
mod report;
mod runner;
mod stages;
pub mod status;
mod supervisor;
mod systemd;
#[cfg(test)]
mod testing;

pub use collect::detect_generation;
