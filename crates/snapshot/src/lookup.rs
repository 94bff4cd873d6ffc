//! Looks up one key: its value at a revision, or its history. The bucket `key` is read once; nothing is sorted.

use std::ops::ControlFlow;

use crate::change::Change;
use crate::database::Database;
use crate::finding::{Damage, Finding, Findings};
use crate::index::KeyRevision;
use crate::read_error::ReadError;
use crate::revision::RevisionKey;
use crate::source::ReadAt;

/// The result of looking up a key. If there are findings, the key may be in a damaged part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The newest revision of the key; it may be a deletion.
    pub revision: Option<KeyRevision>,
    pub value: Vec<u8>,
    /// The main revision of the last change that was read.
    pub last: u64,
    pub findings: Findings,
}

/// Visits all changes in the order of revisions, and skips damaged parts, which are returned as findings.
pub fn scan<S: ReadAt>(
    database: &Database<S>,
    mut visit: impl FnMut(&Change<'_>) -> ControlFlow<()>,
) -> Result<Findings, ReadError> {
    let mut findings = Findings::default();
    let Some(bucket) = database.bucket(b"key")? else {
        findings.push(Finding::NoBucket { bucket: "key" });
        return Ok(findings);
    };
    let mut cursor = database.cursor(&bucket)?;
    loop {
        let entry = match cursor.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(findings),
            Err(ReadError::Damaged(finding)) => {
                findings.push(finding);
                continue;
            }
            Err(error) => return Err(error),
        };
        match Change::parse(entry.key, entry.value) {
            Ok(change) => {
                if visit(&change).is_break() {
                    return Ok(findings);
                }
            }
            Err(what) => findings.page(entry.at.page, Damage::Revision { element: entry.at.element, what }),
        }
    }
}

/// The newest value of a key, or its value at a revision.
pub fn get<S: ReadAt>(database: &Database<S>, key: &[u8], revision: Option<u64>) -> Result<Found, ReadError> {
    let mut found = Found::default();
    found.findings = scan(database, |change| {
        found.last = change.revision.main;
        if revision.is_some_and(|newest| change.revision.main > newest) {
            return ControlFlow::Break(());
        }
        if change.content.key == key {
            found.revision = Some(KeyRevision::of(change, false));
            found.value.clear();
            found.value.extend_from_slice(change.content.value);
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Visits all stored revisions of a key (those that were not compacted), oldest first.
pub fn history<S: ReadAt>(
    database: &Database<S>,
    key: &[u8],
    mut visit: impl FnMut(KeyRevision) -> ControlFlow<()>,
) -> Result<Findings, ReadError> {
    scan(database, |change| {
        if change.content.key == key {
            return visit(KeyRevision::of(change, false));
        }
        ControlFlow::Continue(())
    })
}

/// The revision up to which the database was compacted; `None` if it was never compacted.
pub fn compacted<S: ReadAt>(database: &Database<S>) -> Result<Option<u64>, ReadError> {
    let Some(bucket) = database.bucket(b"meta")? else { return Ok(None) };
    let mut cursor = database.cursor(&bucket)?;
    let name: &[u8] = b"scheduledCompactRev";
    cursor.seek(name);
    let stored = cursor.next()?.filter(|entry| entry.key == name);
    Ok(stored.and_then(|entry| RevisionKey::parse(entry.value)).map(|at| at.revision.main))
}
