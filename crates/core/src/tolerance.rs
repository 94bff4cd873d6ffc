//! How many nodes a complete night may lack. Masters and etcd hosts are never tolerated.

use serde::{Deserialize, Serialize};

use crate::night::Night;

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
    pub(crate) fn allows(self, missing: usize, of: usize) -> bool {
        missing.saturating_mul(100) <= of.saturating_mul(self.nodes.into())
    }

    pub(crate) fn is_recent(self, last_good: Option<Night>, night: Night) -> bool {
        last_good.is_some_and(|last| (night.date - last.date).get_days() <= i32::from(self.nights))
    }
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
