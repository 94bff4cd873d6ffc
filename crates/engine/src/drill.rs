//! The drill: a stored copy restored into a scratch etcd that holds what it should and takes a write.
//!
//! The work is done by a process of its own, in a unit of its own where there is systemd: etcd may take what memory it
//! likes, and whatever ends the drill ends neither the daemon nor the real member. One line of JSON tells the worker
//! its job, lines of JSON tell how it goes, and the last of them is the report. Its standard input stays open as long
//! as somebody waits for that.

mod book;
mod copy;
mod job;
mod member;
mod perform;
mod words;
mod worker;

pub use job::{Job, Stored, is_in_use};
pub use perform::{Way, perform};
pub use words::Word;
pub use worker::work;
