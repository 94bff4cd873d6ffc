//! The local etcd member: where it answers, how it is, and a snapshot of it.
//!
//! Only the member of this host is ever asked, over its own TLS material; its data directory is never read.

mod client;
mod data_kind;
mod discover;
mod gzip;
mod health;
mod kv;
pub(crate) mod message;
mod options;
mod pod;
mod snapshot;
mod store;
mod trouble;
mod v2;
mod v2_backup;
mod v2_replay;

pub use client::Client;
pub use data_kind::{Found, look};
pub(crate) use discover::POD_MANIFESTS;
pub use discover::{DiscoverError, LocalMember, TlsFiles, discover};
pub(crate) use health::hex;
pub use health::{Alarm, Complaint, Member, examine};
pub use snapshot::{Header, Limits, SnapshotError, Taken, take};
pub(crate) use store::compress;
pub use trouble::ClientError;
pub use v2::{V2, V2Error};
pub use v2_backup::{V2BackupError, back_up};
pub use v2_replay::{ReplayError, Replayed, replay};
