//! What a sound snapshot does not have, in one sentence each: for both readers.

use crate::key_value::KeyValueError;
use crate::meta::MetaError;
use crate::page::Fault;

/// How many findings are kept; the rest is counted.
const MOST: usize = 100;

/// Something that a sound snapshot does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("the SHA-256 at the end is not that of the content: it was damaged or cut off on its way")]
    TrailerWrong,
    #[error("there is no SHA-256 at the end: {length} bytes is no length of a whole snapshot")]
    TrailerAbsent { length: u64 },
    #[error("this is no etcd database: neither of its two meta pages is readable")]
    NotAnEtcdDatabase,
    #[error("meta page {page}: {error}")]
    Meta { page: u8, error: MetaError },
    #[error("the metas disagree, as they do in a file that was copied while etcd ran")]
    MetasDisagree,
    #[error("its metas say pages of {} and of {} bytes, but a database has one size of pages", sizes[0], sizes[1])]
    PageSizes { sizes: [u32; 2] },
    #[error("it has {length} bytes, but {pages} pages of {page_size} bytes and a trailer are {expected}")]
    Length { length: u64, pages: u64, page_size: u32, expected: u64 },
    #[error(
        "it has {pages} pages, but a stream is checked up to {most}: `nightshift inspect` reads all of a file"
    )]
    TooManyPages { pages: u64, most: u64 },
    #[error("page {page}: {damage}")]
    Page { page: u64, damage: Damage },
    #[error("bucket `{bucket}` is missing: every database of etcd has it")]
    NoBucket { bucket: &'static str },
    #[error("`{key}` of bucket `{bucket}` has a value that etcd never writes, and may not start on")]
    Value { bucket: &'static str, key: &'static str },
    #[error(
        "its compaction to revision {scheduled} was begun but {finished} is what was finished, which is later"
    )]
    Compaction { scheduled: u64, finished: u64 },
}

/// What is wrong with one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it lies past the end, so what it held is lost")]
    PastEnd,
    #[error("its header says that it is page {says}: it was written to the wrong place, or overwritten")]
    Id { says: u64 },
    #[error("its header's flags {0:#06x} are those of no kind of page")]
    Flags(u16),
    #[error("its kind is not the one that its place in the tree asks for")]
    Kind,
    #[error("it claims {pages} pages, which is more than there are or than any entry needs")]
    Overflow { pages: u64 },
    #[error("it claims {pages} pages, but what it holds needs another number of them")]
    Size { pages: u64 },
    #[error("it is empty, which no page of a tree is: what it held is lost")]
    Empty,
    #[error("its element {element} {fault}")]
    Element { element: u16, fault: Fault },
    #[error("its first key is not the one that its parent knows it by, so a search would go astray")]
    FirstKey,
    #[error(
        "one of its children does not begin with the key that it knows it by, so a search would go astray"
    )]
    ChildKeys,
    #[error("its keys are not past those of the page before it, so a search would miss them")]
    Order,
    #[error("it was reached twice: a change of one place would change another")]
    Twice,
    #[error("it lies deeper than any tree of this size can be")]
    Deep,
    #[error("its element {element} is a bucket that is not as long as it says")]
    Bucket { element: u16 },
    #[error("its element {element} is a bucket where none can be")]
    NestedBucket { element: u16 },
    #[error("its element {element} is no bucket, among the buckets")]
    NotABucket { element: u16 },
    #[error("its element {element} is {what}")]
    Revision { element: u16, what: Misfit },
    #[error("it is in use and in the list of free pages: the next write would overwrite it")]
    InUseAndFree,
    #[error("it is twice in the list of free pages: two writes would share it")]
    FreeTwice,
    #[error("it is neither in use nor in the list of free pages: it is lost to etcd")]
    Lost,
    #[error("it is listed as free, but is no page of this file")]
    FreePastEnd,
    #[error("the list of free pages does not fit into it")]
    Freelist,
    #[error("too many pages claim its place: it was not checked")]
    Unchecked,
}

/// What an entry of bucket `key` is where it should be a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("no revision, in the bucket of revisions")]
    NotARevision,
    #[error("no change that can be read: {0}")]
    KeyValue(KeyValueError),
    #[error("a change without a key")]
    NoKey,
    #[error("a change of a key that is longer than any request to etcd")]
    LongKey,
    #[error("a change that says it was made in another revision")]
    ModRevision,
    #[error("a change that says it was created after it was made")]
    CreateRevision,
    #[error("a change whose version is not positive")]
    Version,
    #[error("a deletion that holds more than the key that it deletes")]
    Tombstone,
}

impl Finding {
    /// The page it is about, where it is about one.
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
        if self.kept.len() < MOST {
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
    fn no_more_findings_are_kept_than_a_person_reads() {
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
            "page 12: its element 3 is no change that can be read: it ends within a field"
        );
    }
}
