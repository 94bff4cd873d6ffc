//! One act of a restore, by the real program as root of a namespace of its own.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use kit::journal::Journal;
use kit::lab::cmd::poll;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::SOON;

/// Hides what an act would change below file systems of the test's own; `$1` is visible as /srv.
const ENTER: &str = "mount -t tmpfs none /var/lib && mount --bind \"$1\" /srv && shift && exec \"$@\"";
const STATE: &str = "/var/lib/nightshift-restore";

fn available() -> bool {
    kit::require(Journal::available())
}

fn entered(directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", ENTER, "sh"]).arg(directory).args(words);
    command
}

fn program() -> String {
    kit::daemon::program().unwrap().display().to_string()
}

/// A request that puts one file in place.
fn request(content: &str) -> String {
    let sha256: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let file = json!({
        "path": "/srv/sub/file", "kind": "file", "size": content.len(), "sha256": sha256,
        "owner": { "uid": 0, "gid": 0 }, "mode": "0640", "modified": "2026-11-28T21:00:00Z",
    });
    let act = json!({ "put-files": { "files": [file] } });
    json!({ "format": 1, "plan": "2026-11-28-1f3a9c2b", "step": "5.1", "act": act }).to_string() + "\n"
}

#[test]
fn a_file_of_another_file_system_is_moved_aside_on_that_file_system() {
    if !available() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    fs::write(directory.path().join("sub/file"), "old").unwrap();
    let listing = format!("\"$1\" restore act && cat {STATE}/2026-11-28-1f3a9c2b/journal");
    let mut child = entered(directory.path(), &["sh", "-c", &listing, "sh", &program()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all((request("new") + "new").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!(lines[0].pointer("/done/changed"), Some(&json!(true)), "{lines:?}");
    let events: Vec<&str> = lines[1..].iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(events, ["begun", "placed", "done"]);
    let before = lines[2]["before"].as_str().unwrap().strip_prefix("/srv/").unwrap();
    assert!(before.starts_with(".nightshift-restore-2026-11-28-1f3a9c2b/before/"), "{before}");
    assert_eq!(fs::read_to_string(directory.path().join(before)).unwrap(), "old");
    assert_eq!(fs::read_to_string(directory.path().join("sub/file")).unwrap(), "new");
}

#[test]
fn an_act_whose_client_is_killed_continues_to_its_end() {
    if !available() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut child = entered(directory.path(), &[&program(), "restore", "act"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    input.write_all(request(&"x".repeat(4 << 20)).as_bytes()).unwrap();
    // More than a pipe takes: the program reads it.
    input.write_all(&vec![b'x'; 2 << 20]).unwrap();
    // The hang-up of a terminal, to the program itself: it has taken the place of the shell.
    let program = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(program, rustix::process::Signal::HUP).unwrap();
    input.write_all(&vec![b'x'; 2 << 20]).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
    let file = directory.path().join("sub/file");
    poll("the whole file", SOON, || match fs::metadata(&file) {
        Ok(metadata) if metadata.len() == 4 << 20 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
}
