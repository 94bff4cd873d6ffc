#![allow(clippy::unwrap_used)]
use std::fs;

use nightshift_core::digest::Digest;
use nightshift_core::etcd_facts::{EtcdFacts, MemberHash, SnapshotFacts};
use nightshift_core::proof::Statement;
use nightshift_core::{fixtures as testing, manifest};

use super::*;

struct Fixture {
    _dir: tempfile::TempDir,
    vault: Vault,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::new(dir.path());
    Fixture { _dir: dir, vault }
}

fn facts(cluster: &str, member: &str, revision: i64, agreement: Option<Agreement>) -> EtcdFacts {
    EtcdFacts {
        cluster_id: cluster.into(),
        member_id: member.into(),
        member_name: member.into(),
        revision,
        raft_term: 2,
        version: "3.4.23".into(),
        learner: false,
        leader: false,
        alarms: vec![],
        raw_size: 4128,
        raw_sha256: Digest::of(b""),
        checked: String::new(),
        snapshot: Some(SnapshotFacts { revision, compacted: None, entries: 9, revisions: 9, size: 4096 }),
        agreement,
        data: None,
    }
}

impl Fixture {
    /// Writes a set as a pull does, made at `minute` past ten.
    fn publish(&self, set: &str, minute: u32, facts: EtcdFacts) -> SetId {
        let set: SetId = set.parse().unwrap();
        let mut manifest = testing::manifest(&set, Grade::Good, vec![]);
        manifest.made_at = format!("{}T22:{minute:02}:00Z", set.night).parse().unwrap();
        manifest.etcd = Some(facts);
        let directory = self.vault.directory(&set);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(manifest::FILE), manifest.encode().unwrap()).unwrap();
        set
    }

    fn state(&self, set: &SetId, at: &str, statement: Statement) {
        let manifest = self.vault.manifest_digest(set).unwrap();
        let proof = testing::proof(set, manifest, DrillVerdict::Proved);
        self.vault.put_proof(&Proof { at: at.parse().unwrap(), statement, ..proof }).unwrap();
    }

    fn grade(&self, set: &SetId) -> Grade {
        self.vault.judge(set).unwrap().grade
    }
}

fn agreement(word: AgreementState, hashes: [u32; 3]) -> Option<Agreement> {
    let members = ["a", "b", "c"].into_iter().zip(hashes);
    let members =
        members.map(|(id, hash)| MemberHash { member_id: id.into(), name: id.into(), hash: Some(hash) });
    Some(Agreement { state: word, reason: None, revision: 7, compacted: 0, members: members.collect() })
}

#[test]
fn a_set_from_after_the_members_agreed_again_is_good_and_one_from_before_is_diverged() {
    let fixture = fixture();
    let apart = agreement(AgreementState::Diverged, [1, 1, 2]);
    let first = fixture.publish("e1/2026-11-22/etcd", 0, facts("c1", "a", 50, apart));
    let third = fixture.publish("e3/2026-11-22/etcd", 6, facts("c1", "c", 50, None));
    assert_eq!((fixture.grade(&first), fixture.grade(&third)), (Grade::Good, Grade::Diverged));

    let again = agreement(AgreementState::Agreed, [3, 3, 3]);
    fixture.publish("e1/2026-11-22/etcd.2", 30, facts("c1", "a", 60, again));
    let repaired = fixture.publish("e3/2026-11-22/etcd.2", 36, facts("c1", "c", 60, None));
    assert_eq!((fixture.grade(&third), fixture.grade(&repaired)), (Grade::Diverged, Grade::Good));
}

#[test]
fn a_new_etcd_on_a_reinstalled_host_is_suspicious_until_an_operator_accepts_it() {
    let fixture = fixture();
    let before = fixture.publish("e1/2026-11-21/etcd", 0, facts("c1", "a", 5000, None));
    for (night, began_anew) in [
        ("e1/2026-11-22/etcd", facts("c1", "a", 3, None)),
        ("e1/2026-11-23/etcd", facts("c2", "a", 9000, None)),
    ] {
        let set = fixture.publish(night, 0, began_anew);
        let judged = fixture.vault.judge(&set).unwrap();
        assert_eq!(judged.grade, Grade::Suspicious, "{night}");
        assert!(judged.notes[0].contains("e1/2026-11-2"), "{:?}", judged.notes);
        fixture.state(&set, "2026-11-24T08:00:00Z", Statement::Accepted { who: "root".into() });
        assert_eq!(fixture.grade(&set), Grade::Good, "{night}");
    }
    assert_eq!(fixture.grade(&before), Grade::Good);
    let other_host = fixture.publish("e2/2026-11-22/etcd", 0, facts("c2", "b", 3, None));
    assert_eq!(fixture.grade(&other_host), Grade::Good, "there is no earlier set of it");
}

#[test]
fn a_set_is_proved_until_a_later_drill_of_the_same_host_fails() {
    let fixture = fixture();
    let set = fixture.publish("e1/2026-11-21/etcd", 0, facts("c1", "a", 50, None));
    let drill = |verdict| testing::proof(&set, Digest::of(b""), verdict).statement;
    fixture.state(&set, "2026-11-22T00:20:00Z", drill(DrillVerdict::Proved));
    assert!(fixture.vault.judge(&set).unwrap().proved);
    fixture.state(&set, "2026-11-22T03:00:00Z", drill(DrillVerdict::NotRestorable));
    assert!(!fixture.vault.judge(&set).unwrap().proved);
    fixture.state(&set, "2026-11-22T04:00:00Z", drill(DrillVerdict::Proved));
    assert!(fixture.vault.judge(&set).unwrap().proved);
}
