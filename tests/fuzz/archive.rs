use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use nightshift_archive::{ArchivedSet, Contents, Visitor, visit_blocking};
use nightshift_core::archive::ArchiveName;
use nightshift_core::manifest::Manifest;

use crate::manifest::stays_inside;

const GZIP: &[u8] = &[0x1f, 0x8b];
/// deflate packs at most 1,032 bytes into one; what is read at once is handed on before it is counted.
const MAX_RATIO: u64 = 1_100;

/// Every path stays in the directory of its set, and no more is unpacked than the bytes can contain. Bytes that are not
/// compressed are packed first, so that mutations reach the reader of the tar.
pub fn archive(bytes: &[u8]) {
    let name: ArchiveName = "master1.site.test_2026.11.27.tgz".parse().expect("a name");
    let packed = if bytes.starts_with(GZIP) { bytes.to_vec() } else { gzip(bytes) };
    let mut seen = Seen::default();
    let visited = visit_blocking(&packed[..], &name, &mut seen);
    assert!(seen.bytes <= packed.len() as u64 * MAX_RATIO, "{} bytes of {}", seen.bytes, packed.len());
    if visited.is_ok() {
        assert_eq!(seen.sets, seen.expected, "a set is missing");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::none());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory can be written")
}

/// Checks what it is given, as a program that unpacks an archive would have to.
#[derive(Default)]
struct Seen {
    expected: usize,
    set: Option<ArchivedSet>,
    sets: usize,
    bytes: u64,
}

impl Visitor for Seen {
    fn contents(&mut self, contents: &Contents) {
        self.expected = contents.sets.len();
        let attached = contents.sets.iter().flat_map(|set| &set.attached);
        attached.for_each(|attached| assert!(stays_inside(&attached.path), "leaves: {}", attached.path));
    }

    fn set(&mut self, set: &ArchivedSet, manifest: &Manifest, _: &[u8]) {
        assert_eq!(manifest.id(), set.id);
        assert!(manifest.items.iter().all(|item| stays_inside(&item.path)));
        self.sets += 1;
        self.set = Some(set.clone());
    }

    fn file(&mut self, path: &str) -> Option<&mut dyn Write> {
        let set = self.set.as_ref().expect("files come after their set");
        let inside = path.strip_prefix(&set.dir_name()).is_some_and(|rest| rest.starts_with('/'));
        assert!(inside || path.contains(".proofs/"), "outside {}: {path}", set.dir_name());
        assert!(stays_inside(path), "leaves the archive: {path}");
        Some(self)
    }
}

impl Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
