//! The local etcd member: where it answers, how it is, and a snapshot of it.
//!
//! Only the member of this host is ever asked, over its own TLS material; its data directory is never read.

mod client;
mod discover;
mod gzip;
mod health;
mod kv;
mod message;
mod options;
mod pod;
mod snapshot;
mod store;
mod trouble;

pub use client::Client;
pub use discover::{DiscoverError, LocalMember, TlsFiles, discover};
pub use health::{Alarm, Complaint, Member, examine};
pub use snapshot::{Header, Limits, SnapshotError, Taken, take};
pub use trouble::ClientError;
