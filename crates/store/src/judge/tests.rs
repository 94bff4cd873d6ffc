#![allow(clippy::unwrap_used)]
use std::fs;

use nightshift_core::digest::Digest;
use nightshift_core::etcd_facts::{EtcdFacts, MemberHash, SnapshotFacts};
use nightshift_core::manifest;
use nightshift_core::proof::Statement;

use super::*;
use nightshift_core::fixtures as testing;

struct Room {
    _dir: tempfile::TempDir,
    vault: Vault,
}

fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::new(dir.path());
    Room { _dir: dir, vault }
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

impl Room {
    /// Lays a set down as a pull would, made at `minute` past ten.
    fn publish(&self, set: &str, minute: u32, facts: EtcdFacts) -> SetId {
        let set: SetId = set.parse().unwrap();
        let mut manifest = testing::manifest(&set, Grade::Good, vec![]);
        manifest.made_at = format!("{}T22:{minute:02}:00Z", set.night).parse().unwrap();
        manifest.etcd = Some(facts);
        let folder = self.vault.folder(&set);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(manifest::FILE), manifest.encode().unwrap()).unwrap();
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
fn what_was_taken_after_the_members_agreed_again_is_not_condemned_and_what_was_taken_before_is() {
    let room = room();
    let apart = agreement(AgreementState::Diverged, [1, 1, 2]);
    let first = room.publish("e1/2026-11-22/etcd", 0, facts("c1", "a", 50, apart));
    let liar = room.publish("e3/2026-11-22/etcd", 6, facts("c1", "c", 50, None));
    assert_eq!((room.grade(&first), room.grade(&liar)), (Grade::Good, Grade::Diverged));

    let again = agreement(AgreementState::Agreed, [3, 3, 3]);
    room.publish("e1/2026-11-22/etcd.2", 30, facts("c1", "a", 60, again));
    let mended = room.publish("e3/2026-11-22/etcd.2", 36, facts("c1", "c", 60, None));
    assert_eq!((room.grade(&liar), room.grade(&mended)), (Grade::Diverged, Grade::Good));
}

#[test]
fn an_etcd_that_began_anew_on_a_host_that_remembers_nothing_is_suspicious_until_a_person_accepts_it() {
    let room = room();
    let before = room.publish("e1/2026-11-21/etcd", 0, facts("c1", "a", 5000, None));
    for (night, began_anew) in [
        ("e1/2026-11-22/etcd", facts("c1", "a", 3, None)),
        ("e1/2026-11-23/etcd", facts("c2", "a", 9000, None)),
    ] {
        let set = room.publish(night, 0, began_anew);
        let judged = room.vault.judge(&set).unwrap();
        assert_eq!(judged.grade, Grade::Suspicious, "{night}");
        assert!(judged.notes[0].contains("e1/2026-11-2"), "{:?}", judged.notes);
        room.state(&set, "2026-11-24T08:00:00Z", Statement::Accepted { who: "root".into() });
        assert_eq!(room.grade(&set), Grade::Good, "{night}");
    }
    assert_eq!(room.grade(&before), Grade::Good);
    let other_host = room.publish("e2/2026-11-22/etcd", 0, facts("c2", "b", 3, None));
    assert_eq!(room.grade(&other_host), Grade::Good, "nothing is known of its past");
}

#[test]
fn a_set_is_proved_until_a_later_drill_of_the_same_host_fails() {
    let room = room();
    let set = room.publish("e1/2026-11-21/etcd", 0, facts("c1", "a", 50, None));
    let drill = |verdict| testing::proof(&set, Digest::of(b""), verdict).statement;
    room.state(&set, "2026-11-22T00:20:00Z", drill(DrillVerdict::Proved));
    assert!(room.vault.judge(&set).unwrap().proved);
    room.state(&set, "2026-11-22T03:00:00Z", drill(DrillVerdict::NotRestorable));
    assert!(!room.vault.judge(&set).unwrap().proved);
    room.state(&set, "2026-11-22T04:00:00Z", drill(DrillVerdict::Proved));
    assert!(room.vault.judge(&set).unwrap().proved);
}
