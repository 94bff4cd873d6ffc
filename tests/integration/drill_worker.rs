//! Snapshots of real members of two versions, drilled as the daemon has it done: each by its own version's programs.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Lets a worker drill a snapshot of the reader's fixtures.
fn drilled(name: &str, tools: &Path) -> Value {
    drilled_with(name, &json!({ "tools": tools }), &[])
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/snapshot/tests/data").join(format!("{name}.db.gz"))
}

/// The same with further fields of the job, and with further files.
fn drilled_with(name: &str, further: &Value, files: &[File]) -> Value {
    let scratch = tempfile::tempdir().unwrap();
    let mut job = json!({
        "copy": "the fixture",
        "stored": { "kind": "snapshot", "packing": "gzip" },
        "scratch": scratch.path(),
        "leave": 0,
        "rate": 1u64 << 40,
        "deadline_ms": 60_000,
    });
    job.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    let (own, its) = UnixStream::pair().unwrap();
    let its = OwnedFd::from(its);
    let mut command = Command::new(kit::daemon::program().unwrap());
    command.arg("drill-worker").stdin(its.try_clone().unwrap()).stdout(Stdio::from(its));
    let mut worker = command.spawn().unwrap();
    // Otherwise the connection would not end with the worker.
    drop(command);
    let copy = File::open(fixture(name)).unwrap();
    send(&own, &format!("{job}\n"), std::iter::once(&copy).chain(files));
    let last = BufReader::new(&own).lines().map_while(Result::ok).last().unwrap();
    assert!(worker.wait().unwrap().success(), "{last}");
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0, "nothing is left of {name}");
    serde_json::from_str(&last).unwrap()
}

/// Sends a job with its files, as the daemon does.
fn send<'f>(stream: &UnixStream, job: &str, files: impl Iterator<Item = &'f File>) {
    let files: Vec<_> = files.map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    let sent = sendmsg(stream, &[IoSlice::new(job.as_bytes())], &mut control, SendFlags::NOSIGNAL);
    assert_eq!(sent.unwrap(), job.len());
}

fn both(what: &str) -> Vec<Value> {
    let newer = kit::lab::tools().join("etcd-3.5/usr/bin");
    let there =
        if newer.exists() { Ok(()) } else { Err("etcd 3.5 is missing; run cargo xtask setup".to_owned()) };
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

/// The etcd programs of a container, as files and as the job names them.
fn of_container(folder: &Path, version: &str) -> (Value, Vec<File>) {
    let program = |name: &str| {
        let content = std::fs::read(folder.join(name)).unwrap();
        let sha256: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "name": name, "path": "/rootfs", "sha256": sha256, "size": content.len() })
    };
    let (etcd, restorer) = (program("etcd"), program("etcdutl"));
    let kept =
        json!({ "version": version, "container": "0123456789abcdef", "etcd": etcd, "restorer": restorer });
    (kept, ["etcd", "etcdutl"].map(|name| File::open(folder.join(name)).unwrap()).into())
}

#[test]
fn programs_of_a_container_are_run_where_the_installed_ones_have_another_version_than_the_copy() {
    let newer = kit::lab::tools().join("etcd-3.5/usr/bin");
    let there =
        if newer.exists() { Ok(()) } else { Err("etcd 3.5 is missing; run cargo xtask setup".to_owned()) };
    if !kit::require(there) {
        return;
    }
    let printed = Command::new(newer.join("etcd")).arg("--version").output().unwrap().stdout;
    let printed = String::from_utf8(printed).unwrap();
    let version = printed.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    // The facts of the copy, whose version decides.
    let unpacked = Command::new("gunzip").arg("-c").arg(fixture("3.5-few")).output().unwrap().stdout;
    let sha256: String = Sha256::digest(&unpacked).iter().map(|byte| format!("{byte:02x}")).collect();
    let facts = json!({
        "cluster_id": "c", "member_id": "a", "member_name": "e1", "revision": 1, "raft_term": 1, "version": version,
        "learner": false, "leader": true, "raw_size": unpacked.len(), "raw_sha256": sha256, "checked": "",
    });
    let drill = |kept: &Value, files: &[File]| {
        drilled_with("3.5-few", &json!({ "facts": facts, "container": kept }), files)
    };
    let (kept, files) = of_container(&newer, &version);
    let report = drill(&kept, &files);
    assert_eq!(report["verdict"], "proved", "{report:#}");
    let tools = report["tools"].as_str().unwrap();
    assert!(tools.ends_with("of the member's container 0123456789ab"), "{tools}");
    for program in report["programs"].as_array().unwrap() {
        let name = if program["name"] == "etcd" { "etcd" } else { "restorer" };
        assert_eq!(program["sha256"], kept[name]["sha256"], "{report:#}");
    }

    let refused = |kept: &Value, files: &[File]| {
        let report = drill(kept, files);
        assert_eq!(report["verdict"], "not-proved", "{report:#}");
        report["reason"].as_str().unwrap().to_owned()
    };
    let (other, files) = of_container(&newer, "3.5.999");
    let reason = refused(&other, &files);
    assert!(reason.contains(&format!("has version {version}, but the member had 3.5.999")), "{reason}");
    let (mut changed, files) = of_container(&newer, &version);
    changed["restorer"]["sha256"] = kept["etcd"]["sha256"].clone();
    let reason = refused(&changed, &files);
    assert!(reason.starts_with("the etcdutl of the member's container is not the file"), "{reason}");
}
