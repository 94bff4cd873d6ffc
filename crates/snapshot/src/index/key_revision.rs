//! One revision of one key, without its value.

use sha2::{Digest as _, Sha256};

use crate::change::Change;
use crate::revision::Revision;

/// The first half of a value's SHA-256. Values with the same hash are treated as equal.
pub type ValueHash = [u8; 16];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRevision {
    pub key: Vec<u8>,
    pub revision: Revision,
    /// The key was deleted in this revision.
    pub tombstone: bool,
    pub create_revision: i64,
    /// How often the key was written since it was created.
    pub version: i64,
    /// 0: none.
    pub lease: i64,
    /// In bytes.
    pub value_size: u64,
    /// Zeros if hashes were not requested.
    pub value_hash: ValueHash,
}

/// The length of an entry's parts. Before the key: its length. After the key: six numbers, starting with the revision, the
/// tombstone and the hash.
pub(super) const HEAD: usize = 4;
pub(super) const BODY: usize = 6 * 8 + 1 + 16;

impl KeyRevision {
    pub fn of(change: &Change<'_>, hash: bool) -> Self {
        let stored = &change.content;
        let mut value_hash = ValueHash::default();
        if hash {
            value_hash.copy_from_slice(&Sha256::digest(stored.value)[..size_of::<ValueHash>()]);
        }
        Self {
            key: stored.key.to_vec(),
            revision: change.revision,
            tombstone: change.tombstone,
            create_revision: stored.create_revision,
            version: stored.version,
            lease: stored.lease,
            value_size: stored.value.len() as u64,
            value_hash,
        }
    }

    /// The bytes of key and value.
    pub fn size(&self) -> u64 {
        self.value_size + self.key.len() as u64
    }

    /// Appends the entry as it is written to a run. Keys are shorter than 4 GiB, because pages are.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.key.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.revision.main.to_be_bytes());
        out.extend_from_slice(&self.revision.sub.to_be_bytes());
        for number in [self.create_revision, self.version, self.lease] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.value_size.to_le_bytes());
        out.push(u8::from(self.tombstone));
        out.extend_from_slice(&self.value_hash);
    }

    /// Reads the key and the body, which follow the length. `None` if they are too short.
    pub(super) fn decode(mut key: Vec<u8>) -> Option<Self> {
        let body = key.split_off(key.len().checked_sub(BODY)?);
        let mut rest = body.as_slice();
        let mut word = || {
            let (word, left) = rest.split_first_chunk::<8>()?;
            rest = left;
            Some(*word)
        };
        let revision = Revision { main: u64::from_be_bytes(word()?), sub: u64::from_be_bytes(word()?) };
        let mut number = || word().map(i64::from_le_bytes);
        let (create_revision, version, lease) = (number()?, number()?, number()?);
        let value_size = u64::from_le_bytes(word()?);
        let (tombstone, hash) = rest.split_first()?;
        Some(Self {
            key,
            revision,
            tombstone: *tombstone != 0,
            create_revision,
            version,
            lease,
            value_size,
            value_hash: *hash.first_chunk()?,
        })
    }
}

/// The sort key of an entry: its key, then the bytes of its revision.
pub(super) fn order(frame: &[u8]) -> (&[u8], &[u8]) {
    let rest = frame.get(HEAD..).unwrap_or_default();
    let (key, body) = rest.split_at(rest.len().saturating_sub(BODY));
    (key, &body[..body.len().min(16)])
}
