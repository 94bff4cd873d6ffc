//! The board: the progress of each running stage, for the status line. Nothing is decided by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nightshift_core::stage::Stage;

/// How many of its things a stage has done, and how many there are.
type Counts = BTreeMap<Stage, (usize, usize)>;

#[derive(Debug, Clone, Default)]
pub struct Board {
    counts: Arc<Mutex<Counts>>,
}

impl Board {
    /// A stage has `total` things to do, and has done none.
    pub fn begin(&self, stage: Stage, total: usize) {
        self.counts().insert(stage, (0, total));
    }

    pub fn advance(&self, stage: Stage) {
        if let Some((done, _)) = self.counts().get_mut(&stage) {
            *done += 1;
        }
    }

    pub fn end(&self, stage: Stage) {
        self.counts().remove(&stage);
    }

    /// "31/40" for a stage that counts.
    pub fn progress(&self, stage: Stage) -> Option<String> {
        let (done, total) = self.counts().get(&stage).copied().filter(|(_, total)| *total > 0)?;
        Some(format!("{done}/{total}"))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
