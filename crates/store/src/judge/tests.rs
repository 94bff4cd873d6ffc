#![allow(clippy::unwrap_used)]
use std::fs;

use jiff::Timestamp;
use nightshift_core::digest::Digest;
use nightshift_core::etcd_facts::{EtcdFacts, MemberHash, SnapshotFacts};
use nightshift_core::proof::{Statement, StoredProof};
use nightshift_core::{fixtures as testing, manifest};

use super::*;

struct Fixture {
    _dir: tempfile::TempDir,
    vault: Vault,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let hosts = [
        ("m1", Role::Master),
        ("m2", Role::Master),
        ("e1", Role::Etcd),
        ("e2", Role::Etcd),
        ("e3", Role::Etcd),
    ];
    let hosts = hosts.map(|(name, role)| testing::host(name, role)).into();
    // On m1.
    let vault = Vault::of(&testing::settings(dir.path(), hosts, Timestamp::UNIX_EPOCH));
    Fixture { _dir: dir, vault }
}

fn facts(cluster: &str, member: &str, revision: i64, agreement: Option<Agreement>) -> EtcdFacts {
    EtcdFacts {
        cluster_id: cluster.into(),
        member_id: member.into(),
        member_name: member.into(),
        revision,
        raw_sha256: Digest::of(format!("{member} {revision}").as_bytes()),
        snapshot: Some(SnapshotFacts { revision, compacted: None, entries: 9, revisions: 9, size: 4096 }),
        agreement,
        ..testing::etcd_facts()
    }
}

impl Fixture {
    /// Writes a set as a pull does, made at `minute` past ten.
    fn publish(&self, set: &str, minute: u32, facts: EtcdFacts) -> SetId {
        let set: SetId = set.parse().unwrap();
        let manifest = testing::etcd_manifest(&set, Grade::Good, facts);
        self.put(set, minute, manifest)
    }

    fn put(&self, set: SetId, minute: u32, mut manifest: Manifest) -> SetId {
        manifest.made_at = format!("{}T22:{minute:02}:00Z", set.night).parse().unwrap();
        let directory = self.vault.directory(&set);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(manifest::FILE), manifest.encode().unwrap()).unwrap();
        set
    }

    fn state(&self, set: &SetId, at: &str, statement: Statement) {
        let manifest = self.vault.manifest_digest(set).unwrap();
        let proof = testing::proof(set, manifest, DrillVerdict::Proved);
        let proof = Proof { at: at.parse().unwrap(), statement, ..proof };
        self.vault.put_proof(&StoredProof::new(proof, |_| None).unwrap()).unwrap();
    }

    fn accept(&self, set: &SetId, by: &str) {
        let manifest = self.vault.manifest_digest(set).unwrap();
        let proof = testing::proof(set, manifest, DrillVerdict::Proved);
        let statement = Statement::Accepted { who: "root".into() };
        let proof = Proof { by: by.parse().unwrap(), statement, ..proof };
        self.vault.put_proof(&StoredProof::new(proof, |_| None).unwrap()).unwrap();
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
    fixture.publish("e2/2026-11-22/etcd", 3, facts("c1", "b", 50, None));
    let third = fixture.publish("e3/2026-11-22/etcd", 6, facts("c1", "c", 50, None));
    assert_eq!((fixture.grade(&first), fixture.grade(&third)), (Grade::Good, Grade::Suspicious));

    let again = agreement(AgreementState::Agreed, [3, 3, 3]);
    fixture.publish("e1/2026-11-22/etcd.2", 30, facts("c1", "a", 60, again));
    let repaired = fixture.publish("e3/2026-11-22/etcd.2", 36, facts("c1", "c", 60, None));
    assert_eq!((fixture.grade(&third), fixture.grade(&repaired)), (Grade::Suspicious, Grade::Good));
}

