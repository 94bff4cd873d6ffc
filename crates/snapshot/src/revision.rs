//! The keys of the bucket `key`: revisions (etcd, `server/storage/mvcc/revision.go`).

/// The revision of one change: `main` counts transactions, `sub` the changes in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision {
    pub main: u64,
    pub sub: u64,
}

/// A revision as it is stored, with the marker of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RevisionKey {
    pub revision: Revision,
    /// The key was deleted in this revision.
    pub tombstone: bool,
}

/// The length of main and sub, big-endian, with `_` between them.
const LENGTH: usize = 17;

impl Revision {
    /// The stored form. It sorts in the order of revisions.
    pub fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [b'_'; LENGTH];
        bytes[..8].copy_from_slice(&self.main.to_be_bytes());
        bytes[9..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }
}

impl RevisionKey {
    /// `None` if the key is not a revision.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let tombstone = match key.len() {
            LENGTH => false,
            18 if key[LENGTH] == b't' => true,
            _ => return None,
        };
        let (main, rest) = key.split_first_chunk()?;
        let (mark, rest) = rest.split_first()?;
        let (sub, _) = rest.split_first_chunk()?;
        let revision = Revision { main: u64::from_be_bytes(*main), sub: u64::from_be_bytes(*sub) };
        // In etcd revisions are signed.
        let signed = revision.main <= i64::MAX as u64 && revision.sub <= i64::MAX as u64;
        (*mark == b'_' && signed).then_some(Self { revision, tombstone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_read_as_it_is_written() {
        let revision = Revision { main: 0x0102_0304, sub: 7 };
        let mut key = revision.to_bytes().to_vec();
        assert_eq!(RevisionKey::parse(&key), Some(RevisionKey { revision, tombstone: false }));
        key.push(b't');
        assert_eq!(RevisionKey::parse(&key), Some(RevisionKey { revision, tombstone: true }));
    }

    #[test]
    fn an_invalid_revision_is_refused() {
        let good = Revision { main: 5, sub: 0 }.to_bytes();
        for length in 0..LENGTH {
            assert_eq!(RevisionKey::parse(&good[..length]), None);
        }
        let mut bad = good;
        bad[8] = b'-';
        assert_eq!(RevisionKey::parse(&bad), None);
        let mut negative = good;
        negative[0] = 0x80;
        assert_eq!(RevisionKey::parse(&negative), None);
        assert_eq!(RevisionKey::parse(&[&good[..], b"x"].concat()), None);
    }
}
