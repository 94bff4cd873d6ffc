//! The properties of a database, for operators and for comparing two databases.

use crate::finding::{Finding, Findings};
use crate::message::{self, Field};
use crate::revision::RevisionKey;

/// The maximum number of alarms and of members that are kept. (etcd recommends at most seven members.)
const MAX_ITEMS: usize = 64;
/// The maximum length of the JSON text of one of them, in bytes.
const MAX_JSON_LEN: usize = 16 << 10;

/// `None` means unknown: no value is guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Bytes in use: "total size" in `snapshot status`.
    pub size: Option<u64>,
    /// "hash" in `snapshot status`. Only a walk in key order can compute it.
    pub hash: Option<u32>,
    /// The main revision of the last change.
    pub revision: Option<u64>,
    /// Changes before this revision were compacted, or are being compacted. 0: never compacted.
    pub compacted: Option<u64>,
    /// The number of entries of all buckets: "total keys" in `snapshot status` up to 3.5.
    pub entries: Option<u64>,
    /// The number of entries of the bucket `key`.
    pub revisions: Option<u64>,
    /// How many of the revisions are deletions.
    pub tombstones: Option<u64>,
    /// The number of existing keys: "total keys" in `snapshot status` from 3.6 on. Only an index by key can count them.
    pub live_keys: Option<u64>,
    /// The Raft index of the last applied entry.
    pub consistent_index: Option<u64>,
    /// The Raft term; etcd stores it from 3.5 on.
    pub term: Option<u64>,
    /// etcd stores it from 3.6 on.
    pub storage_version: Option<String>,
    pub cluster_version: Option<String>,
    pub alarms: Option<Vec<Alarm>>,
    pub members: Option<Vec<Member>>,
    pub auth_enabled: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    pub member: u64,
    pub kind: AlarmKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmKind {
    /// The quota was reached: etcd refuses writes.
    NoSpace,
    /// The members have different data.
    Corrupt,
    Other(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// In hexadecimal, as etcdctl prints it.
    pub id: String,
    /// Empty until the member was started for the first time.
    pub name: String,
    pub peer_urls: Vec<String>,
}

/// The buckets that are interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Key,
    Meta,
    Alarm,
    Members,
    Cluster,
    Auth,
    AuthUsers,
    AuthRoles,
    Lease,
    Other,
}

impl Known {
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"key" => Self::Key,
            b"meta" => Self::Meta,
            b"alarm" => Self::Alarm,
            b"members" => Self::Members,
            b"cluster" => Self::Cluster,
            b"auth" => Self::Auth,
            b"authUsers" => Self::AuthUsers,
            b"authRoles" => Self::AuthRoles,
            b"lease" => Self::Lease,
            _ => Self::Other,
        }
    }

    /// For a bucket whose values have one type: its name, what a value is, and the fields of a value.
    fn message(self) -> Option<(&'static str, &'static str, &'static [Field])> {
        match self {
            Self::AuthUsers => Some(("authUsers", "a user", message::USER)),
            Self::AuthRoles => Some(("authRoles", "a role", message::ROLE)),
            Self::Lease => Some(("lease", "a lease", message::LEASE)),
            _ => None,
        }
    }
}

/// Collects facts from the entries of the small buckets.
#[derive(Debug, Default)]
pub struct Collector {
    pub facts: Facts,
    scheduled: Option<u64>,
    finished: Option<u64>,
    has_key: bool,
    has_meta: bool,
}

impl Collector {
    /// The bucket exists. From now on, missing entries mean their default, not "unknown".
    pub fn begin(&mut self, bucket: Known) {
        match bucket {
            Known::Key => self.has_key = true,
            Known::Meta => {
                self.has_meta = true;
                self.facts.compacted = Some(0);
            }
            Known::Alarm => self.facts.alarms = Some(Vec::new()),
            Known::Members => self.facts.members = Some(Vec::new()),
            Known::Auth => self.facts.auth_enabled = Some(false),
            Known::Cluster | Known::AuthUsers | Known::AuthRoles | Known::Lease | Known::Other => {}
        }
    }

