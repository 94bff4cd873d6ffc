//! The entries of a bucket in the order of their keys. Every page on the way is checked.

use crate::bits::Bits;
use crate::database::{Database, PageBuffer};
use crate::entry::{Bucket, Entry, Location, Root};
use crate::finding::Damage;
use crate::page::{Element, Header, Kind, Scan, overflow_fits};
use crate::read_error::{ReadError, damaged};
use crate::source::ReadAt;

/// The maximum depth of a tree. bbolt's branches have dozens of children, so real trees have fewer than ten levels.
const MAX_DEPTH: usize = 32;

/// Iterates over a bucket. After an error it continues after the damaged part. It always ends, because it enters no page twice.
/// It keeps one page per level of the tree in memory.
#[derive(Debug)]
pub struct Cursor<'d, S> {
    database: &'d Database<S>,
    buffer: PageBuffer,
    start: Option<Root>,
    branches: Vec<Branch>,
    leaf: Option<Leaf>,
    /// The pages that were entered, including their overflow pages.
    seen: Bits,
    /// The last key of the previous leaf; empty before the first.
    last: Vec<u8>,
    /// Entries before this key are skipped, and so are pages that contain only such entries.
    from: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Branch {
    page: u64,
    bytes: Vec<u8>,
    scan: Scan,
}

#[derive(Debug)]
struct Leaf {
    bytes: Vec<u8>,
    scan: Scan,
    at: Location,
    /// `None` for the page of an inline bucket, which must end with its last entry.
    overflow: Option<u32>,
}

impl<S: ReadAt> Database<S> {
    /// `None` if there is no bucket of that name.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket>, ReadError> {
        let mut cursor = self.cursor(&self.root())?;
        cursor.seek(name);
        match cursor.next()? {
            Some(entry) if entry.key == name && entry.is_bucket => Ok(Some(entry.bucket()?)),
            _ => Ok(None),
        }
    }

    /// The entries of `bucket`, in the order of their keys.
    pub fn cursor(&self, bucket: &Bucket) -> Result<Cursor<'_, S>, ReadError> {
        Cursor::new(self, bucket)
    }
}

impl<'d, S: ReadAt> Cursor<'d, S> {
    pub(crate) fn new(database: &'d Database<S>, bucket: &Bucket) -> Result<Self, ReadError> {
        Ok(Self::with_seen(database, bucket, Bits::new(database.pages())?))
    }

    /// Like [`Cursor::new`], but pages that other cursors entered count as entered too.
    pub(crate) fn with_seen(database: &'d Database<S>, bucket: &Bucket, seen: Bits) -> Self {
        Self {
            database,
            buffer: PageBuffer::default(),
            start: Some(bucket.root.clone()),
            branches: Vec::new(),
            leaf: None,
            seen,
            last: Vec::new(),
            from: None,
        }
    }

    /// Takes the pages that were entered, for a cursor of another bucket; `put_seen` must return them.
    pub(crate) fn take_seen(&mut self) -> Bits {
        std::mem::take(&mut self.seen)
    }

    pub(crate) fn put_seen(&mut self, seen: Bits) {
        self.seen = seen;
    }

    /// Starts with the first entry whose key is `key` or greater. It must be called before the first step.
    pub fn seek(&mut self, key: &[u8]) {
        self.from = Some(key.to_vec());
    }

