//! Keys with their newest revision.

use std::iter::Peekable;

use super::error::IndexError;
use super::key_revision::KeyRevision;
use super::merge::KeyRevisions;

/// One key, with the totals of its revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub newest: KeyRevision,
    pub revisions: u64,
    /// The bytes of key and value, summed over all revisions.
    pub bytes: u64,
}

impl Key {
    /// Whether the key exists: its newest revision is not a deletion.
    pub fn is_live(&self) -> bool {
        !self.newest.tombstone
    }
}

/// All keys in order, including deleted ones.
pub struct Keys<'i>(Peekable<KeyRevisions<'i>>);

impl<'i> Keys<'i> {
    pub(super) fn new(entries: KeyRevisions<'i>) -> Self {
        Self(entries.peekable())
    }
}

impl Iterator for Keys<'_> {
    type Item = Result<Key, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let newest = match self.0.next()? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let mut key = Key { revisions: 1, bytes: newest.size(), newest };
        while let Some(next) =
            self.0.next_if(|next| next.as_ref().map_or(true, |next| next.key == key.newest.key))
        {
            match next {
                Ok(next) => {
                    key.revisions += 1;
                    key.bytes = key.bytes.saturating_add(next.size());
                    key.newest = next;
                }
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(key))
    }
}
