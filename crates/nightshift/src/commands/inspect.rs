//! `nightshift inspect`: shows the content of a set, an archive or a snapshot.

mod archive;
mod keys;
mod list;
pub mod opened;
mod pager;
mod set;
mod snapshot;
pub mod target;
mod value;

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use self::opened::{open, query};
use self::pager::Pager;
use self::target::{Target, find, find_both};
use super::CommandError;
use crate::args::{Choice, Inspect, Query};
use crate::exit::Exit;
use crate::out;

pub fn run(config: &Path, args: Inspect) -> Result<Exit, CommandError> {
    let mut pager = Pager::default();
    let mut faults = Vec::new();
    let shown = show(config, args, &mut pager, &mut faults);
    let ended = pager.end().map_err(CommandError::Output);
    // Faults of the snapshot are reported even if the output failed.
    let exit = report(&faults);
    match shown.and(ended) {
        // The reader quit the pager before the end of the output.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit),
        Err(error) => Err(error),
        Ok(()) => Ok(exit),
    }
}

/// Writes the output, and adds the faults of the snapshot to `faults`.
fn show(
    config: &Path,
    args: Inspect,
    out: &mut dyn Write,
    faults: &mut Vec<String>,
) -> Result<(), CommandError> {
    let Inspect { what, query: queried, choice, json } = args;
    if let Some(Query::Diff { what: words, prefix }) = &queried {
        let words = match (what.as_deref(), words.as_slice()) {
            (Some(first), [second]) => [first, second.as_str()],
            (None, [first, second]) => [first.as_str(), second.as_str()],
            _ => return Err(usage("diff compares two: `nightshift inspect diff WHAT WHAT`")),
        };
        let [first, second] = find_both(config, words, &choice)?;
        let sides = [open(first, &choice)?, open(second, &choice)?];
        let prefix = prefix.as_deref().unwrap_or_default().as_bytes();
        return query(sides, faults, |sides| keys::differences(sides, prefix, json, out));
    }
    let Some(what) = what else {
        return Err(usage("name what to show: a set, a night, an archive or a snapshot"));
    };
    let target = find(config, &what, &choice)?;
    let Some(queried) = queried else { return overview(target, &choice, json, out, faults) };
    query([open(target, &choice)?], faults, |[opened]| {
        match queried {
            Query::Keys { prefix } => keys::keys(opened, prefix.unwrap_or_default().as_bytes(), json, out),
            Query::History { key } => keys::revisions(opened, key.as_bytes(), json, out),
            Query::Get { key, rev, output } => value::value(opened, key.as_bytes(), rev, output, out),
            Query::Diff { .. } => Ok(()),
        }?;
        // Show the output now: the hash of the snapshot may take longer.
        out.flush().map_err(CommandError::Output)
    })
}

fn overview(
    target: Target,
    choice: &Choice,
    json: bool,
    out: &mut dyn Write,
    faults: &mut Vec<String>,
) -> Result<(), CommandError> {
    match target {
        Target::Archive { path, name } => archive::show(&path, &name, choice, json, out),
        Target::Set { directory, manifest } => set::show(&directory, manifest, choice, json, out, faults),
        Target::Snapshot(path) => snapshot::show(open(Target::Snapshot(path), choice)?, json, out, faults),
    }
}

fn report(faults: &[String]) -> Exit {
    for fault in faults {
        out::print_error(&format!("nightshift: {fault}"));
    }
    if faults.is_empty() { Exit::Good } else { Exit::Failed }
}

fn usage(why: &str) -> CommandError {
    CommandError::Usage(why.to_owned())
}
