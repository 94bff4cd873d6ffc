//! Reads etcd v3 snapshots: files of `etcdctl snapshot save`, and the stream of a member.
//!
//! A snapshot is a bbolt database followed by its SHA-256 (etcd, `server/etcdserver/api/v3rpc/maintenance.go`). This crate
//! trusts no length, maps no file and never panics.

mod bits;
mod change;
mod cursor;
mod database;
mod diff;
mod encrypted;
mod encryption;
mod entry;
mod facts;
mod finding;
mod fingerprint;
mod freelist;
mod index;
mod key_value;
mod kubernetes;
mod lookup;
mod message;
mod meta;
mod page;
mod pass;
mod prefixes;
mod read_error;
mod report;
mod revision;
mod source;
mod survey;
mod trailer;
mod walk;
mod webhooks;

pub use change::{Change, Visitor};
pub use cursor::Cursor;
pub use database::{Database, PageBuffer};
pub use diff::{Difference, diff};
pub use encrypted::Encrypted;
pub use encryption::{
    Cipher, ConfigError, EncryptedValues, EncryptionKey, KeyUse, Keyring, Tally, is_configuration,
};
pub use entry::{Bucket, Entry, Location};
pub use facts::{Alarm, AlarmKind, Facts, Member};
pub use finding::{Damage, Finding, Findings, Misfit};
pub use fingerprint::Fingerprint;
pub use index::{
    IndexBuilder, IndexError, IndexOptions, Key, KeyIndex, KeyRevision, KeyRevisions, Keys, ValueHash,
};
pub use key_value::{KeyValue, KeyValueError};
pub use kubernetes::{Encoding, Envelope, ObjectType, PROTOBUF, Stored, Unknown};
pub use lookup::{Found, compacted, get, history, scan};
pub use meta::{Meta, MetaError, find_page_size};
pub use page::Fault;
pub use pass::Pass;
pub use prefixes::{Count, Prefix, Prefixes};
pub use read_error::ReadError;
pub use report::Report;
pub use revision::{Revision, RevisionKey};
pub use source::{ReadAt, read_up_to};
pub use survey::survey;
pub use trailer::{Ending, TRAILER_LEN, Trailer, TrailerCheck};
pub use walk::{walk, walk_hashed, walk_member};
pub use webhooks::{FoundWebhooks, Webhooks};
