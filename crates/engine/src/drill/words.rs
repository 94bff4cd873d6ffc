//! What a worker says, one line of JSON each.

use nightshift_core::proof::{DrillReport, DrillStep};
use serde::{Deserialize, Serialize};

/// The longest line: a report with its comparisons.
pub const LONGEST: u64 = 256 << 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum Word {
    /// It has read its job: said at once, so that one that never began is told from one that was ended.
    Hello,
    Begun {
        step: String,
    },
    Done(DrillStep),
    Report(DrillReport),
}
