//! Snapshots of real members of two versions, drilled as the daemon has it done: each by its own version's programs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Lets a worker drill a snapshot of the reader's fixtures.
fn drilled(name: &str, tools: &Path) -> Value {
    let scratch = tempfile::tempdir().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/snapshot/tests/data")
        .join(format!("{name}.db.gz"));
    let job = json!({
        "copy": "the fixture",
        "stored": { "kind": "snapshot", "file": file, "packing": "gzip" },
        "tools": tools,
        "scratch": scratch.path(),
        "leave": 0,
        "rate": 1u64 << 40,
        "deadline_ms": 60_000,
    });
    let mut worker = Command::new(kit::daemon::program().unwrap())
        .arg("drill-worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its end would tell the worker that nobody waits.
    let mut input = worker.stdin.take().unwrap();
    writeln!(input, "{job}").unwrap();
    let words = BufReader::new(worker.stdout.take().unwrap()).lines();
    let last = words.map_while(Result::ok).last().unwrap();
    drop(input);
    assert!(worker.wait().unwrap().success(), "{last}");
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0, "nothing is left of {name}");
    serde_json::from_str(&last).unwrap()
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
