//! Conditions: what is wrong now, or is not any more. Each is found in the newest record that says something about it: a host that
//! delivered nothing tonight is as suspicious as it was yesterday.

use std::collections::BTreeMap;

use super::known::{Known, Observed};
use super::{Severity, Topic};
use crate::host_key;
use crate::outcome::Grade;
use crate::proof::DrillVerdict;
use crate::record::{Fate, Record};
use crate::role::Role;
use crate::status::Space;
use crate::units;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub topic: Topic,
    pub subject: Option<String>,
    pub severity: Severity,
    pub is_present: bool,
    pub title: String,
    pub text: String,
}

/// All conditions that something is known about, each once.
pub(super) fn conditions(known: &Known, observed: &Observed<'_>) -> Vec<Condition> {
    let mut found = Found::default();
    for (record, _) in observed.nights {
        of_sets(&mut found, record);
        of_drills(&mut found, record);
        of_shipments(&mut found, record);
    }
    let mut conditions: Vec<Condition> = found.0.into_values().collect();
    conditions.push(Condition {
        topic: Topic::Stale,
        subject: None,
        severity: Severity::Critical,
        is_present: observed.stale.is_some(),
        title: "backups are stale".to_owned(),
        text: observed.stale.unwrap_or_default().to_owned(),
    });
    conditions.extend(observed.vault.map(|space| disk(known, observed.min_free, space)));
    conditions
}

/// The newest finding about each subject.
#[derive(Default)]
struct Found(BTreeMap<(Topic, Option<String>), Condition>);

impl Found {
    fn put(&mut self, topic: Topic, subject: String, is_present: bool, title: String, text: &str) {
        let key = (topic, Some(subject.clone()));
        let condition = Condition {
            topic,
            subject: Some(subject),
            severity: if topic == Topic::SetSuspicious { Severity::Warning } else { Severity::Critical },
            is_present,
            title,
            text: text.to_owned(),
        };
        self.0.insert(key, condition);
    }
}

fn of_sets(found: &mut Found, record: &Record) {
    for report in &record.sets {
        let (host, role, grade) = (&report.set.host, report.set.role, report.grade);
        let reason = report.reason.as_deref().unwrap_or_default();
        let is_refused = report.fate == Fate::Missing && host_key::is_refused(reason);
        // A set that came by another master says nothing about the host's own key.
        let is_accepted = report.fate.is_stored() && report.from.is_none() && *host != record.host;
        if is_refused || is_accepted {
            let title = format!("the host key of {host} is unknown or has changed");
            found.put(Topic::HostKeyMismatch, host.to_string(), is_refused, title, reason);
        }
        if report.fate.is_stored() {
            // A set of files has no members: it diverged if its host has another set of the same name.
            let (diverged, is_etcd) = (grade == Some(Grade::Diverged), role == Role::Etcd);
            if is_etcd {
                let title = format!("the etcd set of {host} has diverged");
                found.put(Topic::MembersDisagree, host.to_string(), diverged, title, reason);
            }
            let suspicious = grade == Some(Grade::Suspicious) || diverged && !is_etcd;
            let title = format!("the {role} set of {host} is suspicious");
            found.put(Topic::SetSuspicious, format!("{host} {role}"), suspicious, title, reason);
        }
    }
}

fn of_drills(found: &mut Found, record: &Record) {
    for report in &record.proofs {
        // A drill that could not run says nothing about the copy.
        if report.verdict == DrillVerdict::NotProved {
            continue;
        }
        let (host, set) = (&report.set.host, &report.set);
        let failed = report.verdict == DrillVerdict::NotRestorable;
        let reason = report.reason.as_ref().map(ToString::to_string).unwrap_or_default();
        let text = format!("{set}, restored by {}: {reason}", report.by);
        found.put(
            Topic::DrillFailed,
            host.to_string(),
            failed,
            format!("a stored etcd set of {host} does not restore"),
            &text,
        );
    }
}

fn of_shipments(found: &mut Found, record: &Record) {
    for shipment in &record.shipped {
        let reason = shipment.reason.as_deref().unwrap_or_default();
        let mismatch = shipment.verified.is_none() && host_key::is_refused(reason);
        if mismatch || shipment.verified.is_some() {
            let title = format!("the host key of remote {} is unknown or has changed", shipment.remote);
            found.put(Topic::HostKeyMismatch, format!("remote {}", shipment.remote), mismatch, title, reason);
        }
    }
}

/// Nearly full: less than a tenth is free, or less than `min_free`, below which sets are refused. It is over once a fifth more is
/// free, so that a size around the limit is not reported again and again.
fn disk(known: &Known, min_free: u64, space: Space) -> Condition {
    let limit = min_free.max(space.total / 10);
    let was = known.is_present(Topic::DiskFull, None);
    let limit = if was { limit.saturating_add(limit / 5) } else { limit };
    let (free, total) = (units::bytes(space.free), units::bytes(space.total));
    Condition {
        topic: Topic::DiskFull,
        subject: None,
        severity: Severity::Warning,
        is_present: space.free < limit,
        title: "the vault's file system is nearly full".to_owned(),
        text: format!("{free} of {total} are free"),
    }
}
