//! The etcd part of a manifest: the member, its snapshot, and the agreement of the cluster's members.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::owner::Owner;
use crate::text::{Lines, Text, at_most};
use crate::words::words;

/// The key in etcd that a member has which is stopped for a cold copy. A cold copy contains it.
pub const COLD_COPY_LOCK: &str = "/nightshift/cold-copy-lock";

/// The maximum number of members in an agreement; etcd recommends at most seven.
const MAX_MEMBERS: usize = 100;

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
    pub cluster_id: Text,
    /// In hexadecimal, as etcdctl prints it.
    pub member_id: Text,
    pub member_name: Text,
    /// The revision that the member reported just before the snapshot; `snapshot` has the snapshot's own.
    pub revision: i64,
    pub raft_term: u64,
    pub version: Text,
    pub learner: bool,
    pub leader: bool,
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub alarms: Lines,
    /// Bytes of the snapshot as etcd sent it, including its 32-byte trailer.
    pub raw_size: u64,
    pub raw_sha256: Digest,
    /// Which checks were made when the snapshot was taken, as text. It lists only checks that were really made.
    pub checked: Text,
    #[serde(default, rename = "passed", skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotFacts>,
    /// One member a night compares all members, so only its manifest has this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// Which of etcd's stores contained keys, and which items of the set cover the v2 store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataFound>,
    /// How the member runs on its host: what a restore must stop, replace and start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<EtcdService>,
    /// All members of the cluster, as the local one listed them.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "at_most::<MAX_MEMBERS, _, _>"
    )]
    pub members: Vec<Member>,
}

impl EtcdFacts {
    /// The last revision in the snapshot, which was counted when the snapshot was checked. Without a snapshot: the one that
    /// the member reported.
    pub fn last_revision(&self) -> i64 {
        self.snapshot.as_ref().map_or(self.revision, |snapshot| snapshot.revision)
    }

    /// How a snapshot differs from these facts, one reason each. `found` is what a check of the snapshot counted.
    pub fn differences(&self, size: u64, sha256: Digest, found: Option<&SnapshotFacts>) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, stated: String, found: String| {
            if stated != found {
                differences.push(format!("{what}: its manifest says {stated}, but the snapshot has {found}"));
            }
        };
        compare("bytes", self.raw_size.to_string(), size.to_string());
        compare("SHA-256", self.raw_sha256.to_string(), sha256.to_string());
        let (stated, counted) = (Counts::of(self.snapshot.as_ref()), Counts::of(found));
        for ((what, stated), (_, counted)) in stated.0.into_iter().zip(counted.0) {
            compare(what, stated, counted);
        }
        // The member reported its revision before the stream, which began with a commit: the snapshot is never behind it.
        let newest = found.map(|found| found.revision.max(found.compacted.unwrap_or(0)).max(1));
        if let Some(newest) = newest.filter(|newest| self.revision > *newest) {
            differences.push(format!(
                "revision: its manifest says that the member was at {}, but the snapshot ends at {newest}",
                self.revision
            ));
        }
        differences
    }
}

/// The counts of a snapshot, each with its name, as text.
struct Counts([(&'static str, String); 5]);

impl Counts {
    fn of(facts: Option<&SnapshotFacts>) -> Self {
        let text = |number: Option<String>| number.unwrap_or_else(|| "none".to_owned());
        Self([
            ("revision", text(facts.map(|facts| facts.revision.to_string()))),
            ("compacted revision", text(facts.and_then(|facts| facts.compacted).map(|it| it.to_string()))),
            ("entries", text(facts.map(|facts| facts.entries.to_string()))),
            ("stored revisions", text(facts.map(|facts| facts.revisions.to_string()))),
            ("database size", text(facts.map(|facts| facts.size.to_string()))),
        ])
    }
}

/// How a member runs on its host, and where its data is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdService {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<RunsAs>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataDirectory>,
    /// The directory of the write-ahead log, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<DataDirectory>,
}

/// What starts etcd on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunsAs {
    /// A systemd unit, such as `etcd.service`.
    Unit(Text),
    /// The kubelet, by this manifest.
    StaticPod(Text),
}

/// A directory of a member's data on its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataDirectory {
    /// Absolute.
    pub path: Text,
    pub owner: Owner,
    /// Permission bits, in octal.
    #[serde(with = "crate::octal")]
    pub mode: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<Text>,
}

/// One member of the cluster, as its member list has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// In hexadecimal, as etcdctl prints it.
    pub id: Text,
    pub name: Text,
    pub peer_urls: Lines,
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub client_urls: Lines,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learner: bool,
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
    pub item: Text,
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
    pub directory: Text,
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
    pub reason: Option<Text>,
    /// The revision up to which the members hashed.
    #[serde(default)]
    pub revision: i64,
    /// The revision that all members had compacted to.
    #[serde(default)]
    pub compacted: i64,
    #[serde(default, deserialize_with = "at_most::<MAX_MEMBERS, _, _>")]
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
    pub member_id: Text,
    pub name: Text,
    /// `None` if it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<u32>,
}

