#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::Path;

use nightshift_core::fixtures;
use nightshift_core::metrics::{families, render};
use nightshift_core::name::RemoteName;
use nightshift_core::outcome::{Grade, Outcome, Verdict};
use nightshift_core::proof::{DrillVerdict, Proof, Statement};
use nightshift_core::record::{Expected, Line, Recheck, Rechecked, Step};
use nightshift_core::role::{Role, Roles};
use nightshift_core::set_path::SetId;

use super::*;
use crate::retention::{self, Stay};
use crate::status::{night_report, report};
use crate::testing::{host, publish, put_proof, settings};

/// A master that is an etcd host, with its own sets of two nights and a record of each, and a node.
fn master(dir: &Path) -> Settings {
    let mut m1 = host("m1", Role::Master);
    m1.roles = Roles::NONE.with(Role::Master).with(Role::Etcd);
    let settings = settings(dir, vec![m1, host("n1", Role::Node), host("n2", Role::Node)]);
    let vault = Vault::of(&settings);
    fs::create_dir_all(settings.paths.records()).unwrap();
    for night in ["2026-01-01", "2026-01-02"] {
        for (host, role) in [("m1", Role::Etcd), ("m1", Role::Master), ("n1", Role::Node)] {
            publish(&vault, &set(host, night, role), Grade::Good);
        }
        record(&settings, night);
    }
    settings
}

fn set(host: &str, night: &str, role: Role) -> SetId {
    SetId { host: host.parse().unwrap(), night: night.parse().unwrap(), role, attempt: 1 }
}

/// A closed record of a night in which the node n2 delivered nothing.
fn record(settings: &Settings, night: &str) {
    let opened: Timestamp = format!("{night}T21:00:00Z").parse().unwrap();
    let expected = |host: &str, role| Expected {
        host: host.parse().unwrap(),
        role,
        new: false,
        any: false,
        last_good: None,
    };
    let stored = |host: &str, role| {
        let report = nightshift_core::record::SetReport {
            set: set(host, night, role),
            fate: nightshift_core::record::Fate::Pulled,
            grade: Some(Grade::Good),
            from: None,
            bytes: 1,
            sha256: None,
            reason: None,
            verified: None,
        };
        Step::Set(report)
    };
    let steps = [
        Step::Opened {
            format: 1,
            night: night.parse().unwrap(),
            host: "m1".parse().unwrap(),
            version: "1".into(),
            closes: opened,
            expected: [("m1", Role::Etcd), ("n1", Role::Node), ("n2", Role::Node)]
                .map(|(host, role)| expected(host, role))
                .into(),
            stages: vec![Stage::PullNodes],
            remotes: Vec::new(),
            restored: None,
            backup: None,
            tolerate: None,
        },
        stored("m1", Role::Etcd),
        stored("n1", Role::Node),
        Step::Seen { master: "m2".parse().unwrap(), sets: [set("m1", night, Role::Etcd)].into() },
        Step::Ended {
            stage: Stage::PullNodes,
            attempt: 1,
            outcome: Outcome::Degraded,
            reason: None,
            duration_ms: 2500,
        },
        Step::Closed { verdict: Verdict::Degraded, reasons: Vec::new() },
    ];
    let lines = steps.map(|step| Line { at: opened, step });
    let record = Record::from_lines(lines).unwrap();
    Records::new(settings.paths.records()).close(&record).unwrap();
}

fn facts_of(settings: &Settings) -> Facts {
    let now = Timestamp::now();
    with_facts(settings, report(settings, now).unwrap(), now).unwrap().facts.unwrap()
}

