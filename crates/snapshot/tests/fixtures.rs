//! Both readers read every fixture as its etcd does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use nightshift_snapshot::{
    Database, Fingerprint, PageBuffer, Pass, RevisionKey, TrailerCheck, walk, walk_hashed, walk_member,
};
use support::{fixture, fixtures};

#[test]
fn every_entry_is_read_and_found_again_at_its_position() {
    for fixture in fixtures() {
        let database = Database::open(&fixture.bytes).unwrap();
        let wanted = if fixture.name.ends_with("copy") { Fingerprint::Copy } else { Fingerprint::Stream };
        assert_eq!(database.fingerprint(), wanted, "{}", fixture.name);
        let mut page = PageBuffer::default();
        let (mut entries, mut revision) = (0, 0);
        let mut buckets = database.cursor(&database.root()).unwrap();
        while let Some(bucket) = buckets.next().unwrap() {
            assert!(bucket.is_bucket);
            let mut cursor = database.cursor(&bucket.bucket().unwrap()).unwrap();
            while let Some(entry) = cursor.next().unwrap() {
                assert_eq!(database.at(entry.at, &mut page).unwrap(), entry, "{}", fixture.name);
                entries += 1;
                if bucket.key == b"key" {
                    revision = RevisionKey::parse(entry.key).unwrap().revision.main;
                }
            }
        }
        assert_eq!(
            (entries, revision),
            (fixture.status.total_key, fixture.status.revision),
            "{}",
            fixture.name
        );
    }
}

#[test]
fn seek_finds_the_first_entry_that_is_not_less() {
    for fixture in fixtures() {
        let database = Database::open(&fixture.bytes).unwrap();
        let bucket = database.bucket(b"key").unwrap().unwrap();
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut cursor = database.cursor(&bucket).unwrap();
        while let Some(entry) = cursor.next().unwrap() {
            keys.push(entry.key.to_vec());
        }
        for (index, key) in keys.iter().enumerate() {
            let after = [&key[..], &[0]].concat();
            for (sought, found) in [(key, Some(key)), (&after, keys.get(index + 1))] {
                let mut cursor = database.cursor(&bucket).unwrap();
                cursor.seek(sought);
                assert_eq!(cursor.next().unwrap().map(|entry| entry.key.to_vec()).as_ref(), found);
            }
        }
        assert!(database.bucket(b"nothing").unwrap().is_none());
    }
}

#[test]
fn a_walk_finds_the_values_of_snapshot_status() {
    for fixture in fixtures() {
        let report = walk(&fixture.bytes, &mut ()).unwrap();
        assert!(report.is_sound(), "{}: {:?}", fixture.name, report.findings);
        let facts = report.facts;
        let status = &fixture.status;
        assert_eq!(facts.hash, Some(status.hash), "{}", fixture.name);
        assert_eq!(facts.revision, Some(status.revision), "{}", fixture.name);
        assert_eq!(facts.entries, Some(status.total_key), "{}", fixture.name);
        assert_eq!(facts.size, Some(status.total_size), "{}", fixture.name);
        println!("{} {facts:?}", fixture.name);
    }
}

#[test]
fn a_walk_with_a_precomputed_hash_has_the_same_report() {
    for fixture in fixtures() {
        let mut trailer = TrailerCheck::default();
        trailer.update(&fixture.bytes);
        let hashed = walk_hashed(&fixture.bytes, trailer.finish(), &mut ()).unwrap();
        assert_eq!(hashed, walk(&fixture.bytes, &mut ()).unwrap(), "{}", fixture.name);
    }
}

#[test]
fn a_members_database_needs_no_trailer_even_if_the_leader_streamed_it() {
    let streamed = fixture("3.4-few").bytes;
    let stored = streamed[..streamed.len() - 32].to_vec();
    assert!(!walk(&stored, &mut ()).unwrap().is_sound(), "a snapshot without its trailer was truncated");
    let report = walk_member(&stored, &mut ()).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.fingerprint, Fingerprint::Copy);
    assert_eq!(report.facts, walk(&streamed, &mut ()).unwrap().facts);
    let truncated = stored[..stored.len() - 4096].to_vec();
    assert!(!walk_member(&truncated, &mut ()).unwrap().is_sound(), "a page is missing");
}

#[test]
fn a_pass_of_a_real_snapshot_has_the_same_report_as_a_walk() {
    for fixture in fixtures().into_iter().filter(|fixture| !fixture.name.ends_with("copy")) {
        for chunk in [1000, 4096, 32 << 10, usize::MAX] {
            let mut pass = Pass::default();
            fixture.bytes.chunks(chunk.min(fixture.bytes.len())).for_each(|chunk| pass.update(chunk));
            let passed = pass.finish();
            assert!(passed.is_sound(), "{}: {:?}", fixture.name, passed.findings);
            let mut walked = walk(&fixture.bytes, &mut ()).unwrap();
            assert!(walked.facts.hash.take().is_some());
            assert_eq!(passed, walked, "{}", fixture.name);
        }
    }
}