    /// The next entry; `None` at the end.
    #[allow(clippy::should_implement_trait)] // an iterator can't lend
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        if self.advance()? { Ok(self.current()) } else { Ok(None) }
    }

    /// The entry of the last step.
    fn current(&self) -> Option<Entry<'_>> {
        let leaf = self.leaf.as_ref()?;
        let (index, element) = leaf.scan.last(&leaf.bytes)?;
        let at = leaf.location(u16::try_from(index).ok()?);
        Some(Entry {
            key: element.key,
            value: element.value,
            raw: element.raw,
            is_bucket: element.is_bucket,
            at,
        })
    }

    /// Moves to the next entry. Returns whether there is one.
    fn advance(&mut self) -> Result<bool, ReadError> {
        loop {
            if self.step_in_leaf()? {
                return Ok(true);
            }
            if let Some(root) = self.start.take() {
                self.enter_root(root)?;
            } else if !self.enter_next_child()? {
                return Ok(false);
            }
        }
    }

    /// Moves to the next entry of the leaf, and drops the leaf at its end.
    fn step_in_leaf(&mut self) -> Result<bool, ReadError> {
        let Some(leaf) = &mut self.leaf else { return Ok(false) };
        loop {
            let index = leaf.scan.index();
            match leaf.scan.next(&leaf.bytes) {
                Some(Ok(element)) => {
                    if self.from.as_ref().is_none_or(|from| element.key >= from.as_slice()) {
                        self.from = None;
                        return Ok(true);
                    }
                }
                Some(Err(fault)) => {
                    let element = u16::try_from(index).unwrap_or(u16::MAX);
                    let (page, element) = leaf.location(element).outer();
                    self.leave_leaf();
                    return Err(damaged(page, Damage::Element { element, fault }));
                }
                None => {
                    let (at, used, size) = (leaf.at, leaf.scan.used(), leaf.bytes.len());
                    let page_size = self.database.meta().page_size;
                    let damage = match leaf.overflow {
                        None if used != size => Some(Damage::Bucket { element: at.element }),
                        Some(overflow) if !overflow_fits(used, overflow, page_size) => {
                            Some(Damage::Size { pages: u64::from(overflow) + 1 })
                        }
                        _ => None,
                    };
                    self.leave_leaf();
                    return match damage {
                        Some(damage) => Err(damaged(at.page, damage)),
                        None => Ok(false),
                    };
                }
            }
        }
    }

    fn leave_leaf(&mut self) {
        if let Some(leaf) = self.leaf.take() {
            let key = leaf.scan.key(&leaf.bytes);
            if !key.is_empty() {
                self.last.clear();
                self.last.extend_from_slice(key);
            }
            // The buffer is used again for the next page.
            self.buffer.bytes = leaf.bytes;
        }
    }

    fn enter_root(&mut self, root: Root) -> Result<(), ReadError> {
        match root {
            Root::Page(page) => self.enter(page, None),
            Root::Inline { page, within } => {
                let broken = || damaged(within.page, Damage::Bucket { element: within.element });
                let header = Header::parse(&page).ok_or_else(broken)?;
                // In bbolt the page of an inline bucket has no page number.
                if header.kind() != Some(Kind::Leaf) || header.id != 0 || header.overflow != 0 {
                    return Err(broken());
                }
                let scan = Scan::leaf(header.count);
                self.leaf = Some(Leaf {
                    bytes: page,
                    scan,
                    at: Location { inner: Some(0), ..within },
                    overflow: None,
                });
                Ok(())
            }
        }
    }

    /// Enters the next child of the deepest branch that has one left. Returns `false` if none has.
    fn enter_next_child(&mut self) -> Result<bool, ReadError> {
        loop {
            let Some(branch) = self.branches.last_mut() else { return Ok(false) };
            let index = branch.scan.index();
            match branch.scan.next(&branch.bytes) {
                Some(Ok(element)) => {
                    let (child, key) = (element.child, element.key.to_vec());
                    if self.skips() {
                        continue;
                    }
                    self.enter(child, Some(&key))?;
                    return Ok(true);
                }
                Some(Err(fault)) => {
                    let page = branch.page;
                    self.branches.pop();
                    let element = u16::try_from(index).unwrap_or(u16::MAX);
                    return Err(damaged(page, Damage::Element { element, fault }));
                }
                None => {
                    let (page, used) = (branch.page, branch.scan.used());
                    let overflow = Header::parse(&branch.bytes).map_or(0, |header| header.overflow);
                    self.branches.pop();
                    if !overflow_fits(used, overflow, self.database.meta().page_size) {
                        return Err(damaged(page, Damage::Size { pages: u64::from(overflow) + 1 }));
                    }
                }
            }
        }
    }

    /// Whether the current child contains only keys before the sought one: true if the next child starts at or before it.
    fn skips(&self) -> bool {
        let (Some(from), Some(branch)) = (&self.from, self.branches.last()) else { return false };
        let mut ahead = branch.scan.clone();
        matches!(ahead.next(&branch.bytes), Some(Ok(Element { key, .. })) if key <= from.as_slice())
    }

    fn enter(&mut self, page: u64, expected: Option<&[u8]>) -> Result<(), ReadError> {
        // Only the header is read here: a page can be long, and many damaged branches can point at it.
        let header = self.buffer.header(self.database, page)?;
        for claimed in page..=page + u64::from(header.overflow) {
            if !self.seen.insert(claimed) {
                return Err(damaged(claimed, Damage::Twice));
            }
        }
        let scan = match header.kind() {
            Some(Kind::Leaf) => Scan::leaf(header.count),
            Some(Kind::Branch) => Scan::branch(header.count),
            _ => return Err(damaged(page, Damage::Kind)),
        };
        let is_leaf = header.kind() == Some(Kind::Leaf);
        if header.count == 0 {
            return Err(damaged(page, Damage::Empty));
        }
        self.buffer.body(self.database, page, header)?;
        if let Some(Ok(first)) = scan.clone().next(&self.buffer.bytes) {
            if expected.is_some_and(|expected| expected != first.key) {
                return Err(damaged(page, Damage::FirstKey));
            }
            if is_leaf && !self.last.is_empty() && first.key <= self.last.as_slice() {
                return Err(damaged(page, Damage::Order));
            }
        }
        let bytes = std::mem::take(&mut self.buffer.bytes);
        if is_leaf {
            let at = Location { page, element: 0, inner: None };
            self.leaf = Some(Leaf { bytes, scan, at, overflow: Some(header.overflow) });
        } else if self.branches.len() < MAX_DEPTH {
            self.branches.push(Branch { page, bytes, scan });
        } else {
            return Err(damaged(page, Damage::Deep));
        }
        Ok(())
    }
}

impl Leaf {
    fn location(&self, element: u16) -> Location {
        match self.at.inner {
            Some(_) => Location { inner: Some(element), ..self.at },
            None => Location { element, ..self.at },
        }
    }
}

impl Location {
    /// The page and the element in it that contain the entry.
    fn outer(self) -> (u64, u16) {
        (self.page, self.element)
    }
}
