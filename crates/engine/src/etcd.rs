//! The local etcd member: where it answers, how it is, whether the others agree with it, and a snapshot of it.
//!
//! Members are asked over this host's own TLS material; no data directory is ever read.

mod agreement;
mod client;
mod cluster;
mod data_kind;
mod discover;
mod expiry;
mod gzip;
mod health;
mod kv;
mod lease;
pub(crate) mod message;
mod options;
mod pod;
mod snapshot;
mod store;
mod trouble;
mod turns;
mod v2;
mod v2_backup;
mod v2_replay;

pub use agreement::{Agreeing, agreement};
pub use client::{Client, HASHING};
pub use cluster::{Cluster, Seen, applied};
pub use data_kind::{Found, look};
pub(crate) use discover::POD_MANIFESTS;
pub use discover::{DiscoverError, LocalMember, TlsFiles, discover};
pub use expiry::{Expiry, complaints as expiry_complaints, expiries};
pub use health::{Alarm, Complaint, Concern, Member, examine, hex};
pub use message::AlarmType;
pub use snapshot::{Header, Limits, SnapshotError, Taken, take};
pub(crate) use store::compress;
pub use trouble::ClientError;
pub use v2::{V2, V2Error};
pub use v2_backup::{V2BackupError, back_up};
pub use v2_replay::{ReplayError, Replayed, replay};
