//! The missing nodes that a night tolerates.

use std::collections::BTreeSet;

use crate::host_key;
use crate::name::HostName;
use crate::record::{Expected, Fate, Record, SetReport};
use crate::role::Role;

/// The nodes whose missing sets do not degrade the night: all that are missing, or none. One that is missing for too long, or one
/// more than the share, makes every missing node a fault. A node whose set or host key was refused is not one that is only away: it
/// is a fault, and does not count for the share.
pub(super) fn tolerated(record: &Record) -> Vec<&Expected> {
    let Some(tolerance) = record.tolerate else { return Vec::new() };
    let expected = || record.expected.iter();
    let other_role = expected().filter(|it| it.role != Role::Node);
    let never: BTreeSet<&HostName> = other_role.map(|it| &it.host).chain([&record.host]).collect();
    let nodes = || expected().filter(|it| it.role == Role::Node && !never.contains(&it.host));
    let refused: BTreeSet<_> = record.sets.iter().filter(|it| is_refused(it)).map(host_and_role).collect();
    let missing: Vec<&Expected> = nodes()
        .filter(|it| !it.new && !refused.contains(&(&it.host, it.role)))
        .filter(|it| record.best_set(&it.host, it.role).is_none())
        .collect();
    let all_recent = missing.iter().all(|it| tolerance.is_recent(it.last_good, record.night));
    if all_recent && tolerance.allows(missing.len(), nodes().count()) { missing } else { Vec::new() }
}

const fn host_and_role(report: &SetReport) -> (&HostName, Role) {
    (&report.set.host, report.set.role)
}

/// Whether another host may answer under the node's name, or another set was sent in place of its own.
fn is_refused(report: &SetReport) -> bool {
    match report.fate {
        Fate::Refused => true,
        Fate::Missing => report.reason.as_deref().is_some_and(host_key::is_refused),
        Fate::Published | Fate::Pulled | Fate::Late => false,
    }
}
