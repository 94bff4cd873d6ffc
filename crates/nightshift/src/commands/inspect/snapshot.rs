//! `inspect` of a snapshot: its facts, the findings of a full check, and the number of keys by prefix and namespace.

use std::collections::BTreeMap;
use std::io::Write;

use nightshift_core::digest::Digest;
use nightshift_core::units::{bytes, count};
use nightshift_snapshot::{
    Alarm, AlarmKind, Count, Fingerprint, IndexOptions, Member, Prefixes, Report, Trailer, survey,
};
use serde_json::{Map, Value, json};

use super::list::shown;
use super::opened::Opened;
use crate::commands::CommandError;
use crate::out;
use crate::out::pretty;

/// Shows the overview of a snapshot, and adds its faults to `faults`.
pub fn show(
    opened: Opened,
    json: bool,
    out: &mut dyn Write,
    faults: &mut Vec<String>,
) -> Result<(), CommandError> {
    let overview = Overview::of(opened)?;
    faults.extend(overview.verdict());
    let text = if json { pretty(&overview.json())? } else { overview.text() };
    out.write_all(text.as_bytes()).map_err(CommandError::Output)
}

pub struct Overview {
    what: String,
    report: Report,
    prefixes: Prefixes,
    findings: Vec<String>,
}

impl Overview {
    /// Reads and checks the whole snapshot.
    pub fn of(opened: Opened) -> Result<Self, CommandError> {
        let Opened { what, database, faults: mut findings, scratch, .. } = opened;
        let (report, prefixes) = survey(database.source(), IndexOptions::in_directory(scratch))
            .map_err(CommandError::failed(format!("cannot list the keys of {what}")))?;
        findings.extend(report.findings.iter().map(ToString::to_string));
        if report.further_findings > 0 {
            findings.push(format!("{} more findings of this kind", report.further_findings));
        }
        Ok(Self { what, report, prefixes, findings })
    }

    /// A line if the snapshot is bad.
    pub fn verdict(&self) -> Option<String> {
        let findings = self.findings.len();
        (findings > 0).then(|| format!("the snapshot {} is bad: {}", self.what, count(findings, "finding")))
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for (label, value) in self.lines() {
            text.push_str(&format!("{label:<14}{value}\n"));
        }
        match self.findings.as_slice() {
            [] => text.push_str("findings      none\n"),
            findings => {
                for finding in findings {
                    text.push_str(&format!("FINDING       {finding}\n"));
                }
            }
        }
        for (header, counts) in [("PREFIX", self.by_prefix()), ("NAMESPACE", self.by_namespace())] {
            if !counts.is_empty() {
                let rows = counts.into_iter().map(|(name, count)| {
                    vec![name, count.keys.to_string(), count.revisions.to_string(), bytes(count.bytes)]
                });
                text.push_str(&format!("\n{}\n", out::rows_of(&[header, "KEYS", "REVISIONS", "SIZE"], rows)));
            }
        }
        text
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let Report { facts, sha256, length, fingerprint, trailer, .. } = &self.report;
        let mut lines = vec![
            ("snapshot", format!("{}: {}", self.what, kind(*fingerprint, *trailer))),
            ("length", format!("{length} bytes, SHA-256 {}", Digest::from(*sha256))),
        ];
        let mut line = |label, value: Option<String>| lines.extend(value.map(|value| (label, value)));
        line("hash", facts.hash.map(|hash| format!("{hash:x}")));
        line("revision", facts.revision.map(|revision| revision.to_string()));
        line(
            "total keys",
            facts.entries.map(|entries| match facts.live_keys {
                Some(live) => {
                    format!("{entries} (etcd up to 3.5 counts revisions), {live} live keys (etcd 3.6 counts these)")
                }
                None => entries.to_string(),
            }),
        );
        line("total size", facts.size.map(|size| format!("{size} bytes ({})", bytes(size))));
        line(
            "revisions",
            facts.revisions.map(|revisions| {
                format!("{revisions}, {} of them deletions", facts.tombstones.unwrap_or_default())
            }),
        );
        line(
            "compacted",
            facts.compacted.map(|revision| match revision {
                0 => "never".to_owned(),
                revision => format!("revisions before {revision}"),
            }),
        );
        line(
            "raft index",
            facts.consistent_index.map(|index| match facts.term {
                Some(term) => format!("{index}, term {term}"),
                None => index.to_string(),
            }),
        );
        line("etcd", facts.cluster_version.clone());
        line("storage", facts.storage_version.clone());
        line("members", facts.members.as_ref().map(|members| joined(members, member)));
        line("alarms", facts.alarms.as_ref().map(|alarms| joined(alarms, alarm)));
        line("auth", facts.auth_enabled.map(|on| if on { "on" } else { "off" }.to_owned()));
        lines
    }