#[test]
fn the_facts_are_those_of_the_records_and_of_the_vault() {
    let dir = tempfile::tempdir().unwrap();
    let settings = master(dir.path());
    let facts = facts_of(&settings);
    let sets: Vec<String> = facts.sets.iter().map(|set| format!("{} {}", set.host, set.role)).collect();
    assert_eq!(sets, ["m1 master", "m1 etcd", "n1 node"], "n2 has none");
    assert_eq!(facts.missing, [(Role::Etcd, 0), (Role::Node, 1)].into());
    assert_eq!(facts.awaiting.values().sum::<u32>(), 0);
    let [snapshot] = &facts.snapshots[..] else { panic!("{:?}", facts.snapshots) };
    assert_eq!((snapshot.copies, snapshot.revision > 0), (Some(2), true));
    let closed = facts.last_closed.unwrap();
    assert_eq!((closed.verdict, closed.at.to_string()), (Verdict::Degraded, "2026-01-02T21:00:00Z".into()));
    assert_eq!(facts.last_restorable.unwrap().to_string(), "2026-01-02T21:00:00Z");
    let run = facts.stages[&Stage::PullNodes];
    assert_eq!((run.outcome, run.duration_ms), (Outcome::Degraded, 2500));
    assert!(facts.stale_from.unwrap() < Timestamp::now() && facts.openings.len() == OPENINGS);
    let vault = report(&settings, Timestamp::now()).unwrap().vault;
    assert!(vault.is_some_and(|space| space.free <= space.total));
    assert_eq!(facts_of(&settings).sets, facts.sets, "a restart changes nothing");
}

#[test]
fn a_suspicious_set_awaits_and_the_last_good_one_stays_the_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let settings = master(dir.path());
    let before = facts_of(&settings);
    publish(&Vault::of(&settings), &set("n1", "2026-01-03", Role::Node), Grade::Suspicious);
    let facts = facts_of(&settings);
    assert_eq!(facts.awaiting[&Role::Node], 1);
    assert_eq!(facts.sets, before.sets);
}

#[test]
fn an_older_suspicious_set_keeps_its_host_from_being_pruned_and_every_view_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let settings = master(dir.path());
    let vault = Vault::of(&settings);
    let old = set("m1", "2025-12-01", Role::Etcd);
    publish(&vault, &old, Grade::Suspicious);
    publish(&vault, &set("n1", "2025-12-01", Role::Node), Grade::Good);
    assert_eq!(report(&settings, Timestamp::now()).unwrap().awaiting, std::slice::from_ref(&old));
    assert_eq!(facts_of(&settings).awaiting[&Role::Etcd], 1);
    let stay = || retention::stays(&settings, &vault, &[], Timestamp::now()).unwrap()[&old.night];
    let expected = Stay { etcd_not_pruned: true, ..Stay::default() };
    assert_eq!(stay(), expected, "the node's set is pruned next");

    let manifest = vault.manifest_digest(&old).unwrap();
    let statement = Statement::Accepted { who: "root".into() };
    let accepted = fixtures::proof(&old, manifest, DrillVerdict::Proved);
    put_proof(&vault, Proof { by: "m1".parse().unwrap(), statement, ..accepted });
    assert!(report(&settings, Timestamp::now()).unwrap().awaiting.is_empty());
    assert_eq!(stay(), Stay::default());
}

#[test]
fn a_drill_that_fails_later_is_the_last_verdict_and_the_proof_before_it_stays_known() {
    let dir = tempfile::tempdir().unwrap();
    let settings = master(dir.path());
    assert!(facts_of(&settings).drills.is_empty());
    let vault = Vault::of(&settings);
    let prove = |night: &str, verdict, seconds| {
        let set = set("m1", night, Role::Etcd);
        let mut proof = fixtures::proof(&set, vault.manifest_digest(&set).unwrap(), verdict);
        proof.at = Timestamp::from_second(seconds).unwrap();
        put_proof(&vault, proof);
    };
    prove("2026-01-01", DrillVerdict::Proved, 1_767_300_000);
    prove("2026-01-02", DrillVerdict::NotRestorable, 1_767_400_000);
    let [drill] = &facts_of(&settings).drills[..] else { panic!() };
    assert_eq!(drill.verdict, DrillVerdict::NotRestorable);
    assert_eq!(drill.proved.unwrap().as_second(), 1_767_300_000);
}

#[test]
fn backups_are_stale_from_the_moment_that_status_calls_them_stale() {
    let dir = tempfile::tempdir().unwrap();
    let settings = master(dir.path());
    let from = facts_of(&settings).stale_from.unwrap();
    let second = jiff::SignedDuration::from_secs(1);
    assert!(report(&settings, from - second).unwrap().stale.is_none());
    assert!(report(&settings, from).unwrap().stale.is_some());
}

