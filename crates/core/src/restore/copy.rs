//! The copy of etcd's keys from which the members' data is made.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::set_path::SetId;
use crate::text::Text;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdCopy {
    /// The set that contains it.
    pub set: SetId,
    /// Its path in the set.
    pub item: String,
    #[serde(default, skip_serializing_if = "CopyKind::is_snapshot")]
    pub kind: CopyKind,
    /// It contains v2 keys, which no snapshot does. So one member is restored from it, and the others join that one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub v2: bool,
    /// Of the unpacked copy: a snapshot with its trailer, or the tar file of a member.
    pub sha256: Digest,
    /// In bytes.
    pub size: u64,
    /// The last revision that is known of it.
    pub revision: i64,
    /// The version of its member.
    pub version: Text,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyKind {
    #[default]
    Snapshot,
    /// A tar file with `member/` of a member that was stopped.
    ColdCopy,
    /// A directory with `member/`, as `etcdctl backup` writes it.
    V2Backup,
    /// As a cold copy, read from a member that survived the loss of the quorum.
    Survivor,
}

impl CopyKind {
    pub fn is_snapshot(&self) -> bool {
        *self == Self::Snapshot
    }
}