#[test]
fn one_other_host_alone_makes_a_set_suspicious_and_two_or_its_own_host_make_it_diverged() {
    for (reporters, wanted) in
        [(&["e1"][..], Grade::Suspicious), (&["e1", "e2"], Grade::Diverged), (&["e3"], Grade::Diverged)]
    {
        let fixture = fixture();
        let report =
            |host| agreement(AgreementState::Diverged, [1, 1, 2]).filter(|_| reporters.contains(&host));
        fixture.publish("e1/2026-11-22/etcd", 0, facts("c1", "a", 50, report("e1")));
        fixture.publish("e2/2026-11-22/etcd", 3, facts("c1", "b", 50, report("e2")));
        let named = fixture.publish("e3/2026-11-22/etcd", 6, facts("c1", "c", 50, report("e3")));
        let judged = fixture.vault.judge(&named).unwrap();
        assert_eq!((judged.grade, judged.awaits), (wanted, false), "according to {reporters:?}");
    }
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
        fixture.accept(&set, "m2");
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

#[test]
fn an_etcd_set_without_a_snapshot_is_bad_and_one_with_data_of_another_kind_is_not() {
    use nightshift_core::etcd_facts::{ColdCopy, DataFound, V2Backup};
    use nightshift_core::manifest::{Item, ItemKind};

    let fixture = fixture();
    let set = |name: &str| name.parse::<SetId>().unwrap();
    let empty = fixture.put(
        set("e1/2026-11-22/etcd"),
        0,
        testing::manifest(&set("e1/2026-11-22/etcd"), Grade::Good, vec![]),
    );
    let judged = fixture.vault.judge(&empty).unwrap();
    assert_eq!((judged.grade, judged.accepted), (Grade::Bad, false));
    assert!(judged.notes[0].contains("neither a snapshot"), "{:?}", judged.notes);

    let snapshot = testing::etcd_manifest(&set("e1/2026-11-22/etcd"), Grade::Good, testing::etcd_facts());
    let with = |path: &str, size: u64, data: DataFound| {
        let kind = ItemKind::File { size, sha256: Digest::of(b"") };
        let item = Item { path: path.into(), kind, ..snapshot.items[0].clone() };
        let etcd = Some(EtcdFacts { data: Some(data), ..testing::etcd_facts() });
        Manifest { items: vec![item], etcd, ..snapshot.clone() }.has_etcd_data()
    };
    let cold = |item: &str| DataFound {
        cold_copy: Some(ColdCopy {
            item: item.into(),
            raw_size: 1,
            raw_sha256: Digest::of(b""),
            stopped_ms: 1,
        }),
        ..DataFound::default()
    };
    let v2 = || DataFound {
        v2_backup: Some(V2Backup { directory: "v2".into(), keys: None }),
        ..DataFound::default()
    };
    assert!(snapshot.has_etcd_data());
    assert!(with("member.tar.gz", 9, cold("member.tar.gz")) && with("v2/member/wal/0.wal", 9, v2()));
    assert!(!with("member.tar.gz", 0, cold("member.tar.gz")), "an empty file");
    assert!(!with("etcd.conf", 9, cold("etcd.conf")), "another file");
    assert!(!with("v2/readme", 9, v2()) && !with("v2x/member/wal/0.wal", 9, v2()) && !with("x", 9, v2()));
    assert!(!with("snapshot.db.gz", 0, DataFound::default()));
}

#[test]
fn a_set_whose_manifest_describes_a_copy_that_it_does_not_contain_is_bad() {
    use nightshift_core::etcd_facts::{ColdCopy, DataFound, V2Backup};
    use nightshift_core::manifest::{Item, ItemKind};
    let fixture = fixture();
    let copy =
        ColdCopy { item: "member.tar.gz".into(), raw_size: 1, raw_sha256: Digest::of(b""), stopped_ms: 1 };
    let cold = DataFound { cold_copy: Some(copy), ..DataFound::default() };
    let v2 = DataFound {
        v2_backup: Some(V2Backup { directory: "v2".into(), keys: None }),
        ..DataFound::default()
    };
    let stated =
        |data: &DataFound| EtcdFacts { data: Some(data.clone()), ..facts("c1", "a", 98_765_432, None) };
    let with = |path: &str, facts: EtcdFacts| {
        let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
        let manifest = testing::etcd_manifest(&set, Grade::Good, facts);
        let kind = ItemKind::File { size: 1, sha256: Digest::of(b"x") };
        let item = Item { path: path.into(), kind, ..manifest.items[0].clone() };
        let set = fixture.put(set, 0, Manifest { items: vec![item], ..manifest });
        let judged = fixture.vault.judge(&set).unwrap();
        (judged.grade, judged.notes.first().cloned().unwrap_or_default())
    };
    for (path, facts, kind) in [
        ("member.tar.gz", stated(&cold), "snapshot"),
        ("v2/member/wal/0.wal", stated(&v2), "snapshot"),
        ("snapshot.db.gz", stated(&cold), "cold copy"),
        ("snapshot.db.gz", stated(&v2), "v2 backup"),
    ] {
        let (grade, note) = with(path, facts);
        assert_eq!(grade, Grade::Bad, "{path}: {note}");
        assert!(note.contains(&format!("describes a {kind} that it does not contain")), "{path}: {note}");
    }
    let without_facts = EtcdFacts { snapshot: None, ..stated(&cold) };
    assert_eq!(
        with("member.tar.gz", without_facts).0,
        Grade::Good,
        "its data is compared when it is fetched"
    );
}

#[test]
fn a_comparison_counts_only_members_that_the_sets_know_and_each_of_them_once() {
    let fixture = fixture();
    let hash = |id: &str, hash| MemberHash { member_id: id.into(), name: id.into(), hash: Some(hash) };
    // e1 lists its own member, that of e2, and two members that do not exist.
    let forged = Agreement {
        members: vec![hash("a", 1), hash("b", 2), hash("x", 1), hash("y", 1), hash("a", 1)],
        ..agreement(AgreementState::Diverged, [1, 1, 1]).unwrap()
    };
    // The member of e3 is known from an earlier night.
    fixture.publish("e3/2026-11-21/etcd", 0, facts("c1", "c", 40, None));
    let own = fixture.publish("e1/2026-11-22/etcd", 0, facts("c1", "a", 50, Some(forged)));
    let other = fixture.publish("e2/2026-11-22/etcd", 3, facts("c1", "b", 50, None));
    let grades = (fixture.grade(&own), fixture.grade(&other));
    assert_eq!(grades, (Grade::Diverged, Grade::Suspicious), "one against one: neither is right by itself");
}

#[test]
fn two_sets_with_the_same_content_never_disagree() {
    let fixture = fixture();
    let apart = agreement(AgreementState::Diverged, [1, 2, 1]);
    let same = |member: &str, agreement| EtcdFacts {
        raw_sha256: Digest::of(b"the same snapshot"),
        ..facts("c1", member, 50, agreement)
    };
    let own = fixture.publish("e1/2026-11-22/etcd", 0, same("a", apart));
    let other = fixture.publish("e2/2026-11-22/etcd", 3, same("b", None));
    fixture.publish("e3/2026-11-22/etcd", 6, facts("c1", "c", 50, None));
    assert_eq!((fixture.grade(&own), fixture.grade(&other)), (Grade::Good, Grade::Good));
}

#[test]
fn a_member_that_another_host_found_diverged_does_not_clear_itself() {
    let fixture = fixture();
    let apart = agreement(AgreementState::Diverged, [1, 1, 2]);
    let agreed = || agreement(AgreementState::Agreed, [3, 3, 3]);
    fixture.publish("e1/2026-11-22/etcd", 0, facts("c1", "a", 50, apart.clone()));
    fixture.publish("e2/2026-11-22/etcd", 3, facts("c1", "b", 50, None));
    let third = fixture.publish("e3/2026-11-22/etcd", 6, facts("c1", "c", 50, agreed()));
    assert_eq!(fixture.grade(&third), Grade::Suspicious);

    fixture.publish("e3/2026-11-23/etcd", 0, facts("c1", "c", 60, apart));
    fixture.publish("e1/2026-11-23/etcd", 3, facts("c1", "a", 60, None));
    fixture.publish("e2/2026-11-23/etcd", 3, facts("c1", "b", 60, None));
    let again = fixture.publish("e3/2026-11-23/etcd.2", 30, facts("c1", "c", 70, agreed()));
    assert_eq!(fixture.grade(&again), Grade::Good, "what a host found itself, it can find again");
}

#[test]
fn a_set_without_the_facts_that_the_one_before_has_is_suspicious() {
    let fixture = fixture();
    fixture.publish("e1/2026-11-21/etcd", 0, facts("c1", "a", 50, None));
    let uncounted = EtcdFacts { snapshot: None, ..facts("c1", "a", 60, None) };
    let set = fixture.publish("e1/2026-11-22/etcd", 0, uncounted);
    let judged = fixture.vault.judge(&set).unwrap();
    assert_eq!(judged.grade, Grade::Suspicious);
    assert!(judged.notes[0].contains("not counted"), "{:?}", judged.notes);
}

#[test]
fn an_acceptance_counts_from_masters_and_from_the_origin_host_only_for_what_that_host_found() {
    let fixture = fixture();
    fixture.publish("e1/2026-11-21/etcd", 0, facts("c1", "a", 5000, None));
    let anew = fixture.publish("e1/2026-11-22/etcd", 0, facts("c1", "a", 3, None));
    for by in ["e2", "e1"] {
        fixture.accept(&anew, by);
        let judged = fixture.vault.judge(&anew).unwrap();
        assert_eq!((judged.grade, judged.accepted), (Grade::Suspicious, false), "{by}");
    }
    fixture.accept(&anew, "m2");
    let judged = fixture.vault.judge(&anew).unwrap();
    assert_eq!((judged.grade, judged.accepted), (Grade::Good, true));

    let shrunk: SetId = "e3/2026-11-22/etcd".parse().unwrap();
    let manifest = testing::etcd_manifest(&shrunk, Grade::Suspicious, facts("c1", "c", 50, None));
    let shrunk = fixture.put(shrunk, 0, manifest);
    fixture.accept(&shrunk, "e2");
    assert_eq!(fixture.grade(&shrunk), Grade::Suspicious, "e2 is neither a master nor its origin host");
    fixture.accept(&shrunk, "e3");
    let judged = fixture.vault.judge(&shrunk).unwrap();
    assert_eq!((judged.grade, judged.accepted), (Grade::Good, true));
}