#[test]
fn the_metrics_of_1000_hosts_are_read_and_written_within_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = master(dir.path());
    let nodes: Vec<String> = (0..1000).map(|number| format!("node{number}")).collect();
    let hosts = nodes.iter().map(|name| host(name, Role::Node));
    settings.inventory = nightshift_core::inventory::Inventory::new(
        settings.inventory.hosts().cloned().chain(hosts).collect::<Vec<_>>(),
    );
    let vault = Vault::of(&settings);
    nodes.iter().for_each(|name| publish(&vault, &set(name, "2026-01-02", Role::Node), Grade::Good));
    let begun = std::time::Instant::now();
    let now = Timestamp::now();
    let report = with_facts(&settings, report(&settings, now).unwrap(), now).unwrap();
    let read = begun.elapsed();
    crate::metrics_file::write(&settings, report.clone()).unwrap();
    let text = render(families(&report, "1", now)).unwrap();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    let file = fs::metadata(settings.paths.status_report()).unwrap().len();
    println!(
        "{series} series of 1003 hosts: read in {read:?}, with files in {:?}; report {file} bytes",
        begun.elapsed()
    );
    assert!((2000..=5000).contains(&series) && begun.elapsed().as_secs() < 60, "{series}");
}

#[test]
fn an_archive_that_a_later_night_found_gone_from_its_remote_is_not_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let settings = master(dir.path());
    let (records, night) = (Records::new(settings.paths.records()), "2026-01-02".parse().unwrap());
    let far: RemoteName = "far".parse().unwrap();
    let packed = fixtures::packed("m1_2026.01.02.tgz", vec![set("m1", "2026-01-02", Role::Etcd)]);
    let shipped = Step::Shipped {
        archive: packed.archive.clone(),
        remote: far.clone(),
        bytes: 1,
        sha256: packed.sha256,
        verified: "by sha256sum".into(),
        stored_as: None,
    };
    let gone = Rechecked::Wrong("it is gone".into());
    let gone = Step::Rechecked(Recheck { archive: packed.archive.clone(), remote: far, result: gone });
    records.amend(night, Step::Packed(packed)).unwrap();
    records.amend(night, shipped).unwrap();
    let copies = || {
        let night = night_report(&settings, records.read(night).unwrap().unwrap());
        (facts_of(&settings).snapshots[0].copies, night.etcd[0].copies())
    };
    assert_eq!(copies(), (Some(3), "2 masters, 1 remote".into()));
    record(&settings, "2026-01-03");
    records.amend("2026-01-03".parse().unwrap(), gone).unwrap();
    assert_eq!(copies(), (Some(2), "2 masters, 0 remotes".into()));
}

