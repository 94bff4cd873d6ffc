//! When notices are sent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nightshift_core::name::TargetName;

/// When the next notice of each target is due. A target without an entry has none, or was not looked at yet.
#[derive(Debug, Default)]
pub(super) struct DueNotices {
    pub due: BTreeMap<TargetName, Timestamp>,
    /// There may be new notices.
    pub is_new: bool,
}

impl DueNotices {
    /// The queues may have new notices.
    pub fn changed(&mut self) {
        self.is_new = true;
    }

    pub fn sent(&mut self, target: TargetName, next: Option<Timestamp>) {
        if let Some(next) = next {
            // An entry that was made meanwhile is earlier.
            self.due.entry(target).or_insert(next);
        }
    }
}