    fn by_prefix(&self) -> Vec<(String, Count)> {
        let Prefixes { by_prefix, rest, .. } = &self.prefixes;
        let mut rows: Vec<_> =
            by_prefix.iter().map(|(name, prefix)| (shown(name).into_owned(), prefix.total)).collect();
        if rest.revisions > 0 {
            rows.push(("(others)".to_owned(), *rest));
        }
        rows
    }

    /// The totals of each namespace over all prefixes.
    fn by_namespace(&self) -> Vec<(String, Count)> {
        let mut all: BTreeMap<&[u8], Count> = BTreeMap::new();
        for (name, count) in self.prefixes.by_prefix.values().flat_map(|prefix| &prefix.namespaces) {
            let sum = all.entry(name).or_default();
            *sum = sum.plus(*count);
        }
        all.into_iter().map(|(name, count)| (shown(name).into_owned(), count)).collect()
    }

    pub fn json(&self) -> Value {
        let Report { sha256, length, fingerprint, trailer, page_size, .. } = &self.report;
        let by_prefix: Map<String, Value> = (self.prefixes.by_prefix.iter())
            .map(|(name, prefix)| {
                let namespaces: Map<String, Value> = (prefix.namespaces.iter())
                    .map(|(name, count)| (shown(name).into_owned(), json!(count)))
                    .collect();
                (shown(name).into_owned(), json!({ "total": prefix.total, "namespaces": namespaces }))
            })
            .collect();
        json!({
            "snapshot": self.what,
            "kind": match fingerprint {
                Fingerprint::Stream => "stream",
                Fingerprint::Copy => "copy",
                Fingerprint::NotEtcd => "not-etcd",
            },
            "trailer": match trailer {
                Trailer::Matches => "matches",
                Trailer::Wrong => "wrong",
                Trailer::Absent => "absent",
            },
            "length": length,
            "sha256": Digest::from(*sha256),
            "page_size": page_size,
            "facts": self.facts(),
            "findings": self.findings,
            "prefixes": by_prefix,
            "other_prefixes": self.prefixes.rest,
        })
    }

    /// Unknown values are null.
    fn facts(&self) -> Value {
        let facts = &self.report.facts;
        let members = facts.members.as_ref().map(|members| {
            let member = |member: &Member| json!({ "id": member.id, "name": member.name, "peer_urls": member.peer_urls });
            members.iter().map(member).collect::<Vec<_>>()
        });
        let alarms = facts.alarms.as_ref().map(|alarms| alarms.iter().map(alarm).collect::<Vec<_>>());
        json!({
            "hash": facts.hash,
            "revision": facts.revision,
            "total_keys": facts.entries,
            "live_keys": facts.live_keys,
            "total_size": facts.size,
            "revisions": facts.revisions,
            "deletions": facts.tombstones,
            "compacted": facts.compacted,
            "consistent_index": facts.consistent_index,
            "term": facts.term,
            "cluster_version": facts.cluster_version,
            "storage_version": facts.storage_version,
            "members": members,
            "alarms": alarms,
            "auth_enabled": facts.auth_enabled,
        })
    }
}

fn kind(fingerprint: Fingerprint, trailer: Trailer) -> &'static str {
    match (fingerprint, trailer) {
        (Fingerprint::Stream, Trailer::Matches) => "etcd snapshot; the SHA-256 at its end matches",
        (Fingerprint::Stream, Trailer::Wrong) => "etcd snapshot; the SHA-256 at its end does not match",
        (Fingerprint::Stream, Trailer::Absent) => "etcd snapshot; the SHA-256 at its end is missing",
        (Fingerprint::Copy, _) => "copy of a database file; usable only if etcd was stopped during the copy",
        (Fingerprint::NotEtcd, _) => "not an etcd database",
    }
}

fn joined<T>(items: &[T], shown: impl Fn(&T) -> String) -> String {
    if items.is_empty() { "none".to_owned() } else { items.iter().map(shown).collect::<Vec<_>>().join(", ") }
}

fn member(member: &Member) -> String {
    let name = if member.name.is_empty() { "(never started)".into() } else { shown(member.name.as_bytes()) };
    format!("{name} {} at {}", member.id, shown(member.peer_urls.join(" ").as_bytes()))
}

fn alarm(alarm: &Alarm) -> String {
    let kind = match alarm.kind {
        AlarmKind::NoSpace => "NOSPACE".to_owned(),
        AlarmKind::Corrupt => "CORRUPT".to_owned(),
        AlarmKind::Other(number) => format!("alarm {number}"),
    };
    format!("{kind} of {:x}", alarm.member)
}
