//! What is reported once a night, although it is found at each poll.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Clone, Default)]
pub struct Once {
    seen: Arc<Mutex<BTreeSet<String>>>,
}

impl Once {
    /// True the first time it is called with this key.
    pub fn is_first(&self, key: &str) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned())
    }
}