    /// Parts of the bucket are unreadable, so its facts are unknown.
    pub fn give_up(&mut self, bucket: Known) {
        let facts = &mut self.facts;
        match bucket {
            Known::Meta => {
                (facts.compacted, facts.consistent_index, facts.term) = (None, None, None);
                facts.storage_version = None;
                (self.scheduled, self.finished) = (None, None);
            }
            Known::Alarm => facts.alarms = None,
            Known::Members => facts.members = None,
            Known::Auth => facts.auth_enabled = None,
            Known::Cluster => facts.cluster_version = None,
            Known::Key | Known::AuthUsers | Known::AuthRoles | Known::Lease | Known::Other => {}
        }
    }

    pub fn entry(&mut self, bucket: Known, key: &[u8], value: &[u8], findings: &mut Findings) {
        match bucket {
            Known::Meta => self.meta(key, value, findings),
            Known::Alarm => {
                let alarms = self.facts.alarms.get_or_insert_default();
                match Alarm::parse(key) {
                    Some(alarm) if alarms.len() < MAX_ITEMS => alarms.push(alarm),
                    Some(_) => {}
                    None => findings.push(Finding::Value { bucket: "alarm", key: "an alarm" }),
                }
            }
            Known::Members => {
                let members = self.facts.members.get_or_insert_default();
                match Member::parse(key, value) {
                    Some(member) if members.len() < MAX_ITEMS => members.push(member),
                    Some(_) => {}
                    None => findings.push(Finding::Value { bucket: "members", key: "a member" }),
                }
            }
            Known::Cluster if key == b"clusterVersion" => {
                self.facts.cluster_version = version(value);
                if self.facts.cluster_version.is_none() {
                    findings.push(Finding::Value { bucket: "cluster", key: "clusterVersion" });
                }
            }
            Known::Auth if key == b"authEnabled" => match value {
                [1] => self.facts.auth_enabled = Some(true),
                [0] => self.facts.auth_enabled = Some(false),
                _ => findings.push(Finding::Value { bucket: "auth", key: "authEnabled" }),
            },
            Known::Auth if key == b"authRevision" && value.len() != 8 => {
                findings.push(Finding::Value { bucket: "auth", key: "authRevision" });
            }
            bucket => {
                if let Some((bucket, key, fields)) = bucket.message()
                    && message::check(value, fields).is_err()
                {
                    findings.push(Finding::Value { bucket, key });
                }
            }
        }
    }

    fn meta(&mut self, key: &[u8], value: &[u8], findings: &mut Findings) {
        let number = value.try_into().ok().map(u64::from_be_bytes);
        let revision = RevisionKey::parse(value).map(|key| key.revision.main);
        let (key, known) = match key {
            b"consistent_index" => {
                self.facts.consistent_index = number;
                ("consistent_index", number.is_some())
            }
            b"term" => {
                self.facts.term = number;
                ("term", number.is_some())
            }
            b"scheduledCompactRev" => {
                self.scheduled = revision;
                ("scheduledCompactRev", revision.is_some())
            }
            b"finishedCompactRev" => {
                self.finished = revision;
                ("finishedCompactRev", revision.is_some())
            }
            b"storageVersion" => {
                self.facts.storage_version = version(value);
                ("storageVersion", self.facts.storage_version.is_some())
            }
            b"confState" => {
                let read =
                    serde_json::from_slice::<serde_json::Value>(value.get(..MAX_JSON_LEN).unwrap_or(value));
                ("confState", read.is_ok())
            }
            _ => return,
        };
        if !known {
            findings.push(Finding::Value { bucket: "meta", key });
        }
    }

    /// After all entries: checks what no single entry shows.
    pub fn finish(mut self, findings: &mut Findings) -> Facts {
        for (there, bucket) in [(self.has_key, "key"), (self.has_meta, "meta")] {
            if !there {
                findings.push(Finding::NoBucket { bucket });
            }
        }
        if let (finished, Some(scheduled)) =
            (self.finished.unwrap_or(0), self.scheduled.or(self.finished.map(|_| 0)))
            && finished > scheduled
        {
            findings.push(Finding::Compaction { scheduled, finished });
        }
        if self.facts.compacted.is_some() {
            self.facts.compacted = Some(self.scheduled.max(self.finished).unwrap_or(0));
        }
        self.facts
    }
}

