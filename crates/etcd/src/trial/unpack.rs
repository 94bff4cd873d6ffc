//! A stored snapshot, unpacked to a file and compared with its manifest.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nightshift_core::digest::Digest;
use nightshift_snapshot::Ending;
use nightshift_store::packing::Packing;

use super::fault::{Fault, Here as _};

/// The size in bytes and the hash of an unpacked snapshot, as its manifest has them.
#[derive(Debug, Clone, Copy)]
pub struct Stated {
    pub size: u64,
    pub sha256: Digest,
}

/// Unpacks a snapshot to a new file, and returns its ending. `moved` gets the number of bytes of each piece, and may delay the next one.
pub fn unpack(
    file: File,
    packing: Packing,
    to: &Path,
    stated: Option<Stated>,
    mut moved: impl FnMut(u64) -> io::Result<()>,
) -> Result<Ending, Fault> {
    let unreadable = |error: io::Error| Fault::Copy(format!("cannot unpack the copy: {error}"));
    let source = packing.unpack(file, stated.map(|stated| stated.size)).map_err(unreadable)?;
    let doing = || format!("cannot write {}", to.display());
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).here(doing)?;
    let ending = source.pour(unreadable, |piece| {
        target.write_all(piece).here(doing)?;
        moved(piece.len() as u64).here(doing)
    })?;
    let sha256 = Digest::from(ending.sha256);
    match stated {
        Some(stated) if ending.length != stated.size => Err(Fault::Copy(format!(
            "the snapshot unpacks to {} bytes, but its manifest says {}",
            ending.length, stated.size
        ))),
        Some(stated) if sha256 != stated.sha256 => Err(Fault::Copy(format!(
            "the unpacked snapshot has SHA-256 {sha256}, but its manifest says {}",
            stated.sha256
        ))),
        _ => Ok(ending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_unpacked_and_a_damaged_one_is_the_copys_fault() {
        let dir = tempfile::tempdir().unwrap();
        let (packed, out) = (dir.path().join("a.gz"), dir.path().join("a"));
        let plain: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&plain).unwrap();
        let mut bytes = gz.finish().unwrap();
        let unpacked = |stated| {
            let _from_before = std::fs::remove_file(&out);
            unpack(File::open(&packed).unwrap(), Packing::Gzip, &out, stated, |_| Ok(()))
        };
        std::fs::write(&packed, &bytes).unwrap();
        let ending = unpacked(None).unwrap();
        let (size, sha256) = (plain.len() as u64, Digest::of(&plain));
        assert_eq!((ending.length, Digest::from(ending.sha256)), (size, sha256));
        assert!(unpacked(Some(Stated { size, sha256 })).is_ok());
        for wrong in [Stated { size: 1000, sha256 }, Stated { size, sha256: Digest::of(b"other") }] {
            assert!(matches!(unpacked(Some(wrong)), Err(Fault::Copy(_))));
        }
        bytes.truncate(bytes.len() / 2);
        std::fs::write(&packed, &bytes).unwrap();
        assert!(matches!(unpacked(None), Err(Fault::Copy(_))));
    }
}