impl Agreement {
    /// This comparison with only those members that may exist, each once: the known ones, and unknown ones as long as there are
    /// `hosts` that have none yet. More votes of one member, or of members that do not exist, must not make a majority.
    pub fn among(&self, known: &BTreeSet<&str>, hosts: usize) -> Self {
        let mut unknown_left = hosts.saturating_sub(known.len());
        let mut counted = BTreeSet::new();
        let members = self.members.iter().filter(|member| {
            let id = member.member_id.as_str();
            if counted.contains(id) || !known.contains(id) && unknown_left == 0 {
                return false;
            }
            unknown_left -= usize::from(!known.contains(id));
            counted.insert(id)
        });
        Self { members: members.cloned().collect(), ..self.clone() }
    }

    /// The members' hash, where it is known.
    pub fn hash_of(&self, member_id: &str) -> Option<u32> {
        self.members.iter().find(|member| member.member_id == member_id)?.hash
    }

    /// The members whose hash differs from the majority's. Without a majority, all members that answered. None if those that
    /// answered have the same hash.
    pub fn diverged(&self) -> Vec<&MemberHash> {
        if self.state != AgreementState::Diverged {
            return Vec::new();
        }
        let mut sides: BTreeMap<u32, usize> = BTreeMap::new();
        for hash in self.members.iter().filter_map(|member| member.hash) {
            *sides.entry(hash).or_default() += 1;
        }
        if sides.len() < 2 {
            return Vec::new();
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
            member_id: id.to_string().into(),
            name: format!("e{id}").into(),
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
        agreement.diverged().iter().map(|member| &*member.name).collect()
    }

    #[test]
    fn the_minority_has_diverged_and_without_a_majority_all_members_count_as_diverged() {
        assert_eq!(named(&diverged(&[Some(1), Some(2), Some(1)])), ["e1"]);
        assert_eq!(named(&diverged(&[Some(1), Some(2)])), ["e0", "e1"]);
        assert_eq!(named(&diverged(&[Some(1), Some(2), None])), ["e0", "e1"]);
        let agreed = Agreement { state: AgreementState::Agreed, ..diverged(&[Some(1), Some(1)]) };
        assert!(named(&agreed).is_empty());
    }

    #[test]
    fn members_that_are_unknown_or_listed_twice_make_no_majority() {
        let listed = Agreement {
            members: [("0", 1), ("1", 2), ("0", 1), ("x", 1), ("y", 1)]
                .map(|(id, hash)| MemberHash { member_id: id.into(), name: id.into(), hash: Some(hash) })
                .into(),
            ..diverged(&[])
        };
        assert_eq!(named(&listed), ["1"], "as the reporting host counts");
        assert_eq!(named(&listed.among(&["0", "1"].into(), 2)), ["0", "1"], "one against one");
        assert_eq!(named(&listed.among(&["0"].into(), 1)), [""; 0], "one alone differs from none");
        assert_eq!(
            named(&listed.among(&["0", "1"].into(), 3)),
            ["1"],
            "a third host has published no set yet"
        );
    }

    #[test]
    fn each_fact_of_a_snapshot_that_differs_from_its_manifest_is_named() {
        let counted = SnapshotFacts { revision: 4, compacted: None, entries: 9, revisions: 3, size: 4096 };
        let facts = EtcdFacts {
            cluster_id: "c".into(),
            member_id: "a".into(),
            member_name: "e1".into(),
            revision: 4,
            raft_term: 2,
            version: "3.4.23".into(),
            learner: false,
            leader: false,
            alarms: Lines::default(),
            raw_size: 4128,
            raw_sha256: Digest::of(b"snapshot"),
            checked: "whatever the origin host wrote".into(),
            snapshot: Some(counted.clone()),
            agreement: None,
            data: None,
            service: None,
            members: Vec::new(),
        };
        let sha256 = Digest::of(b"snapshot");
        assert_eq!(facts.differences(4128, sha256, Some(&counted)), [""; 0]);
        let claimed = |snapshot: SnapshotFacts| EtcdFacts { snapshot: Some(snapshot), ..facts.clone() };
        for (facts, what) in [
            (EtcdFacts { raw_size: 4127, ..facts.clone() }, "bytes: its manifest says 4127"),
            (EtcdFacts { raw_sha256: Digest::of(b"other"), ..facts.clone() }, "SHA-256: "),
            (EtcdFacts { snapshot: None, ..facts.clone() }, "its manifest says none, but the snapshot has 4"),
            (
                claimed(SnapshotFacts { revision: 98_765_432, ..counted.clone() }),
                "revision: its manifest says 98765432",
            ),
            (claimed(SnapshotFacts { compacted: Some(3), ..counted.clone() }), "compacted revision: "),
            (
                claimed(SnapshotFacts { entries: 1_234_567, ..counted.clone() }),
                "entries: its manifest says 1234567",
            ),
            (claimed(SnapshotFacts { revisions: 4, ..counted.clone() }), "stored revisions: "),
            (claimed(SnapshotFacts { size: 8192, ..counted.clone() }), "database size: "),
            (EtcdFacts { revision: 98_765_432, ..facts.clone() }, "the member was at 98765432"),
        ] {
            let differences = facts.differences(4128, sha256, Some(&counted)).join("; ");
            assert!(differences.contains(what), "{what}: {differences}");
        }
        assert!(!facts.differences(4128, sha256, None).is_empty(), "nothing was counted");
    }
}