#[test]
fn a_lost_set_of_the_last_restorable_night_is_replaced_only_by_a_newer_copy() {
    let dir = tempfile::tempdir().unwrap();
    let settings = master(dir.path());
    let vault = Vault::of(&settings);
    record(&settings, "2026-01-03");
    let failed = Step::Closed { verdict: Verdict::Failed, reasons: Vec::new() };
    Records::new(settings.paths.records()).amend("2026-01-03".parse().unwrap(), failed).unwrap();
    publish(&vault, &set("m1", "2026-01-03", Role::Etcd), Grade::Good);
    publish(&vault, &set("n1", "2026-01-03", Role::Node), Grade::Bad);
    let codes = || {
        let report = report(&settings, Timestamp::now()).unwrap();
        assert_eq!(report.last_restorable.unwrap().to_string(), "2026-01-02");
        report.warnings.iter().map(|warning| warning.code.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(codes(), "");
    fs::remove_dir_all(vault.directory(&set("n1", "2026-01-02", Role::Node))).unwrap();
    assert_eq!(codes(), "set-gone");
    publish(&vault, &SetId { attempt: 2, ..set("n1", "2026-01-03", Role::Node) }, Grade::Degraded);
    assert_eq!(codes(), "");
}

#[test]
fn an_etcd_set_whose_snapshot_is_gone_is_a_warning_and_missing_and_not_the_last_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let settings = master(dir.path());
    let directory = Vault::of(&settings).directory(&set("m1", "2026-01-02", Role::Etcd));
    fs::remove_file(directory.join("snapshot.db.gz")).unwrap();
    let report = report(&settings, Timestamp::now()).unwrap();
    let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    assert!(warning.text.starts_with("m1/2026-01-02/etcd: "), "{}", warning.text);
    assert!(warning.text.ends_with("snapshot.db.gz is gone"), "{}", warning.text);
    assert_eq!(report.night.unwrap().gone.len(), 1);
    let facts = facts_of(&settings);
    assert_eq!((facts.missing[&Role::Etcd], facts.snapshots.len()), (1, 1), "the older one counts");
    let older = Vault::of(&settings).directory(&set("m1", "2026-01-01", Role::Etcd));
    fs::remove_file(older.join("snapshot.db.gz")).unwrap();
    assert!(facts_of(&settings).snapshots.is_empty());
}

#[test]
fn a_set_that_is_gone_from_the_vault_is_a_warning_and_missing_and_one_that_is_unreadable_too() {
    let dir = tempfile::tempdir().unwrap();
    let settings = master(dir.path());
    let codes = || {
        let report = report(&settings, Timestamp::now()).unwrap();
        let warnings = report.warnings.iter().map(|warning| warning.code.as_str()).collect::<Vec<_>>();
        (warnings.join(" "), report.night.unwrap().gone.len(), facts_of(&settings).missing)
    };
    assert_eq!(codes(), (String::new(), 0, [(Role::Etcd, 0), (Role::Node, 1)].into()));
    let directory = |host: &str, role| Vault::of(&settings).directory(&set(host, "2026-01-02", role));
    fs::write(directory("n1", Role::Node).join("manifest.json"), "{").unwrap();
    assert_eq!(codes(), ("set-unreadable".into(), 1, [(Role::Etcd, 0), (Role::Node, 2)].into()));
    fs::remove_dir_all(directory("n1", Role::Node)).unwrap();
    fs::remove_dir_all(directory("m1", Role::Etcd)).unwrap();
    assert_eq!(codes(), ("set-gone".into(), 2, [(Role::Etcd, 1), (Role::Node, 2)].into()));
    let report = report(&settings, Timestamp::now()).unwrap();
    assert!(report.warnings[0].text.contains("n1/2026-01-02/node"), "{:?}", report.warnings);
    assert_eq!(report.restorable.map(|night| night.etcd_sets), Some(0));
    // A newer set took its place.
    for (host, role) in [("n1", Role::Node), ("m1", Role::Etcd)] {
        publish(&Vault::of(&settings), &set(host, "2026-01-03", role), Grade::Good);
    }
    assert_eq!(codes().0, "");
}

#[test]
fn a_set_from_the_future_is_not_the_last_good_one_and_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let settings = master(dir.path());
    let before = facts_of(&settings).sets;
    let vault = Vault::of(&settings);
    let codes = || {
        let warnings = report(&settings, Timestamp::now()).unwrap().warnings;
        warnings.into_iter().map(|warning| warning.code.as_str()).collect::<Vec<_>>().join(" ")
    };
    publish(&vault, &set("n1", "2136-01-01", Role::Node), Grade::Good);
    assert_eq!((facts_of(&settings).sets, codes()), (before, "set-in-future".into()));
    fs::remove_dir_all(vault.host_directory(&"n1".parse().unwrap()).join("2136-01-01")).unwrap();

    // A night of today, made by a clock that is years ahead.
    let of_last_night = set("n1", "2026-01-02", Role::Node);
    let mut manifest = vault.manifest(&of_last_night).unwrap();
    manifest.made_at = "2136-01-01T00:00:00Z".parse().unwrap();
    let path = vault.directory(&of_last_night).join("manifest.json");
    fs::write(path, manifest.encode().unwrap()).unwrap();
    let n1 = |facts: Facts| facts.sets.into_iter().find(|set| set.role == Role::Node).unwrap().made_at;
    assert_eq!((n1(facts_of(&settings)), codes()), (Timestamp::UNIX_EPOCH, "set-in-future".into()));

    let proved = set("m1", "2026-01-02", Role::Etcd);
    let digest = vault.manifest_digest(&proved).unwrap();
    let mut proof = fixtures::proof(&proved, digest, DrillVerdict::Proved);
    proof.at = "2136-01-01T00:00:00Z".parse().unwrap();
    put_proof(&vault, proof);
    assert_eq!(facts_of(&settings).drills, []);
}
