//! The missing nodes that a night tolerates.

use std::collections::BTreeSet;

use crate::name::HostName;
use crate::record::{Expected, Record};
use crate::role::Role;

/// The nodes whose missing sets do not degrade the night: all that are missing, or none. One that is missing for too long, or one
/// more than the share, makes every missing node a fault.
pub(super) fn tolerated(record: &Record) -> Vec<&Expected> {
    let Some(tolerance) = record.tolerate else { return Vec::new() };
    let expected = || record.expected.iter();
    let other_role = expected().filter(|it| it.role != Role::Node);
    let never: BTreeSet<&HostName> = other_role.map(|it| &it.host).chain([&record.host]).collect();
    let nodes = || expected().filter(|it| it.role == Role::Node && !never.contains(&it.host));
    let missing: Vec<&Expected> =
        nodes().filter(|it| !it.new && record.best_set(&it.host, it.role).is_none()).collect();
    let all_recent = missing.iter().all(|it| tolerance.is_recent(it.last_good, record.night));
    if all_recent && tolerance.allows(missing.len(), nodes().count()) { missing } else { Vec::new() }
}
