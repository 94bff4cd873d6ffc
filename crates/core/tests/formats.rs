//! Files of format 1, as nightshift 0.1 wrote them, are readable for ever: `tests/data/formats/1/`.
#![allow(clippy::unwrap_used)]

use nightshift_core::digest::Digest;
use nightshift_core::hint::Hint;
use nightshift_core::manifest::{FileList, Manifest};
use nightshift_core::outcome::{Grade, Outcome, Verdict};
use nightshift_core::proof::Proof;
use nightshift_core::record::{Line, Record};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::stage::Stage;

const ETCD_MANIFEST: &[u8] = include_bytes!("../../../tests/data/formats/1/manifest-etcd.json");
const NODE_MANIFEST: &[u8] = include_bytes!("../../../tests/data/formats/1/manifest-node.json");
const OPEN_RECORD: &str = include_str!("../../../tests/data/formats/1/night-open.jsonl");
const CLOSED_RECORD: &[u8] = include_bytes!("../../../tests/data/formats/1/night-closed.json");
const PROOF: &[u8] = include_bytes!("../../../tests/data/formats/1/proof.json");
const HINT: &[u8] = include_bytes!("../../../tests/data/formats/1/now.json");

fn etcd_set() -> SetId {
    "master1.site.test/2026-11-27/etcd".parse().unwrap()
}

fn open_record() -> Record {
    let lines = OPEN_RECORD.lines().map(|line| serde_json::from_str::<Line>(line).unwrap());
    Record::from_lines(lines).unwrap()
}

#[test]
fn a_manifest_of_format_1_is_read_with_all_that_it_says_of_etcd() {
    let manifest = Manifest::decode(ETCD_MANIFEST).unwrap();
    manifest.expect(&etcd_set(), &"site".parse().unwrap()).unwrap();
    let etcd = manifest.etcd.as_ref().unwrap();
    assert_eq!((manifest.grade, etcd.revision, etcd.version.as_str()), (Grade::Good, 101, "3.4.23"));
    let snapshot = manifest.item("snapshot.db.gz").unwrap();
    assert!(manifest.files().any(|(item, size, _)| item == snapshot && size > 0));
    assert_eq!(Manifest::decode(&manifest.encode().unwrap()).unwrap(), manifest);
}

#[test]
fn the_files_of_a_manifest_of_format_1_are_listed_for_readers_of_any_version() {
    for bytes in [ETCD_MANIFEST, NODE_MANIFEST] {
        let (list, manifest) = (FileList::decode(bytes).unwrap(), Manifest::decode(bytes).unwrap());
        assert!(!list.is_newer());
        let listed: Vec<_> = list.files.iter().map(|file| (file.path.as_str(), file.size)).collect();
        let named: Vec<_> = manifest.files().map(|(item, size, _)| (item.path.as_str(), size)).collect();
        assert_eq!(listed, named);
    }
}

#[test]
fn an_open_record_of_format_1_is_read_line_by_line() {
    let record = open_record();
    assert!(record.closed.is_none());
    assert_eq!(record.stages.len(), 9);
    assert!(record.stages.values().all(|stage| stage.outcome == Some(Outcome::Done)));
    assert_eq!(record.sets.len(), 5);
    assert_eq!((record.archives.len(), record.shipped.len(), record.proofs.len()), (1, 1, 1));
}

#[test]
fn a_closed_record_of_format_1_is_read_as_the_lines_that_it_was_made_of() {
    let closed: Record = serde_json::from_slice(CLOSED_RECORD).unwrap();
    assert_eq!(closed.closed.as_ref().unwrap().verdict, Verdict::Complete);
    assert!(closed.best_set(&"node1.site.test".parse().unwrap(), Role::Node).is_some());
    assert_eq!(Record { closed: None, ..closed }, open_record());
}

#[test]
fn a_proof_of_format_1_counts_for_the_manifest_that_it_names() {
    let proof = Proof::decode(PROOF).unwrap();
    proof.expect(&etcd_set(), Digest::of(ETCD_MANIFEST)).unwrap();
    assert!(proof.is_proved() && !proof.is_accepted());
}

#[test]
fn a_hint_of_format_1_is_read_with_the_outcome_of_each_stage() {
    let hint: Hint = serde_json::from_slice(HINT).unwrap();
    assert!(hint.synchronised);
    assert_eq!(hint.stages[&Stage::Drill].outcome, Outcome::Done);
}
