//! The differences between the keys of two databases.

use std::cmp::Ordering;
use std::iter::Peekable;

use crate::index::{IndexError, Key, KeyIndex};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Added(Key),
    Removed(Key),
    /// The value differs. A key that was written again with the same value is not a difference.
    Changed {
        before: Key,
        after: Key,
    },
}

impl Difference {
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Added(key) | Self::Removed(key) | Self::Changed { after: key, .. } => &key.newest.key,
        }
    }
}

/// Compares the existing keys of two databases, in order.
///
/// Values are compared by hash, not by revision: members that diverged have different values at the same revisions.
pub fn diff<'i>(
    before: &'i KeyIndex,
    after: &'i KeyIndex,
    prefix: &'i [u8],
) -> Result<impl Iterator<Item = Result<Difference, IndexError>> + use<'i>, IndexError> {
    if !(before.is_hashed() && after.is_hashed()) {
        return Err(IndexError::Unhashed);
    }
    Ok(Differences { before: before.live(prefix)?.peekable(), after: after.live(prefix)?.peekable() })
}

struct Differences<B: Iterator, A: Iterator> {
    before: Peekable<B>,
    after: Peekable<A>,
}

type Live = Result<Key, IndexError>;

impl<B: Iterator<Item = Live>, A: Iterator<Item = Live>> Iterator for Differences<B, A> {
    type Item = Result<Difference, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.before.peek(), self.after.peek()) {
                (None, None) => return None,
                (Some(Err(_)), _) | (Some(_), None) => Ordering::Less,
                (_, Some(Err(_))) | (None, Some(_)) => Ordering::Greater,
                (Some(Ok(before)), Some(Ok(after))) => before.newest.key.cmp(&after.newest.key),
            };
            match order {
                Ordering::Less => return Some(self.before.next()?.map(Difference::Removed)),
                Ordering::Greater => return Some(self.after.next()?.map(Difference::Added)),
                Ordering::Equal => {
                    let (Ok(before), Ok(after)) = (self.before.next()?, self.after.next()?) else { continue };
                    let value = |key: &Key| (key.newest.value_size, key.newest.value_hash);
                    if value(&before) != value(&after) {
                        return Some(Ok(Difference::Changed { before, after }));
                    }
                }
            }
        }
    }
}
