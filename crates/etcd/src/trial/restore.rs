//! `snapshot restore` by etcd's own program, with its hash check on.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;

use super::child::Child;
use super::fault::{Fault, Here as _};
use super::scratch::Scratch;
use super::tools::Tools;
use nightshift_store as store;

/// What the restored member is called.
pub const NAME: &str = "drill";
/// Nobody listens there: the restored member is alone, and is told another one when it starts.
const PEER: &str = "http://127.0.0.1:1";
/// How much of a program's last words is read.
const LAST_WORDS: u64 = 64 << 10;

pub async fn restore(tools: &Tools, scratch: &Scratch, snapshot: &Path, data: &Path) -> Result<(), Fault> {
    let program = &tools.restorer;
    let doing = || format!("{} cannot be run", program.path.display());
    let log = scratch.path("restore.log");
    let file = File::create(&log).here(doing)?;
    let mut arguments: Vec<OsString> = ["snapshot", "restore"].map(OsString::from).into();
    arguments.push(snapshot.into());
    arguments.extend(["--data-dir".into(), data.into()]);
    let cluster = format!("{NAME}={PEER}");
    arguments.extend(["--name", NAME, "--initial-cluster", &cluster].map(OsString::from));
    arguments.extend(["--initial-advertise-peer-urls", PEER].map(OsString::from));
    // A token of its own keeps it from ever joining the real cluster.
    arguments.extend(["--initial-cluster-token", "nightshift-drill"].map(OsString::from));
    let status = Child::start(&program.path, &arguments, &file).here(doing)?.end().await.here(doing)?;
    if status.success() {
        return Ok(());
    }
    let reason = format!("`{} snapshot restore` ended with {status}: {}", program.name(), last_words(&log));
    Err(judge(reason, status.code(), &log))
}

/// What the kernel says where it has no more of something, or a disk is broken, in Go's words.
const SCARCE: [&str; 9] = [
    "no space left on device",
    "disk quota exceeded",
    "file too large",
    "cannot allocate memory",
    "out of memory",
    "resource temporarily unavailable",
    "too many open files",
    "input/output error",
    "read-only file system",
];

/// Whether a program that failed says something about the copy: not where it was killed, or found no room.
pub fn judge(reason: String, code: Option<i32>, log: &Path) -> Fault {
    let said = tail(log);
    let scarce = SCARCE.iter().any(|words| said.contains(words));
    if code.is_none() || scarce { Fault::Here(reason) } else { Fault::Copy(reason) }
}

fn tail(log: &Path) -> String {
    String::from_utf8_lossy(&store::read_tail(log, LAST_WORDS).unwrap_or_default()).into_owned()
}

/// The last line that a program printed, cut to what a person reads.
pub fn last_words(log: &Path) -> String {
    let said = tail(log);
    let grave = ["\"level\":\"fatal\"", "\"level\":\"panic\""];
    let is_error = |line: &&str| line.starts_with("Error:") || grave.iter().any(|level| line.contains(level));
    let errors = said.lines().rev().find(is_error);
    let panics = || said.lines().find(|line| line.starts_with("panic:") || line.starts_with("fatal error:"));
    let last = || said.lines().rev().find(|line| !line.trim().is_empty());
    let line = errors.or_else(panics).or_else(last).unwrap_or("it said nothing");
    line.trim().chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_killed_program_say_nothing_about_the_copy() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let judged = |code, said: &str| {
            std::fs::write(&log, said).unwrap();
            judge("r".to_owned(), code, &log)
        };
        assert_eq!(judged(Some(1), "Error: expected sha256 [1], got [2]"), Fault::Copy("r".to_owned()));
        assert_eq!(judged(None, ""), Fault::Here("r".to_owned()));
        assert_eq!(judged(Some(1), "Error: write db: no space left on device"), Fault::Here("r".to_owned()));
        let buried = "mmap: cannot allocate memory\npanic: failed to open database\n\ngoroutine 1\n";
        assert_eq!(judged(Some(2), buried), Fault::Here("r".to_owned()));
    }

    #[test]
    fn the_line_that_says_why_is_found_among_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        for (text, found) in [
            ("{\"level\":\"info\"}\nError: expected sha256\n", "Error: expected sha256"),
            ("panic: a page\n\ngoroutine 1\nmain.go:7\n", "panic: a page"),
            ("one\ntwo\n\n", "two"),
            ("", "it said nothing"),
        ] {
            std::fs::write(&log, text).unwrap();
            assert_eq!(last_words(&log), found);
        }
    }
}
