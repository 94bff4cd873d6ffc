//! `nightshift inspect`: what is in a set, an archive or a snapshot.

mod archive;
mod keys;
mod list;
mod opened;
mod pager;
mod picker;
mod set;
mod snapshot;
mod target;
mod value;

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use self::opened::{Opened, open};
use self::pager::Pager;
use self::target::{Target, find, find_both};
use super::CommandError;
use crate::args::{Ask, Choice, Inspect};
use crate::exit::Exit;
use crate::out;

pub fn run(config: &Path, args: Inspect) -> Result<Exit, CommandError> {
    let mut pager = Pager::default();
    let answered = answer(config, args, &mut pager);
    // A reader that has seen enough is no error; a disk that is full is.
    match (answered, pager.end()) {
        (Err(CommandError::Output(error)), _) | (Ok(_), Err(error))
            if error.kind() == io::ErrorKind::BrokenPipe =>
        {
            Ok(Exit::Good)
        }
        (Ok(_), Err(error)) => Err(CommandError::Output(error)),
        (Ok(doubts), Ok(())) => Ok(ending(&doubts)),
        (Err(error), _) => Err(error),
    }
}

/// Answers, and gives what is doubtful about the answer.
fn answer(config: &Path, args: Inspect, out: &mut dyn Write) -> Result<Vec<String>, CommandError> {
    let Inspect { what, ask, choice, json } = args;
    if let Some(Ask::Diff { what: words, prefix }) = &ask {
        let words = match (what.as_deref(), words.as_slice()) {
            (Some(first), [second]) => [first, second.as_str()],
            (None, [first, second]) => [first.as_str(), second.as_str()],
            _ => return Err(usage("two are compared: `nightshift inspect diff WHAT WHAT`")),
        };
        let [first, second] = find_both(config, words, &choice)?;
        let mut sides = [open(first, &choice)?, open(second, &choice)?];
        let prefix = prefix.as_deref().unwrap_or_default().as_bytes();
        keys::differences(&mut sides, prefix, json, out)?;
        return Ok(sides.into_iter().flat_map(Opened::into_doubts).collect());
    }
    let Some(what) = what else {
        return Err(usage("say what to look into: a set, a night, an archive or a snapshot"));
    };
    let target = find(config, &what, &choice)?;
    let Some(ask) = ask else { return overview(target, &choice, json, out) };
    let mut opened = open(target, &choice)?;
    match ask {
        Ask::Keys { prefix } => {
            keys::keys(&mut opened, prefix.unwrap_or_default().as_bytes(), json, out)?;
        }
        Ask::History { key } => keys::revisions(&mut opened, key.as_bytes(), json, out)?,
        Ask::Get { key, rev, output } => {
            value::value(&mut opened, key.as_bytes(), rev, output, out)?;
        }
        Ask::Diff { .. } => {}
    }
    Ok(opened.into_doubts())
}

fn overview(
    target: Target,
    choice: &Choice,
    json: bool,
    out: &mut dyn Write,
) -> Result<Vec<String>, CommandError> {
    match target {
        Target::Archive { path, name } => archive::tell(&path, &name, choice, json, out),
        Target::Set { folder, manifest } => set::tell(&folder, manifest, choice, json, out),
        Target::Snapshot(path) => snapshot::tell(open(Target::Snapshot(path), choice)?, json, out),
    }
}

fn ending(doubts: &[String]) -> Exit {
    for doubt in doubts {
        out::complain(&format!("nightshift: {doubt}"));
    }
    if doubts.is_empty() { Exit::Good } else { Exit::Failed }
}

fn usage(why: &str) -> CommandError {
    CommandError::Usage(why.to_owned())
}
