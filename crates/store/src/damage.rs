//! What this host found wrong with its copy of a set after that was published. It says nothing about the copies of other hosts, and
//! is gone once the copy is removed, published anew, or found intact.

use std::path::PathBuf;

use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::set_path::SetId;
use nightshift_core::text::Lines;
use serde::{Deserialize, Serialize};

use crate::directory::remove_file;
use crate::fault::{IoContext as _, StoreError};
use crate::layout::Vault;
use crate::read::{if_exists, read_below};
use crate::replace::replace_file;

const FORMAT: u32 = 1;
/// Bytes: more than all lines that it may have.
const MAX_LEN: u64 = 256 << 10;

/// The statement of this host, in `<role>.damaged`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    pub format: u32,
    pub at: Timestamp,
    pub findings: Lines,
}

impl Vault {
    /// States that this host's copy of a set is damaged: from now on it is bad here.
    pub fn mark_damaged(&self, set: &SetId, findings: &[String]) -> Result<(), StoreError> {
        let path = self.damage_path(set);
        let damage =
            Damage { format: FORMAT, at: Timestamp::now(), findings: findings.iter().cloned().collect() };
        let bytes = serde_json::to_vec_pretty(&damage).map_err(std::io::Error::from).on("write", &path)?;
        replace_file(&path, &bytes)
    }

    /// Removes the statement, if there is one.
    pub fn clear_damage(&self, set: &SetId) -> Result<(), StoreError> {
        remove_file(&self.damage_path(set))
    }

    /// What this host found wrong with its copy. A statement that cannot be read does not count.
    pub fn damage(&self, set: &SetId) -> Option<Damage> {
        let path = self.damage_path(set);
        let read = if_exists(read_below(path.parent()?, &set.damage_name(), MAX_LEN));
        let read =
            read.inspect_err(|error| tracing::warn!("{} is skipped: {}", path.display(), chain(error)));
        let decoded = serde_json::from_slice(&read.ok()??);
        decoded.inspect_err(|error| tracing::warn!("{} is skipped: {error}", path.display())).ok()
    }

    fn damage_path(&self, set: &SetId) -> PathBuf {
        self.directory(set).with_file_name(set.damage_name())
    }
}
