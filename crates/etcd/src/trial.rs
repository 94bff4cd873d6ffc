//! A trial: a stored copy restored into a scratch etcd that must have what the copy had and take a write.
//!
//! etcd and its tools run as children that the kernel kills with their parent, in a scratch directory with a lock. What goes
//! wrong says whether the copy is to blame or this host.

pub mod alarms;
pub mod canary;
mod child;
mod compare;
mod contents;
mod fault;
mod restore;
mod root_access;
mod scratch;
mod server;
mod tools;

pub use child::{FollowError, OWN_PROGRAM, become_program, follow_parent};
pub use compare::Compare;
pub use contents::{Contents, read as read_contents};
pub use fault::{Fault, Here};
pub use restore::restore;
pub use scratch::{ARCHIVE, DRILL, FOREIGN, REPLAY, Scratch, ScratchError, sweep};
pub use server::{Origin, Server, Start, refused};
pub use tools::{Tools, Version, missing_tools};
