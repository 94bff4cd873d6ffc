//! `nightshift inspect`: what is in a set, an archive or a snapshot.

mod archive;
mod keys;
mod list;
mod opened;
mod pager;
mod set;
mod snapshot;
mod target;
mod value;

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use self::opened::{ask, open};
use self::pager::Pager;
use self::target::{Target, find, find_both};
use super::CommandError;
use crate::args::{Ask, Choice, Inspect};
use crate::exit::Exit;
use crate::out;

pub fn run(config: &Path, args: Inspect) -> Result<Exit, CommandError> {
    let mut pager = Pager::default();
    let mut doubts = Vec::new();
    let answered = answer(config, args, &mut pager, &mut doubts);
    let ended = pager.end().map_err(CommandError::Output);
    // Whatever became of the answer: what is doubtful about it is said.
    let exit = ending(&doubts);
    match answered.and(ended) {
        // A reader that has seen enough is no error; a disk that is full is.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit),
        Err(error) => Err(error),
        Ok(()) => Ok(exit),
    }
}

/// Answers, and adds what is doubtful about the answer to `doubts`.
fn answer(
    config: &Path,
    args: Inspect,
    out: &mut dyn Write,
    doubts: &mut Vec<String>,
) -> Result<(), CommandError> {
    let Inspect { what, ask: asked, choice, json } = args;
    if let Some(Ask::Diff { what: words, prefix }) = &asked {
        let words = match (what.as_deref(), words.as_slice()) {
            (Some(first), [second]) => [first, second.as_str()],
            (None, [first, second]) => [first.as_str(), second.as_str()],
            _ => return Err(usage("two are compared: `nightshift inspect diff WHAT WHAT`")),
        };
        let [first, second] = find_both(config, words, &choice)?;
        let sides = [open(first, &choice)?, open(second, &choice)?];
        let prefix = prefix.as_deref().unwrap_or_default().as_bytes();
        return ask(sides, doubts, |sides| keys::differences(sides, prefix, json, out));
    }
    let Some(what) = what else {
        return Err(usage("say what to look into: a set, a night, an archive or a snapshot"));
    };
    let target = find(config, &what, &choice)?;
    let Some(asked) = asked else { return overview(target, &choice, json, out, doubts) };
    ask([open(target, &choice)?], doubts, |[opened]| {
        match asked {
            Ask::Keys { prefix } => keys::keys(opened, prefix.unwrap_or_default().as_bytes(), json, out),
            Ask::History { key } => keys::revisions(opened, key.as_bytes(), json, out),
            Ask::Get { key, rev, output } => value::value(opened, key.as_bytes(), rev, output, out),
            Ask::Diff { .. } => Ok(()),
        }?;
        // The hash may take longer than the answer.
        out.flush().map_err(CommandError::Output)
    })
}

fn overview(
    target: Target,
    choice: &Choice,
    json: bool,
    out: &mut dyn Write,
    doubts: &mut Vec<String>,
) -> Result<(), CommandError> {
    match target {
        Target::Archive { path, name } => archive::tell(&path, &name, choice, json, out),
        Target::Set { folder, manifest } => set::tell(&folder, manifest, choice, json, out, doubts),
        Target::Snapshot(path) => snapshot::tell(open(Target::Snapshot(path), choice)?, json, out, doubts),
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
