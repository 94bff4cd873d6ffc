//! One entry of bucket `key`: a key that was written or deleted in one revision.

use std::io;

use crate::cursor::Location;
use crate::finding::Misfit;
use crate::key_value::KeyValue;
use crate::revision::{Revision, RevisionKey};

/// The longest key, in bytes. etcd takes requests of 1.5 MiB unless told otherwise, and keys are held in memory by
/// the dozen where they are sorted.
const LONGEST_KEY: usize = 2 << 20;

/// A change, lent from the page that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    pub revision: Revision,
    /// The key was deleted: it has neither a value nor numbers.
    pub tombstone: bool,
    /// Its key is empty only where etcd bumped the revision of a restored database
    /// (docs/facts/etcd.md#revision-bump): that change is of no key.
    pub content: KeyValue<'a>,
}

impl<'a> Change<'a> {
    /// Reads an entry of bucket `key`, and holds it against itself.
    pub fn parse(key: &[u8], value: &'a [u8]) -> Result<Self, Misfit> {
        let RevisionKey { revision, tombstone } = RevisionKey::parse(key).ok_or(Misfit::NotARevision)?;
        let content = KeyValue::parse(value).map_err(Misfit::KeyValue)?;
        let change = Self { revision, tombstone, content };
        // A bump writes no value at all.
        if value.is_empty() && !tombstone {
            return Ok(change);
        }
        if content.key.is_empty() {
            return Err(Misfit::NoKey);
        }
        if content.key.len() > LONGEST_KEY {
            return Err(Misfit::LongKey);
        }
        if tombstone {
            let only_key = content == KeyValue { key: content.key, ..KeyValue::default() };
            return if only_key { Ok(change) } else { Err(Misfit::Tombstone) };
        }
        if u64::try_from(content.mod_revision) != Ok(revision.main) {
            return Err(Misfit::ModRevision);
        }
        if !(1..=content.mod_revision).contains(&content.create_revision) {
            return Err(Misfit::CreateRevision);
        }
        if content.version < 1 {
            return Err(Misfit::Version);
        }
        Ok(change)
    }
}

/// Sees every change of a database in the order of revisions while it is walked: of a key the last one seen is
/// the one that lives, and none does where that is a deletion. An error ends the walk.
pub trait Visitor {
    fn change(&mut self, change: &Change<'_>, at: Location) -> io::Result<()>;
}

/// Sees nothing.
impl Visitor for () {
    fn change(&mut self, _: &Change<'_>, _: Location) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 17] = [0, 0, 0, 0, 0, 0, 0, 5, b'_', 0, 0, 0, 0, 0, 0, 0, 0];

    fn parse(value: &[u8]) -> Result<Change<'_>, Misfit> {
        Change::parse(&KEY, value)
    }

    #[test]
    fn a_change_is_held_against_the_revision_that_it_lies_at() {
        assert_eq!(parse(b"\x0a\x01k\x10\x02\x18\x05\x20\x02\x2a\x01v").unwrap().content.value, b"v");
        assert_eq!(parse(b"\x0a\x01k\x10\x02\x18\x04\x20\x02"), Err(Misfit::ModRevision));
        assert_eq!(parse(b"\x0a\x01k\x10\x06\x18\x05\x20\x02"), Err(Misfit::CreateRevision));
        assert_eq!(parse(b"\x0a\x01k\x10\x02\x18\x05"), Err(Misfit::Version));
        assert_eq!(parse(b"\x10\x02\x18\x05\x20\x02"), Err(Misfit::NoKey));
        let long = |length: u8| {
            // 0x80000 * length + 1 bytes.
            let key = [
                b"\x0a\x81\x80",
                &[0x80 | length << 5, length >> 2][..],
                &vec![b'k'; (usize::from(length) << 19) + 1],
            ]
            .concat();
            parse(&[&key[..], b"\x10\x02\x18\x05\x20\x02"].concat()).map(drop)
        };
        assert_eq!((long(3), long(4)), (Ok(()), Err(Misfit::LongKey)));
        assert_eq!(Change::parse(b"consistent_index", b""), Err(Misfit::NotARevision));
    }

    #[test]
    fn a_deletion_holds_its_key_only_and_a_bump_nothing() {
        let tombstone = [&KEY[..], b"t"].concat();
        assert!(Change::parse(&tombstone, b"\x0a\x01k").unwrap().tombstone);
        assert_eq!(Change::parse(&tombstone, b"\x0a\x01k\x18\x05"), Err(Misfit::Tombstone));
        assert_eq!(Change::parse(&tombstone, b""), Err(Misfit::NoKey));
        assert!(parse(b"").unwrap().content.key.is_empty());
    }
}
