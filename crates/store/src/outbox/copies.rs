//! The archives that a remote has, and when each was verified there last: so that the one whose check is oldest is checked again.

use std::io;

use jiff::Timestamp;
use nightshift_core::digest::Digest;
use nightshift_core::name::RemoteName;
use serde::{Deserialize, Serialize};

use super::{MAX_LEN, Outbox};
use crate::fault::{IoContext as _, StoreError};
use crate::read::read_if_exists;
use crate::replace::replace_file;

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
        let path = self.copies_path(remote);
        let Some(bytes) = read_if_exists(&path, MAX_LEN)? else {
            return Ok(RemoteCopies::default().at(location));
        };
        let read: RemoteCopies = serde_json::from_slice(&bytes).map_err(io::Error::from).on("read", &path)?;
        Ok(read.at(location))
    }

    pub fn keep_copies(&self, remote: &RemoteName, copies: &RemoteCopies) -> Result<(), StoreError> {
        let path = self.copies_path(remote);
        let bytes = serde_json::to_vec(copies).map_err(io::Error::from).on("write", &path)?;
        replace_file(&path, &bytes)
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
