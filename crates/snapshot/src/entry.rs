//! Buckets and their entries, and where in a database they are.

use crate::finding::Damage;
use crate::page::BUCKET_HEADER;
use crate::read_error::{ReadError, damaged};

/// The position of an entry, for [`Database::at`](crate::database::Database::at).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub page: u64,
    pub element: u16,
    /// If the element is an inline bucket: the index in it.
    pub inner: Option<u16>,
}

/// One entry of a bucket, borrowed from the cursor until its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// The key, followed by the value.
    pub(crate) raw: &'a [u8],
    /// It is a bucket: the value is its header.
    pub is_bucket: bool,
    pub at: Location,
}

impl Entry<'_> {
    /// The bucket that this entry is.
    pub fn bucket(&self) -> Result<Bucket, ReadError> {
        let damage = Damage::Bucket { element: self.at.element };
        let broken = || damaged(self.at.page, damage);
        let root = self.value.first_chunk().map(|root| u64::from_le_bytes(*root)).ok_or_else(broken)?;
        let inline = self.value.get(BUCKET_HEADER..).ok_or_else(broken)?;
        let root = match root {
            0 if self.at.inner.is_some() => {
                return Err(damaged(self.at.page, Damage::NestedBucket { element: self.at.element }));
            }
            0 => Root::Inline { page: inline.to_vec(), within: self.at },
            page => Root::Page(page),
        };
        Ok(Bucket { root })
    }
}

/// A bucket: the position of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub(crate) root: Root,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Root {
    Page(u64),
    /// A small bucket: a page inside its parent's entry.
    Inline {
        page: Vec<u8>,
        within: Location,
    },
}
