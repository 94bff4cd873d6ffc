//! How many nodes a complete night may lack. Masters and etcd hosts are never tolerated.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::name::HostName;
use crate::night::Night;
use crate::record::{Expected, Record};
use crate::role::Role;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tolerance {
    /// The percentage of the expected nodes that may be missing; 0 tolerates none.
    pub nodes: u8,
    /// How many nights before this one the last good set of each of them may be.
    pub nights: u16,
}

impl Tolerance {
    pub const fn is_none(self) -> bool {
        self.nodes == 0
    }

    /// Whether so many may be missing. A share is never exceeded: 1 % of 199 nodes is one node.
    fn allows(self, missing: usize, of: usize) -> bool {
        missing.saturating_mul(100) <= of.saturating_mul(self.nodes.into())
    }

    fn is_recent(self, last_good: Option<Night>, night: Night) -> bool {
        last_good.is_some_and(|last| (night.date - last.date).get_days() <= i32::from(self.nights))
    }
}

/// The nodes whose missing sets do not degrade the night: all that are missing, or none. One that is missing for too long, or one
/// more than the share, makes every missing node a fault.
pub fn tolerated(record: &Record) -> Vec<&Expected> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down_and_never_exceeded() {
        let allows = |nodes, missing, of| Tolerance { nodes, nights: 3 }.allows(missing, of);
        for (nodes, of, most) in
            [(1, 99, 0), (1, 100, 1), (1, 199, 1), (1, 200, 2), (5, 40, 2), (0, 500, 0), (100, 3, 3)]
        {
            assert!(allows(nodes, most, of), "{nodes} % of {of}");
            assert!(!allows(nodes, most + 1, of), "{nodes} % of {of}");
        }
    }
}
