//! The daemon: the night's stages, the drills and cold copies, and the control socket.

mod audit;
mod board;
pub mod clock;
pub mod cold_copy;
mod collect;
mod context;
pub mod control;
pub mod daemon;
pub mod drill;
mod expected;
mod heartbeat;
pub mod hint_file;
pub mod hooks;
pub mod logging;
pub mod machine;
pub mod metrics_file;
pub mod notify;
mod once;
mod report;
pub mod retention;
mod runner;
mod stages;
mod state_lock;
pub mod status;
mod stop;
mod supervisor;
mod systemd;
#[cfg(test)]
mod testing;
pub mod unit_request;
