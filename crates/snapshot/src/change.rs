//! One entry of the bucket `key`: a write or a deletion of a key in one revision.

use std::io;

use crate::entry::Location;
use crate::finding::Misfit;
use crate::key_value::KeyValue;
use crate::revision::{Revision, RevisionKey};

/// The maximum length of a key in bytes: more than any request that etcd recommends (`--max-request-bytes`, 10 MiB; by default 1.5
/// MiB). Sorting keeps dozens of keys in memory.
const MAX_KEY_LEN: usize = 16 << 20;

/// A change, borrowed from its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    pub revision: Revision,
    /// The key was deleted: then `content` has only the key.
    pub tombstone: bool,
    /// Its key is empty only if `etcdutl snapshot restore --bump-revision` wrote it: that adds an entry without a key and
    /// value at the bumped revision (docs/facts/etcd.md#revision-bump).
    pub content: KeyValue<'a>,
}

impl<'a> Change<'a> {
    /// Reads an entry of the bucket `key`, and checks that its parts are consistent.
    pub fn parse(key: &[u8], value: &'a [u8]) -> Result<Self, Misfit> {
        let RevisionKey { revision, tombstone } = RevisionKey::parse(key).ok_or(Misfit::NotARevision)?;
        let content = KeyValue::parse(value).map_err(Misfit::KeyValue)?;
        let change = Self { revision, tombstone, content };
        // The entry of a bumped revision has no value.
        if value.is_empty() && !tombstone {
            return Ok(change);
        }
        if content.key.is_empty() {
            return Err(Misfit::NoKey);
        }
        if content.key.len() > MAX_KEY_LEN {
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

/// Gets every change of a database, in the order of revisions, during a walk. The last change of a key determines whether the
/// key exists. An error ends the walk.
pub trait Visitor {
    fn change(&mut self, change: &Change<'_>, at: Location) -> io::Result<()>;
}

/// Ignores the changes.
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
    fn a_change_must_match_its_revision() {
        assert_eq!(parse(b"\x0a\x01k\x10\x02\x18\x05\x20\x02\x2a\x01v").unwrap().content.value, b"v");
        assert_eq!(parse(b"\x0a\x01k\x10\x02\x18\x04\x20\x02"), Err(Misfit::ModRevision));
        assert_eq!(parse(b"\x0a\x01k\x10\x06\x18\x05\x20\x02"), Err(Misfit::CreateRevision));
        assert_eq!(parse(b"\x0a\x01k\x10\x02\x18\x05"), Err(Misfit::Version));
        assert_eq!(parse(b"\x10\x02\x18\x05\x20\x02"), Err(Misfit::NoKey));
        // 0x1000000 = 16 MiB, and one more; lengths are in seven bits per byte, lowest first.
        let long = |length: &[u8], bytes: usize| {
            let key = [b"\x0a", length, &vec![b'k'; bytes]].concat();
            parse(&[&key[..], b"\x10\x02\x18\x05\x20\x02"].concat()).map(drop)
        };
        assert_eq!(long(b"\x80\x80\x80\x08", 16 << 20), Ok(()));
        assert_eq!(long(b"\x81\x80\x80\x08", (16 << 20) + 1), Err(Misfit::LongKey));
        assert_eq!(Change::parse(b"consistent_index", b""), Err(Misfit::NotARevision));
    }

    #[test]
    fn a_deletion_contains_only_its_key_and_a_bumped_revision_nothing() {
        let tombstone = [&KEY[..], b"t"].concat();
        assert!(Change::parse(&tombstone, b"\x0a\x01k").unwrap().tombstone);
        assert_eq!(Change::parse(&tombstone, b"\x0a\x01k\x18\x05"), Err(Misfit::Tombstone));
        assert_eq!(Change::parse(&tombstone, b""), Err(Misfit::NoKey));
        assert!(parse(b"").unwrap().content.key.is_empty());
    }
}
