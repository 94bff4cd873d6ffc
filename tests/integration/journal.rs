//! The audit trail as journald gets it.

use std::fs;
use std::io::Write as _;

use kit::daemon::Start;
use kit::journal::Journal;
use kit::lab::Role::{BackupServer, Master, Node};
use kit::site::Plan;

use crate::support::{SOON, ends_with, good, night_of};

/// Operators filter by these ids, so they are repeated here: they must not change.
const SET_PULLED: &str = "a8daad238f114ecca8d52dfaf62008cc";
const HOST_KEY_MISMATCH: &str = "04dd1545e41844babc841278f4bf8ce0";
const SET_MISSING: &str = "5b506ec1e3b249fab0b859eae64c5097";
const RECORD_FAILED: &str = "c209f2ec0f3041ae90c8e9cdce0d0925";
const OPERATION_FAILED: &str = "0a87bf57e90b46959797046ca3879c9c";

/// Every warning and error has an id, an event's name and an outcome.
fn no_line_lacks_its_fields(journal: &Journal) {
    for entry in journal.entries().iter().filter(|entry| *entry["PRIORITY"] <= *"4") {
        for field in ["MESSAGE_ID", "NIGHTSHIFT_EVENT", "NIGHTSHIFT_OUTCOME"] {
            assert!(entry.contains_key(field), "no {field} in {entry:#?}");
        }
    }
}

#[test]
fn the_journal_has_the_whole_night_in_fields_that_can_be_filtered() {
    if !kit::require(Journal::available()) {
        return;
    }
    let plan = [("m1", &[Master][..]), ("n1", &[Node]), ("n2", &[Node]), ("backup", &[BackupServer])];
    let mut site = Plan::new(&plan).build().unwrap();
    site.host_mut("n2").sshd.change_host_key().unwrap();
    for node in ["n1", "n2"] {
        site.start(node).unwrap();
        site.settle(node).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::listen(folder.path()).unwrap();
    site.start_with("m1", &Start { journal: Some(&journal), ..Start::default() }).unwrap();
    site.settle("m1").unwrap();
    let night = night_of(&site, "m1");

    let of = |event: &str| journal.wait_for(&[("NIGHTSHIFT_EVENT", event)], SOON).unwrap();
    let pulled = of("set-pulled");
    for (field, value) in [
        ("MESSAGE_ID", SET_PULLED),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "nightshift"),
        ("NIGHTSHIFT_CLUSTER", "site"),
        ("NIGHTSHIFT_HOST", "m1.site.test"),
        ("NIGHTSHIFT_NIGHT", &night),
        ("NIGHTSHIFT_STAGE", "pull-nodes"),
        ("NIGHTSHIFT_PEER", "n1.site.test"),
        ("NIGHTSHIFT_ROLE", "node"),
        ("NIGHTSHIFT_OUTCOME", "pulled"),
    ] {
        assert_eq!(pulled.get(field).map(String::as_str), Some(value), "{field} in {pulled:#?}");
    }
    assert!(pulled["NIGHTSHIFT_BYTES"].parse::<u64>().unwrap() > 0);
    assert_eq!(pulled["NIGHTSHIFT_SHA256"].len(), 64);

    let mismatch = of("host-key-mismatch");
    assert_eq!(mismatch["MESSAGE_ID"], HOST_KEY_MISMATCH);
    assert_eq!((&*mismatch["PRIORITY"], &*mismatch["NIGHTSHIFT_PEER"]), ("3", "n2.site.test"));
    assert_eq!(mismatch["NIGHTSHIFT_OUTCOME"], "failed");
    let missing = of("set-missing");
    assert_eq!((&*missing["MESSAGE_ID"], &*missing["PRIORITY"]), (SET_MISSING, "4"));

    for event in ["daemon-started", "night-opened", "set-published", "archive-packed", "archive-shipped"] {
        of(event);
    }
    let stages =
        ["pull-etcd", "pull-nodes", "collect-master", "mirror-masters", "pack-archive", "ship-archive"];
    for stage in stages {
        let finished = [("NIGHTSHIFT_EVENT", "stage-finished"), ("NIGHTSHIFT_STAGE", stage)];
        let finished = journal.wait_for(&finished, SOON).unwrap();
        assert!(finished["NIGHTSHIFT_DURATION_MS"].parse::<u64>().is_ok());
        let wanted = if stage == "pull-nodes" || stage == "pack-archive" { "degraded" } else { "done" };
        assert_eq!(finished["NIGHTSHIFT_OUTCOME"], wanted, "{stage}");
    }
    no_line_lacks_its_fields(&journal);
}

#[test]
fn a_record_that_cannot_be_written_is_a_failed_event() {
    if !kit::require(Journal::available()) {
        return;
    }
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.between_nights("n1").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::listen(folder.path()).unwrap();
    site.start_with("n1", &Start { journal: Some(&journal), ..Start::default() }).unwrap();

    // Tests run as root too, which no mode keeps from writing; a file in the place of the directory does.
    let records = site.host("n1").state().join("records");
    fs::create_dir_all(site.host("n1").state()).unwrap();
    fs::write(&records, b"").unwrap();
    ends_with(site.run("n1", &["run", "night", "--wait"]).unwrap(), 1);
    let failed = [("NIGHTSHIFT_OUTCOME", "failed"), ("NIGHTSHIFT_EVENT", "record-failed")];
    let failed = journal.wait_for(&failed, SOON).unwrap();
    assert_eq!((&*failed["MESSAGE_ID"], &*failed["PRIORITY"]), (RECORD_FAILED, "3"), "{failed:#?}");
    assert!(failed["NIGHTSHIFT_REASON"].contains("records"), "{failed:#?}");
    no_line_lacks_its_fields(&journal);
}

#[test]
fn a_warning_without_an_event_of_its_own_can_be_filtered_too() {
    if !kit::require(Journal::available()) {
        return;
    }
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    site.stop_all().unwrap();
    let record = site.host("n1").state().join(format!("records/{}.jsonl", night_of(&site, "n1")));
    fs::OpenOptions::new().append(true).open(record).unwrap().write_all(b"no line\n").unwrap();

    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::listen(folder.path()).unwrap();
    site.start_with("n1", &Start { journal: Some(&journal), ..Start::default() }).unwrap();
    let warned = journal.wait_for(&[("MESSAGE_ID", OPERATION_FAILED)], SOON).unwrap();
    assert!(warned["MESSAGE"].contains("records/"), "{warned:#?}");
    assert_eq!(
        (&*warned["PRIORITY"], &*warned["NIGHTSHIFT_EVENT"], &*warned["NIGHTSHIFT_OUTCOME"]),
        ("4", "operation-failed", "degraded")
    );
    good(site.run("n1", &["status"]).unwrap());
    no_line_lacks_its_fields(&journal);
}
