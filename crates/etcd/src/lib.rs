//! The local etcd member: where it answers, how it is, whether the others agree with it, and a snapshot of it.
//!
//! Members are asked over this host's own TLS material; no data directory is ever read.

mod agreement;
mod client;
mod cluster;
mod data_kind;
mod discover;
mod expiry;
mod health;
mod kv;
mod lease;
pub mod message;
mod options;
mod pod;
pub mod service;
mod snapshot;
pub mod stopped;
mod stream;
pub mod trial;
mod trouble;
mod turns;
pub mod v2;

pub use agreement::{Agreeing, agreement};
pub use client::{Client, HASHING};
pub use cluster::{Cluster, Seen, applied};
pub use data_kind::{Found, look};
pub use discover::{DiscoverError, LocalMember, POD_MANIFESTS, TlsFiles, discover};
pub use expiry::{Expiry, complaints as expiry_complaints, expiries};
pub use health::{Alarm, Complaint, Concern, Member, examine, hex};
pub use message::AlarmType;
pub use snapshot::{Header, Limits, SnapshotError, Taken, take};
pub use stream::compress;
pub use trouble::ClientError;
pub use v2::{V2, V2Error};
