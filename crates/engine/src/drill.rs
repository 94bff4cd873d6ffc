//! The drill: a stored copy restored into a scratch etcd that holds what it should and takes a write.
//!
//! The work is done by a process of its own, in a unit of its own where there is systemd: etcd may take what memory it
//! likes, and whatever ends the drill ends neither the daemon nor the real member. One line of JSON tells the worker
//! its job, lines of JSON tell how it goes, and the last of them is the report. Its standard input stays open as long
//! as somebody waits for that.

mod alarms;
mod book;
mod canary;
mod child;
mod compare;
mod contents;
mod copy;
mod fault;
mod job;
mod member;
mod perform;
mod restore;
mod root_access;
mod scratch;
mod server;
mod tools;
mod v2_store;
mod words;
mod worker;

pub use child::{FollowError, become_program, follow_parent};
pub use job::{Job, Stored, is_in_use};
pub use perform::{Way, perform};
pub use scratch::{ARCHIVE, FOREIGN, REPLAY, Scratch, ScratchError, sweep};
pub use tools::missing_tools;
pub use words::Word;
pub use worker::work;
