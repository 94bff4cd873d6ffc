//! A walk that also counts the keys.

use crate::index::{IndexBuilder, IndexError, IndexOptions};
use crate::prefixes::Prefixes;
use crate::report::Report;
use crate::source::ReadAt;
use crate::walk::walk;

/// Walks a snapshot and builds an index by key, so that the report includes the number of existing keys.
pub fn survey(
    source: &(impl ReadAt + Sync),
    options: IndexOptions,
) -> Result<(Report, Prefixes), IndexError> {
    let mut builder = IndexBuilder::new(options);
    let mut report = walk(source, &mut builder).map_err(IndexError::Walk)?;
    let prefixes = Prefixes::of(&builder.finish()?)?;
    report.facts.live_keys = report.facts.revisions.map(|_| prefixes.total.keys);
    Ok((report, prefixes))
}
