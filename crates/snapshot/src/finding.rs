//! The defects that both readers report, one sentence each.

use crate::key_value::KeyValueError;
use crate::meta::MetaError;
use crate::page::Fault;

/// How many findings are kept; further ones are only counted.
const MAX_KEPT: usize = 100;

/// A defect: a sound snapshot has none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("the SHA-256 at the end does not match the content: the snapshot was damaged or truncated")]
    TrailerWrong,
    #[error("the SHA-256 at the end is missing: the snapshot was truncated ({length} bytes)")]
    TrailerAbsent { length: u64 },
    #[error("not an etcd database: neither of the two meta pages is readable")]
    NotAnEtcdDatabase,
    #[error("meta page {page}: {error}")]
    Meta { page: u8, error: MetaError },
    #[error("the two meta pages do not match, as in a file that was copied while etcd ran")]
    MetasDisagree,
    #[error("the two meta pages have different page sizes: {} and {} bytes", sizes[0], sizes[1])]
    PageSizes { sizes: [u32; 2] },
    #[error(
        "the length is {length} bytes, but {pages} pages of {page_size} bytes and the trailer have {expected}"
    )]
    Length { length: u64, pages: u64, page_size: u32, expected: u64 },
    #[error(
        "the database has {pages} pages, but a stream is checked only up to {max}; check the whole file with `nightshift inspect`"
    )]
    TooManyPages { pages: u64, max: u64 },
    #[error("page {page}: {damage}")]
    Page { page: u64, damage: Damage },
    #[error("the bucket `{bucket}` is missing, which every etcd database has")]
    NoBucket { bucket: &'static str },
    #[error("`{key}` in the bucket `{bucket}` has an invalid value; etcd may not start with it")]
    Value { bucket: &'static str, key: &'static str },
    #[error("the compaction to revision {finished} is finished, but only {scheduled} was scheduled")]
    Compaction { scheduled: u64, finished: u64 },
}

/// What is wrong with one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it is past the end of the file, so its content is lost")]
    PastEnd,
    #[error("its header has the page number {found}: it was overwritten, or written to the wrong position")]
    Id { found: u64 },
    #[error("its header has invalid flags ({0:#06x})")]
    Flags(u16),
    #[error("it has the wrong type for its position in the tree")]
    Kind,
    #[error("its header claims {pages} pages, which is more than the file has or an entry needs")]
    Overflow { pages: u64 },
    #[error("its header claims {pages} pages, but its content needs another number of pages")]
    Size { pages: u64 },
    #[error("it is empty, so its content is lost")]
    Empty,
    #[error("its element {element} {fault}")]
    Element { element: u16, fault: Fault },
    #[error("its first key differs from the key in its parent, so etcd would not find its keys")]
    FirstKey,
    #[error(
        "the first key of one of its children differs from the key in this page, so etcd would not find that child's keys"
    )]
    ChildKeys,
    #[error("its keys are not greater than those of the previous page, so etcd would not find them")]
    Order,
    #[error("it is used twice, so a change in one place would change the other")]
    Twice,
    #[error("it is deeper in the tree than any valid database")]
    Deep,
    #[error("its element {element} is a bucket with an invalid length or header")]
    Bucket { element: u16 },
    #[error("its element {element} is a bucket, which is invalid here")]
    NestedBucket { element: u16 },
    #[error("its element {element} is not a bucket, but only buckets are valid here")]
    NotABucket { element: u16 },
    #[error("its element {element} is {what}")]
    Revision { element: u16, what: Misfit },
    #[error("it is in use and also in the list of free pages, so the next write would overwrite it")]
    InUseAndFree,
    #[error("it is in the list of free pages twice, so two writes would share it")]
    FreeTwice,
    #[error("it is neither in use nor in the list of free pages, so etcd can never use it")]
    Lost,
    #[error("it is in the list of free pages, but does not exist in this file")]
    FreePastEnd,
    #[error("it is too short for its list of free pages")]
    Freelist,
    #[error("it was not checked, because too many overlapping pages claim its position")]
    Unchecked,
}

/// Why an entry of the bucket `key` is not a valid change; it completes "its element N is …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("not a revision, but the bucket `key` contains only revisions")]
    NotARevision,
    #[error("not a readable change: {0}")]
    KeyValue(KeyValueError),
    #[error("a change without a key")]
    NoKey,
    #[error("a change with a key that is longer than any request to etcd")]
    LongKey,
    #[error("a change whose revision differs from the entry's key")]
    ModRevision,
    #[error("a change whose creation revision is later than its revision")]
    CreateRevision,
    #[error("a change whose version is not positive")]
    Version,
    #[error("a deletion that contains more than its key")]
    Tombstone,
}

impl Finding {
    /// The page it refers to, if it refers to one.
    pub fn page(&self) -> Option<u64> {
        match self {
            Self::Page { page, .. } => Some(*page),
            Self::Meta { page, .. } => Some(u64::from(*page)),
            _ => None,
        }
    }
}

/// The first findings, and how many more there were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    pub kept: Vec<Finding>,
    pub further: u64,
}

impl Findings {
    pub fn push(&mut self, finding: Finding) {
        if self.kept.len() < MAX_KEPT {
            self.kept.push(finding);
        } else {
            self.further += 1;
        }
    }

    pub fn page(&mut self, page: u64, damage: Damage) {
        self.push(Finding::Page { page, damage });
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub fn extend(&mut self, others: Self) {
        others.kept.into_iter().for_each(|finding| self.push(finding));
        self.further += others.further;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_findings_are_kept_and_the_rest_is_counted() {
        let mut findings = Findings::default();
        for page in 0..250 {
            findings.page(page, Damage::Twice);
        }
        assert_eq!((findings.kept.len(), findings.further), (100, 150));
        assert_eq!(findings.kept[99].page(), Some(99));
    }

    #[test]
    fn a_finding_is_one_plain_sentence() {
        let damage = Damage::Revision { element: 3, what: Misfit::KeyValue(KeyValueError::Cut) };
        assert_eq!(
            Finding::Page { page: 12, damage }.to_string(),
            "page 12: its element 3 is not a readable change: it ends within a field"
        );
    }
}
