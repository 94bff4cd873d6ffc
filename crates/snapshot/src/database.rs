//! A database, read with positioned reads: its metas, its buckets and its entries.

use std::io;

use crate::entry::{Bucket, Entry, Location, Root};
use crate::finding::{Damage, Finding, Findings};
use crate::fingerprint::Fingerprint;
use crate::meta::{META_PAGE, Meta, MetaError, page_sizes};
use crate::page::{BUCKET_HEADER, Element, Header, Kind, leaf_element};
use crate::read_error::{ReadError, damaged};
use crate::report::{check_metas, check_trailer};
use crate::source::{ReadAt, Window, append, read_up_to};
use crate::trailer::{Ending, Trailer};

/// The maximum length of a leaf page in bytes. etcd limits requests to a few MiB, and bbolt puts at most four entries that do
/// not fit into one page into the same (overflowing) page.
pub const MAX_LEAF_LEN: u64 = 64 << 20;
/// The maximum length of a branch page in bytes. One per level of the tree is kept in memory.
pub const MAX_BRANCH_LEN: u64 = 2 << 20;

/// A database, and its current meta.
#[derive(Debug)]
pub struct Database<S> {
    source: S,
    /// In bytes, including a trailer.
    length: u64,
    metas: [Result<Meta, MetaError>; 2],
    /// The page numbers in the headers of the metas.
    meta_ids: [u64; 2],
    meta: Meta,
}

impl<S: ReadAt> Database<S> {
    /// Finds the metas. It fails with [`Finding::NotAnEtcdDatabase`] if neither is readable.
    pub fn open(source: S) -> Result<Self, ReadError> {
        let length = source.length()?;
        let meta_at = |offset: u64| -> io::Result<(u64, Result<Meta, MetaError>)> {
            let mut head = [0; META_PAGE];
            let read = read_up_to(&source, &mut head, offset)?;
            let id = Header::parse(&head).map_or(0, |header| header.id);
            Ok((id, Meta::parse(&head[..read])))
        };
        let (first_id, first) = meta_at(0)?;
        let (second_id, second) = match first {
            Ok(first) => meta_at(u64::from(first.page_size))?,
            Err(_) => {
                let mut found = (1, Err(MetaError::Short));
                for size in page_sizes() {
                    let (id, meta) = meta_at(u64::from(size))?;
                    if meta.is_ok_and(|meta| meta.page_size == size) {
                        found = (id, meta);
                        break;
                    }
                }
                found
            }
        };
        let meta = Meta::newer(first, second).ok_or(Finding::NotAnEtcdDatabase)?;
        Ok(Self { source, length, metas: [first, second], meta_ids: [first_id, second_id], meta })
    }

    pub fn source(&self) -> &S {
        &self.source
    }

    /// In bytes, including a trailer.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The current meta: of the valid ones, that of the later transaction.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    pub fn metas(&self) -> &[Result<Meta, MetaError>; 2] {
        &self.metas
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.metas, self.length)
    }

    /// Checks the trailer, the metas and the length, as those of a copy if the file is known to be one. Only a file without a
    /// trailer can be a copy.
    pub fn check_ending(&self, ending: &Ending, copy: bool) -> Findings {
        let copy = (copy || self.fingerprint() == Fingerprint::Copy) && ending.trailer == Trailer::Absent;
        let mut findings = Findings::default();
        check_trailer(ending, copy, &mut findings);
        check_metas(&self.metas, self.meta_ids, ending.length, copy, &mut findings);
        findings
    }

    /// The number of pages that are in use according to the meta and really exist in the file.
    pub fn pages(&self) -> u64 {
        self.meta.high_water.min(self.length / u64::from(self.meta.page_size))
    }

    /// The root bucket, which contains the other buckets.
    pub fn root(&self) -> Bucket {
        Bucket { root: Root::Page(self.meta.root) }
    }

    /// The entry at a position from a cursor of this database. `page` is overwritten; the entry borrows from it.
    pub fn at<'b>(&self, at: Location, page: &'b mut PageBuffer) -> Result<Entry<'b>, ReadError> {
        let missing = || damaged(at.page, Damage::PastEnd);
        let header = page.read(self, at.page)?;
        if header.kind() != Some(Kind::Leaf) {
            return Err(damaged(at.page, Damage::Kind));
        }
        let mut element =
            leaf_element(&page.bytes, header.count, usize::from(at.element)).ok_or_else(missing)?;
        if let Some(inner) = at.inner {
            let within = element.value.get(BUCKET_HEADER..).ok_or_else(missing)?;
            let header = Header::parse(within).ok_or_else(missing)?;
            element = leaf_element(within, header.count, usize::from(inner)).ok_or_else(missing)?;
        }
        let Element { key, value, raw, is_bucket, .. } = element;
        Ok(Entry { key, value, raw, is_bucket, at })
    }
}

/// One page with its overflow, and a read-ahead window. It can be reused for the next page.
#[derive(Debug, Default)]
pub struct PageBuffer {
    window: Window,
    pub(crate) bytes: Vec<u8>,
}

impl PageBuffer {
    /// Reads a page and checks its header. Its content is not checked.
    pub(crate) fn read<S: ReadAt>(&mut self, database: &Database<S>, page: u64) -> Result<Header, ReadError> {
        let header = self.header(database, page)?;
        self.body(database, page, header)?;
        Ok(header)
    }

    /// Reads and checks only a page's header, because the page may be long.
    pub(crate) fn header<S: ReadAt>(
        &mut self,
        database: &Database<S>,
        page: u64,
    ) -> Result<Header, ReadError> {
        self.bytes.clear();
        let pages = database.pages();
        if page >= pages {
            return Err(damaged(page, Damage::PastEnd));
        }
        let page_size = u64::from(database.meta.page_size);
        // `page` is less than the real number of pages, so this cannot overflow.
        let offset = page * page_size;
        let one = database.meta.page_size as usize;
        let header = Header::parse(self.window.get(&database.source, offset, one)?)
            .ok_or_else(|| damaged(page, Damage::PastEnd))?;
        if header.id != page {
            return Err(damaged(page, Damage::Id { found: header.id }));
        }
        let max_len = match header.kind() {
            None => return Err(damaged(page, Damage::Flags(header.flags))),
            Some(Kind::Branch) => MAX_BRANCH_LEN.max(page_size),
            Some(_) => MAX_LEAF_LEN,
        };
        let claimed = u64::from(header.overflow) + 1;
        if claimed > pages - page || claimed.saturating_mul(page_size) > max_len {
            return Err(damaged(page, Damage::Overflow { pages: claimed }));
        }
        Ok(header)
    }

    /// Reads a whole page, whose header was read by [`PageBuffer::header`].
    pub(crate) fn body<S: ReadAt>(
        &mut self,
        database: &Database<S>,
        page: u64,
        header: Header,
    ) -> Result<(), ReadError> {
        let page_size = u64::from(database.meta.page_size);
        let length = (u64::from(header.overflow) + 1).saturating_mul(page_size);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = self.window.get(&database.source, page.saturating_mul(page_size), length)?;
        if bytes.len() < length {
            return Err(damaged(page, Damage::PastEnd));
        }
        append(&mut self.bytes, bytes);
        Ok(())
    }
}
