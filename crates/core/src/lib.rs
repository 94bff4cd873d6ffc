//! The pure core of nightshift: what a night is, what is due, what a set holds, what may be removed.
//!
//! Nothing here reads a file, a socket, the environment or a clock: time comes in as a value.

pub mod backoff;
pub mod digest;
pub mod inventory;
pub mod name;
pub mod night;
pub mod outcome;
pub mod ranges;
pub mod retention;
pub mod role;
pub mod schedule;
pub mod set_path;
pub mod settings;
pub mod stage;
