//! An archive of format 1, as nightshift 0.1 wrote it, is readable for ever: `tests/data/formats/1/`.
#![allow(clippy::unwrap_used)]

use nightshift_archive::visit_blocking;
use nightshift_core::archive::ArchiveName;
use nightshift_core::digest::Digest;

const NAME: &str = "master1.site.test_2026.11.27.tgz";
const ARCHIVE: &[u8] = include_bytes!("../../../tests/data/formats/1/master1.site.test_2026.11.27.tgz");
const CHECKSUM: &str = include_str!("../../../tests/data/formats/1/master1.site.test_2026.11.27.tgz.sha256");

#[test]
fn an_archive_of_format_1_is_read_to_its_end_with_every_set_that_it_names() {
    let name: ArchiveName = NAME.parse().unwrap();
    let listing = visit_blocking(ARCHIVE, &name, &mut ()).unwrap();
    let sets: Vec<_> = listing.contents.sets.iter().map(|set| set.id.to_string()).collect();
    let expected = [
        "master1.site.test",
        "master1.site.test",
        "master2.site.test",
        "master3.site.test",
        "node1.site.test",
    ]
    .into_iter()
    .zip(["master", "etcd", "master", "master", "node"])
    .map(|(host, role)| format!("{host}/2026-11-27/{role}"));
    assert_eq!(sets, expected.collect::<Vec<_>>());
    assert!(listing.contents.missing.is_empty());
}

#[test]
fn the_checksum_of_format_1_is_a_line_as_sha256sum_writes_it() {
    assert_eq!(CHECKSUM, format!("{}  {NAME}\n", Digest::of(ARCHIVE)));
}
