//! Snapshots of real members of two versions, drilled as the daemon has it done: each by its own version's programs.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use serde_json::{Value, json};

/// Lets a worker drill a snapshot of the reader's fixtures.
fn drilled(name: &str, tools: &Path) -> Value {
    let scratch = tempfile::tempdir().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/snapshot/tests/data")
        .join(format!("{name}.db.gz"));
    let job = json!({
        "copy": "the fixture",
        "stored": { "kind": "snapshot", "packing": "gzip" },
        "tools": tools,
        "scratch": scratch.path(),
        "leave": 0,
        "rate": 1u64 << 40,
        "deadline_ms": 60_000,
    });
    let (own, its) = UnixStream::pair().unwrap();
    let its = OwnedFd::from(its);
    let mut command = Command::new(kit::daemon::program().unwrap());
    command.arg("drill-worker").stdin(its.try_clone().unwrap()).stdout(Stdio::from(its));
    let mut worker = command.spawn().unwrap();
    // Otherwise the connection would not end with the worker.
    drop(command);
    send(&own, &format!("{job}\n"), &File::open(file).unwrap());
    let last = BufReader::new(&own).lines().map_while(Result::ok).last().unwrap();
    assert!(worker.wait().unwrap().success(), "{last}");
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0, "nothing is left of {name}");
    serde_json::from_str(&last).unwrap()
}

/// Sends a job with the file of its copy, as the daemon does.
fn send(stream: &UnixStream, job: &str, copy: &File) {
    let copy = [copy.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&copy));
    let sent = sendmsg(stream, &[IoSlice::new(job.as_bytes())], &mut control, SendFlags::NOSIGNAL);
    assert_eq!(sent.unwrap(), job.len());
}

fn both(what: &str) -> Vec<Value> {
    let newer = kit::lab::tools().join("etcd-3.5/usr/bin");
    let there =
        if newer.exists() { Ok(()) } else { Err("there is no etcd 3.5: cargo xtask setup".to_owned()) };
    let versions = [("3.4", Some(PathBuf::from("/usr/bin"))), ("3.5", kit::require(there).then_some(newer))];
    let drill = |(version, tools): (&str, Option<PathBuf>)| {
        let report = drilled(&format!("{version}-{what}"), &tools?);
        assert!(report["tools"].as_str().unwrap().starts_with(&format!("etcd {version}.")), "{report:#}");
        Some(report)
    };
    versions.into_iter().filter_map(drill).collect()
}

#[test]
fn a_snapshot_with_authentication_on_is_proved_by_its_user_root() {
    for report in both("auth") {
        assert_eq!(report["verdict"], "proved", "{report:#}");
    }
}

#[test]
fn a_snapshot_of_a_full_etcd_is_proved_and_the_proof_says_what_a_restore_has_to_disarm() {
    for report in both("alarm") {
        assert_eq!(report["verdict"], "proved", "{report:#}");
        let compared = report["compared"].as_array().unwrap();
        let told = compared.iter().any(|one| {
            one["what"].as_str().unwrap().starts_with("alarm NOSPACE of member ")
                && one["remark"]["note"].as_str().unwrap().contains("etcdctl alarm disarm")
        });
        assert!(told, "{report:#}");
    }
}

#[test]
fn snapshots_of_all_kinds_are_proved() {
    for what in ["empty", "few", "history", "compacted", "free", "leases", "members"] {
        for report in both(what) {
            assert_eq!(report["verdict"], "proved", "{what}: {report:#}");
        }
    }
}

#[test]
fn a_copied_database_is_no_snapshot_that_restores() {
    for report in both("copy") {
        assert_eq!(report["verdict"], "not-restorable", "{report:#}");
    }
}
