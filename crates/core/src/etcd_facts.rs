//! The etcd part of a manifest: the member, its snapshot, and the agreement of the cluster's members.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::words::words;

/// The id of an etcd member, displayed in hexadecimal, as etcdctl prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The member and cluster of which an etcd snapshot was taken, and what the snapshot contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdFacts {
    /// In hexadecimal, as etcdctl prints it.
    pub cluster_id: String,
    /// In hexadecimal, as etcdctl prints it.
    pub member_id: String,
    pub member_name: String,
    /// The revision that the member reported just before the snapshot; `snapshot` has the snapshot's own.
    pub revision: i64,
    pub raft_term: u64,
    pub version: String,
    pub learner: bool,
    pub leader: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// Bytes of the snapshot as etcd sent it, including its 32-byte trailer.
    pub raw_size: u64,
    pub raw_sha256: Digest,
    /// Which checks were made when the snapshot was taken, as text. It lists only checks that were really made.
    pub checked: String,
    #[serde(default, rename = "passed", skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotFacts>,
    /// One member a night compares all members, so only its manifest has this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// Which of etcd's stores contained keys, and which items of the set cover the v2 store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataFound>,
}

/// Which of etcd's two stores contained keys, as far as this was checked, and which items of the set cover the v2 keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFound {
    pub v3: bool,
    pub v2: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_copy: Option<ColdCopy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v2_backup: Option<V2Backup>,
}

/// The whole `member/` directory, copied while the member was stopped: a tar file, compressed like the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColdCopy {
    /// Its path in the set.
    pub item: String,
    /// Bytes of the tar file before compression.
    pub raw_size: u64,
    /// The hash of the tar file before compression.
    pub raw_sha256: Digest,
    /// How long the member was stopped, in milliseconds.
    pub stopped_ms: u64,
}

/// The v2 store as `etcdctl backup` saved it. It counts as a copy only if it was replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2Backup {
    /// The data directory, as a path in the set: `v2`.
    #[serde(rename = "folder")]
    pub directory: String,
    /// The number of keys in a scratch etcd after replaying it; `None` if it was not replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
}

/// What the streaming check (`pass`) found in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFacts {
    /// The last revision in the database. It may be later than the one the member reported before the snapshot.
    pub revision: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted: Option<i64>,
    /// The number of entries of all buckets: "total keys" in `snapshot status` of etcd up to 3.5.
    pub entries: u64,
    /// The number of entries of the bucket `key`: every revision of every key, including tombstones.
    pub revisions: u64,
    /// In bytes, without the trailer: "total size" in `snapshot status`.
    pub size: u64,
}

/// Whether all members have the same content at one revision: each was asked for its HashKV at that revision. Hashes are
/// comparable only for the same revision and the same compacted revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    #[serde(rename = "word")]
    pub state: AgreementState,
    /// Why it is unknown, or what differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The revision up to which the members hashed.
    #[serde(default)]
    pub revision: i64,
    /// The revision that all members had compacted to.
    #[serde(default)]
    pub compacted: i64,
    #[serde(default)]
    pub members: Vec<MemberHash>,
}

words! {
    AgreementState {
        Agreed = "agreed",
        Diverged = "diverged",
        Unknown = "unknown",
    }
}

/// The HashKV response of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHash {
    /// In hexadecimal, as etcdctl prints it.
    pub member_id: String,
    pub name: String,
    /// `None` if it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<u32>,
}

impl Agreement {
    /// The members whose hash differs from the majority's. Without a majority, all members that answered.
    pub fn diverged(&self) -> Vec<&MemberHash> {
        if self.state != AgreementState::Diverged {
            return Vec::new();
        }
        let mut sides: BTreeMap<u32, usize> = BTreeMap::new();
        for hash in self.members.iter().filter_map(|member| member.hash) {
            *sides.entry(hash).or_default() += 1;
        }
        let majority =
            sides.iter().find(|(_, count)| **count * 2 > self.members.len()).map(|(hash, _)| *hash);
        self.members.iter().filter(|member| member.hash.is_some() && member.hash != majority).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diverged(hashes: &[Option<u32>]) -> Agreement {
        let member = |(id, hash): (usize, &Option<u32>)| MemberHash {
            member_id: id.to_string(),
            name: format!("e{id}"),
            hash: *hash,
        };
        Agreement {
            state: AgreementState::Diverged,
            reason: None,
            revision: 7,
            compacted: 1,
            members: hashes.iter().enumerate().map(member).collect(),
        }
    }

    fn named(agreement: &Agreement) -> Vec<&str> {
        agreement.diverged().iter().map(|member| member.name.as_str()).collect()
    }

    #[test]
    fn the_minority_has_diverged_and_without_a_majority_all_members_count_as_diverged() {
        assert_eq!(named(&diverged(&[Some(1), Some(2), Some(1)])), ["e1"]);
        assert_eq!(named(&diverged(&[Some(1), Some(2)])), ["e0", "e1"]);
        assert_eq!(named(&diverged(&[Some(1), Some(2), None])), ["e0", "e1"]);
        let agreed = Agreement { state: AgreementState::Agreed, ..diverged(&[Some(1), Some(1)]) };
        assert!(named(&agreed).is_empty());
    }
}
