//! The board: the progress of each running stage, for the status line. Nothing is decided by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use nightshift_core::stage::Stage;

#[derive(Debug, Clone, Default)]
pub struct Board {
    counts: Arc<Mutex<BTreeMap<Stage, (usize, usize)>>>,
}

impl Board {
    /// A stage has `total` things to do, and has done none.
    pub fn begin(&self, stage: Stage, total: usize) {
        self.set(|counts| {
            counts.insert(stage, (0, total));
        });
    }

    pub fn advance(&self, stage: Stage) {
        self.set(|counts| {
            if let Some((done, _)) = counts.get_mut(&stage) {
                *done += 1;
            }
        });
    }

    pub fn end(&self, stage: Stage) {
        self.set(|counts| {
            counts.remove(&stage);
        });
    }

    /// "31/40" for a stage that counts.
    pub fn progress(&self, stage: Stage) -> Option<String> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&stage).filter(|(_, total)| *total > 0).map(|(done, total)| format!("{done}/{total}"))
    }

    fn set(&self, change: impl FnOnce(&mut BTreeMap<Stage, (usize, usize)>)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
