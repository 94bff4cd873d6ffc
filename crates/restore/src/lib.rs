//! Rebuilds a cluster by a plan: [`source`] reads and verifies the sets of a night, [`ready`] checks the machines, and [`conductor`]
//! carries the plan out over the operator's own ssh.

pub mod backup;
pub mod call;
pub mod conductor;
mod copy;
pub mod data;
pub mod diff;
pub mod directory;
pub mod error;
mod free_night;
mod join;
pub mod login;
mod member;
pub mod progress;
pub mod ready;
mod remote;
pub mod snapshot;
pub mod source;
pub mod survivor;
pub mod target;
