//! `inspect … keys`, `inspect … history` and `inspect diff`: lists of keys.

use std::io::Write;
use std::ops::ControlFlow;

use nightshift_snapshot::{
    Difference, Findings, IndexError, IndexOptions, Key, KeyIndex, KeyRevision, diff, history,
};
use serde::Serialize;

use super::list::{JsonKey, JsonRevision, List, shown};
use super::opened::Opened;
use crate::commands::CommandError;
use crate::out;

#[derive(Serialize)]
struct KeyRow<'k> {
    #[serde(flatten)]
    key: JsonKey<'k>,
    #[serde(flatten)]
    newest: JsonRevision,
}

pub fn keys(opened: &mut Opened, prefix: &[u8], json: bool, out: &mut dyn Write) -> Result<(), CommandError> {
    let index = sorted(opened, false)?;
    let failed = |source| unsorted(&opened.what, source);
    let mut list = List::new(out, json, "    REVISION   VERSION        SIZE  KEY\n");
    for key in index.live(prefix).map_err(failed)? {
        let Key { newest, .. } = key.map_err(failed)?;
        let row = KeyRow { key: JsonKey::of(&newest.key), newest: JsonRevision::of(&newest) };
        list.row(&row, || {
            let KeyRevision { revision, version, value_size, key, .. } = &newest;
            format!("{:12}{version:10}{value_size:12}  {}", revision.main, shown(key))
        })?;
    }
    list.end()
}

/// Lists every revision of one key; an error if there is none.
pub fn revisions(
    opened: &mut Opened,
    key: &[u8],
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let mut list = List::new(out, json, "    REVISION   VERSION        SIZE  WHAT\n");
    let mut written = Ok(());
    let read = history(&opened.database, key, |revision| {
        written = list.row(&JsonRevision::of(&revision), || {
            let what = if revision.tombstone { "deleted" } else { "written" };
            let KeyRevision { version, value_size, .. } = revision;
            format!("{:12}{version:10}{value_size:12}  {what}", revision.revision.main)
        });
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let findings = read.map_err(CommandError::failed(format!("cannot read {}", opened.what)))?;
    opened.add_damage(findings);
    written?;
    if list.count == 0 {
        return Err(opened.no_such_key(key, None));
    }
    list.end()
}

#[derive(Serialize)]
struct DifferenceRow<'k> {
    #[serde(flatten)]
    key: JsonKey<'k>,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<JsonRevision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<JsonRevision>,
}

/// Lists the keys that were added, removed or changed from the first to the second, and prints how many of each there are.
pub fn differences(
    sides: &mut [Opened; 2],
    prefix: &[u8],
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let [before, after] = sides;
    let indexes = [sorted(before, true)?, sorted(after, true)?];
    let failed = |source| unsorted(&format!("{} and {}", before.what, after.what), source);
    let mut list = List::new(out, json, "CHANGE       REVISION        SIZE  KEY\n");
    let mut counts = [0u64; 3];
    for difference in diff(&indexes[0], &indexes[1], prefix).map_err(failed)? {
        let difference = difference.map_err(failed)?;
        let (kind, change, before, after) = match &difference {
            Difference::Added(key) => (0, "added", None, Some(key)),
            Difference::Removed(key) => (1, "removed", Some(key), None),
            Difference::Changed { before, after } => (2, "changed", Some(before), Some(after)),
        };
        counts[kind] += 1;
        let side = |key: Option<&Key>| key.map(|key| JsonRevision::of(&key.newest));
        let key = JsonKey::of(difference.key());
        let row = DifferenceRow { key, change, before: side(before), after: side(after) };
        list.row(&row, || {
            let newest = after.or(before).map(|key| &key.newest);
            let (revision, size) = newest.map_or((0, 0), |newest| (newest.revision.main, newest.value_size));
            format!("{change:9}{revision:12}{size:12}  {}", shown(difference.key()))
        })?;
    }
    list.end()?;
    out.flush().map_err(CommandError::Output)?;
    let [added, removed, changed] = counts;
    out::print_error(&format!("{added} added, {removed} removed, {changed} changed"));
    Ok(())
}

fn sorted(opened: &mut Opened, hashes: bool) -> Result<KeyIndex, CommandError> {
    let options = IndexOptions::in_directory(&opened.scratch);
    let options = if hashes { options.with_hashes() } else { options };
    let (index, findings) =
        KeyIndex::of(&opened.database, options).map_err(|source| unsorted(&opened.what, source))?;
    opened.add_damage(findings);
    Ok(index)
}

fn unsorted(what: &str, source: IndexError) -> CommandError {
    CommandError::failed(format!("cannot list the keys of {what}"))(source)
}

impl Opened {
    /// Adds damage to the faults, and remembers that a key that is not found may be in the damaged parts.
    pub fn add_damage(&mut self, findings: Findings) {
        self.partly |= !findings.is_empty();
        self.add_faults(findings);
    }

    /// What to add to the message that a key, or a revision of it, was not found.
    pub fn damage_hint(&self) -> &'static str {
        if self.partly { " (but parts of the snapshot are damaged and were not read)" } else { "" }
    }

    /// The error for a key that was not found, with the likely reason.
    pub fn no_such_key(&self, key: &[u8], revision: Option<u64>) -> CommandError {
        let at = revision.map(|revision| format!(" at revision {revision}")).unwrap_or_default();
        let compacted = nightshift_snapshot::compacted(&self.database).ok().flatten();
        let reason = match (revision, compacted) {
            _ if self.partly => self.damage_hint().to_owned(),
            (Some(revision), Some(compacted)) if revision < compacted => {
                format!(" (revisions before {compacted} were compacted)")
            }
            _ => String::new(),
        };
        CommandError::Absent(format!("{} has no key `{}`{at}{reason}", self.what, shown(key)))
    }
}
