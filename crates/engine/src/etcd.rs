//! The local etcd member: where it answers, how it is, whether the others agree with it, and a snapshot of it.
//!
//! Members are asked over this host's own TLS material; no data directory is ever read.

mod agreement;
mod client;
mod cluster;
mod discover;
mod expiry;
mod gzip;
mod health;
mod kv;
mod message;
mod options;
mod pod;
mod snapshot;
mod store;
mod trouble;
mod turns;

pub use agreement::{Agreeing, agreement};
pub use client::{Client, HASHING};
pub use cluster::{Cluster, Seen};
pub use discover::{DiscoverError, LocalMember, TlsFiles, discover};
pub use expiry::{Expiry, complaints as expiry_complaints, expiries};
pub use health::{Alarm, Complaint, Concern, Member, examine, hex};
pub use snapshot::{Header, Limits, SnapshotError, Taken, take};
pub use trouble::ClientError;
