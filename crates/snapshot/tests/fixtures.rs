//! Every fixture is read as the etcd that made it reads it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use nightshift_snapshot::{Database, Fingerprint, PageBuffer, RevisionKey};
use support::fixtures;

#[test]
fn every_entry_is_read_and_read_again_at_its_place() {
    for fixture in fixtures() {
        let database = Database::open(&fixture.bytes).unwrap();
        let wanted = if fixture.name.ends_with("copy") { Fingerprint::Copy } else { Fingerprint::Stream };
        assert_eq!(database.fingerprint(), wanted, "{}", fixture.name);
        let mut page = PageBuffer::default();
        let (mut entries, mut revision) = (0, 0);
        let mut buckets = database.cursor(&database.root());
        while let Some(bucket) = buckets.next().unwrap() {
            assert!(bucket.is_bucket);
            let mut cursor = database.cursor(&bucket.bucket().unwrap());
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
fn a_sought_entry_is_the_first_that_is_not_less() {
    for fixture in fixtures() {
        let database = Database::open(&fixture.bytes).unwrap();
        let bucket = database.bucket(b"key").unwrap().unwrap();
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut cursor = database.cursor(&bucket);
        while let Some(entry) = cursor.next().unwrap() {
            keys.push(entry.key.to_vec());
        }
        for (index, key) in keys.iter().enumerate() {
            let after = [&key[..], &[0]].concat();
            for (sought, found) in [(key, Some(key)), (&after, keys.get(index + 1))] {
                let mut cursor = database.cursor(&bucket);
                cursor.seek(sought);
                assert_eq!(cursor.next().unwrap().map(|entry| entry.key.to_vec()).as_ref(), found);
            }
        }
        assert!(database.bucket(b"nothing").unwrap().is_none());
    }
}
