use std::fs;

use nightshift_core::settings::Compression;

use super::kit::*;
use crate::{ArchivedSet, ListError};

#[test]
fn an_undamaged_archive_is_listed_with_everything_in_it() {
    let vault = Vault::new();
    let packed = vault.packed(Compression::Gzip);
    let listing = list_bytes(&fs::read(vault.out()).unwrap(), false).unwrap();
    assert_eq!(listing.contents, packed.listing.contents);
    assert_eq!(listing.entries, packed.listing.entries);
    let sets: Vec<String> = listing.contents.sets.iter().map(ArchivedSet::dir_name).collect();
    assert_eq!(sets, ["e1.x/etcd", "n1.x/node"]);
    assert!(listing.bytes > 1 << 20);
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let vault = Vault::new();
        vault.packed(compression);
        let sound = fs::read(vault.out()).unwrap();
        // Bytes 4 to 9 are the first member's time and system, which nothing depends on.
        let step = sound.len() / 97;
        for at in (10..sound.len()).step_by(step).chain(sound.len() - 12..sound.len()) {
            let mut flipped = sound.clone();
            flipped[at] ^= 0x10;
            let found = list_bytes(&flipped, compression == Compression::Zstd);
            assert!(found.is_err(), "{compression:?}: byte {at} of {} was flipped unnoticed", sound.len());
        }
    }
}

#[test]
fn a_truncated_archive_is_found_wherever_it_ends() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let vault = Vault::new();
        vault.packed(compression);
        let sound = fs::read(vault.out()).unwrap();
        let step = sound.len() / 97;
        for length in (0..sound.len()).step_by(step).chain(sound.len() - 40..sound.len()) {
            let found = list_bytes(&sound[..length], compression == Compression::Zstd);
            assert!(found.is_err(), "{compression:?}: a cut at {length} of {} went unnoticed", sound.len());
        }
    }
}

#[test]
fn an_archive_under_another_name_is_refused() {
    let vault = Vault::new();
    vault.packed(Compression::Gzip);
    let bytes = fs::read(vault.out()).unwrap();
    let name = "m1.x_2026.11.23.tgz".parse().unwrap();
    let error = crate::visit_blocking(&bytes[..], &name, &mut ()).unwrap_err();
    assert!(matches!(error, ListError::Unexpected { .. }), "{error}");
}

#[test]
fn an_archive_that_a_remote_has_as_a_later_edition_is_listed_and_one_as_an_earlier_edition_is_refused() {
    let vault = Vault::new();
    let packed = vault.packed(Compression::Gzip);
    let bytes = fs::read(vault.out()).unwrap();
    for name in packed.name.names_on_remote() {
        let listing = crate::visit_blocking(&bytes[..], &name.parse().unwrap(), &mut ()).unwrap();
        assert_eq!(listing.contents, packed.listing.contents, "{name}");
    }
    let mut request = vault.request(Vec::new(), Compression::Gzip);
    request.contents.edition = 2;
    crate::pack(&request, &|| false).unwrap();
    let second = fs::read(vault.out()).unwrap();
    let error = crate::visit_blocking(&second[..], &packed.name, &mut ()).unwrap_err();
    assert!(matches!(error, ListError::Unexpected { .. }), "{error}");
}

#[test]
fn bytes_after_the_end_are_found() {
    let vault = Vault::new();
    vault.packed(Compression::Gzip);
    let sound = fs::read(vault.out()).unwrap();
    let twice = [&sound[..], &sound[..]].concat();
    assert!(matches!(list_bytes(&twice, false), Err(ListError::Trailing)));
    let more = [&sound[..], b"more"].concat();
    assert!(list_bytes(&more, false).is_err());
}
