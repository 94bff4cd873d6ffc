//! The archives that a remote has, and when each was verified there last: so that the one whose check is oldest is checked again.

use jiff::Timestamp;
use nightshift_core::digest::Digest;
use nightshift_core::name::RemoteName;
use serde::{Deserialize, Serialize};

use super::{MAX_LEN, Outbox};
use crate::fault::StoreError;
use crate::json_file::{read_json, write_json};

/// The archives of this host on one remote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteCopies {
    /// Where the remote is. What was shipped to another place is not looked for here.
    pub location: String,
    pub copies: Vec<RemoteCopy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteCopy {
    /// Its name there.
    pub archive: String,
    pub sha256: Digest,
    /// When it was found good there last.
    pub verified: Timestamp,
    /// When its check began last, however that ended.
    pub tried: Timestamp,
}

impl RemoteCopies {
    /// Those of a remote at this location.
    fn at(self, location: &str) -> Self {
        if self.location == location {
            self
        } else {
            Self { location: location.to_owned(), copies: Vec::new() }
        }
    }
}

impl Outbox {
    /// What is known of a remote at this location.
    pub fn copies(&self, remote: &RemoteName, location: &str) -> Result<RemoteCopies, StoreError> {
        let known: Option<RemoteCopies> = read_json(&self.copies_path(remote), MAX_LEN)?;
        Ok(known.unwrap_or_default().at(location))
    }

    pub fn keep_copies(&self, remote: &RemoteName, copies: &RemoteCopies) -> Result<(), StoreError> {
        write_json(&self.copies_path(remote), copies)
    }

    /// Remembers that an archive was verified on a remote now.
    pub fn keep_copy(
        &self,
        remote: &RemoteName,
        location: &str,
        archive: String,
        sha256: Digest,
    ) -> Result<(), StoreError> {
        let mut known = self.copies(remote, location)?;
        known.copies.retain(|copy| copy.archive != archive);
        let now = Timestamp::now();
        known.copies.push(RemoteCopy { archive, sha256, verified: now, tried: now });
        self.keep_copies(remote, &known)
    }

    fn copies_path(&self, remote: &RemoteName) -> std::path::PathBuf {
        self.directory.join(format!(".{remote}.copies"))
    }
}
