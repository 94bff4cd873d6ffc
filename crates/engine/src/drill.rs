//! The drill: a stored copy is restored into a scratch etcd, which must contain what it should and accept a write.
//!
//! A process of its own does the work, in its own unit and as a user of its own if systemd is available: etcd may need any amount
//! of memory, runs on data that another host made, and the end of a drill, however it happens, must end neither the daemon nor the
//! real member. The job is one line of JSON, and comes with the copy as an open file; the worker sends lines of JSON, the last of
//! which is the report. Its standard input stays open while the job's owner waits for that.

mod copy;
mod handover;
pub mod job;
mod log;
pub mod master_keys;
pub mod message;
pub mod perform;
mod programs;
mod rate;
pub mod set_copy;
pub mod worker;