impl Alarm {
    /// The key is an `AlarmMember`: memberID u64 = 1, alarm = 2 (etcd, `api/etcdserverpb/rpc.proto`).
    fn parse(key: &[u8]) -> Option<Self> {
        let mut rest = key;
        let (mut member, mut kind) = (0, 0);
        while !rest.is_empty() {
            let tag = crate::key_value::varint(&mut rest).ok()?;
            let number = crate::key_value::varint(&mut rest).ok()?;
            match tag {
                0x08 => member = number,
                0x10 => kind = number,
                _ => return None,
            }
        }
        let kind = match kind {
            1 => AlarmKind::NoSpace,
            2 => AlarmKind::Corrupt,
            other => AlarmKind::Other(other),
        };
        Some(Self { member, kind })
    }
}

impl Member {
    /// The key is the ID in hexadecimal, the value is JSON (etcd, `server/etcdserver/api/membership/member.go`).
    fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let id = std::str::from_utf8(key).ok().filter(|id| u64::from_str_radix(id, 16).is_ok())?;
        let json: serde_json::Value =
            (value.len() <= MAX_JSON_LEN).then(|| serde_json::from_slice(value).ok())??;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let peer_urls = json.get("peerURLs").and_then(|urls| urls.as_array()).map(Vec::as_slice);
        Some(Self {
            id: id.to_owned(),
            name: json.get("name").and_then(text).unwrap_or_default(),
            peer_urls: peer_urls.unwrap_or_default().iter().filter_map(text).collect(),
        })
    }
}

/// A version such as `3.5.0`.
fn version(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let plain = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
    plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::Revision;

    fn collect(entries: &[(Known, &[u8], &[u8])]) -> (Facts, Vec<Finding>) {
        let (mut collector, mut findings) = (Collector::default(), Findings::default());
        for bucket in [Known::Key, Known::Meta] {
            collector.begin(bucket);
        }
        for (bucket, key, value) in entries {
            collector.entry(*bucket, key, value, &mut findings);
        }
        (collector.finish(&mut findings), findings.kept)
    }

    #[test]
    fn alarms_members_and_versions_are_read() {
        let member = br#"{"id":1,"peerURLs":["http://a:2380"],"name":"m1"}"#;
        let (facts, findings) = collect(&[
            (Known::Alarm, b"\x08\x81\x01\x10\x01", b""),
            (Known::Members, b"8e9e05c52164694d", member),
            (Known::Cluster, b"clusterVersion", b"3.4.0"),
            (Known::Auth, b"authEnabled", b"\x01"),
        ]);
        assert_eq!(findings, []);
        assert_eq!(facts.alarms, Some(vec![Alarm { member: 129, kind: AlarmKind::NoSpace }]));
        assert_eq!(facts.members.unwrap()[0].peer_urls, ["http://a:2380"]);
        assert_eq!((facts.cluster_version.as_deref(), facts.auth_enabled), (Some("3.4.0"), Some(true)));
    }

    #[test]
    fn a_compaction_that_finished_before_it_was_scheduled_is_a_finding() {
        let (early, late) =
            (Revision { main: 5, sub: 0 }.to_bytes(), Revision { main: 9, sub: 0 }.to_bytes());
        let (facts, findings) = collect(&[
            (Known::Meta, b"finishedCompactRev", &early),
            (Known::Meta, b"scheduledCompactRev", &late),
        ]);
        assert_eq!((facts.compacted, findings), (Some(9), vec![]));
        let (_, findings) = collect(&[
            (Known::Meta, b"finishedCompactRev", &late),
            (Known::Meta, b"scheduledCompactRev", &early),
        ]);
        assert_eq!(findings, [Finding::Compaction { scheduled: 5, finished: 9 }]);
    }

    #[test]
    fn values_that_etcd_never_writes_are_findings() {
        for (bucket, key, value) in [
            (Known::Meta, &b"consistent_index"[..], &b"short"[..]),
            (Known::Meta, b"storageVersion", b"\xff"),
            (Known::Meta, b"confState", b"{"),
            (Known::Auth, b"authEnabled", b"2"),
            (Known::Members, b"not hexadecimal", b"{}"),
            (Known::Alarm, b"\xff", b""),
            (Known::Lease, b"12345678", b"\x08"),
            (Known::AuthUsers, b"root", b"\x0a\x09root"),
            (Known::AuthRoles, b"root", b"\x0a\x04root\x12\x02\x0a\x00"),
        ] {
            assert_eq!(collect(&[(bucket, key, value)]).1.len(), 1, "{bucket:?}");
        }
    }
}
