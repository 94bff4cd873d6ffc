//! What a set's manifest says of an etcd member, of the snapshot taken of it, and of how the members agreed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Where an etcd snapshot was taken, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdFacts {
    /// Hexadecimal, as etcdctl prints them.
    pub cluster_id: String,
    pub member_id: String,
    pub member_name: String,
    pub revision: i64,
    pub raft_term: u64,
    pub version: String,
    pub learner: bool,
    pub leader: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// The database as etcd sent it, its 32-byte trailer included.
    pub raw_size: u64,
    pub raw_sha256: Digest,
    /// Which checks the snapshot passed at birth, in words; nothing here says more than was done.
    pub checked: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<Passed>,
    /// Asked by one member a night; the others' manifests have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// Which stores held keys, and what of the set covers the older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataFound>,
}

/// Which of etcd's two stores held keys, as far as that was asked, and what of the set holds the v2 ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFound {
    pub v3: bool,
    pub v2: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_copy: Option<ColdCopy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v2_backup: Option<V2Backup>,
}

/// The whole `member/` folder, copied while its member was stopped: a tar, compressed as the snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColdCopy {
    /// Its path in the set.
    pub item: String,
    /// Of the tar before compression.
    pub raw_size: u64,
    pub raw_sha256: Digest,
    /// How long the member was stopped.
    pub stopped_ms: u64,
}

/// What `etcdctl backup` made of the v2 store. It counts only where it was replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2Backup {
    /// The data directory, as a path in the set: `v2`.
    pub folder: String,
    /// The keys that a scratch etcd held after replaying it; `None` where it was not replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
}

/// What was read in the snapshot while it streamed by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The last one in the database, which may be later than the one the member named before.
    pub revision: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted: Option<i64>,
    /// Of all buckets: the total keys that `snapshot status` of etcd up to 3.5 prints.
    pub entries: u64,
    /// Of the bucket `key`: every revision of every key, tombstones included.
    pub revisions: u64,
    /// In bytes, without the trailer: the total size that `snapshot status` prints.
    pub size: u64,
}

/// Whether all members held the same at one revision (facts/etcd.md D.7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    pub word: AgreementWord,
    /// Why it is unknown, or what differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The revision they were asked about, and the one they had compacted to.
    #[serde(default)]
    pub revision: i64,
    #[serde(default)]
    pub compacted: i64,
    #[serde(default)]
    pub members: Vec<MemberHash>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgreementWord {
    Agreed,
    Diverged,
    Unknown,
}

impl AgreementWord {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::Diverged => "diverged",
            Self::Unknown => "unknown",
        }
    }
}

/// What one member answered to HashKV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHash {
    /// Hexadecimal, as etcdctl prints it.
    pub member_id: String,
    pub name: String,
    /// `None` where it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<u32>,
}

impl Agreement {
    /// The members that do not hold what most of them hold; all that answered where no side has a majority.
    pub fn diverged(&self) -> Vec<&MemberHash> {
        if self.word != AgreementWord::Diverged {
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

    fn asked(hashes: &[Option<u32>]) -> Agreement {
        let member = |(id, hash): (usize, &Option<u32>)| MemberHash {
            member_id: id.to_string(),
            name: format!("e{id}"),
            hash: *hash,
        };
        Agreement {
            word: AgreementWord::Diverged,
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
    fn the_minority_has_diverged_and_without_a_majority_everybody_may_have() {
        assert_eq!(named(&asked(&[Some(1), Some(2), Some(1)])), ["e1"]);
        assert_eq!(named(&asked(&[Some(1), Some(2)])), ["e0", "e1"]);
        assert_eq!(named(&asked(&[Some(1), Some(2), None])), ["e0", "e1"]);
        let agreed = Agreement { word: AgreementWord::Agreed, ..asked(&[Some(1), Some(1)]) };
        assert!(named(&agreed).is_empty());
    }
}
