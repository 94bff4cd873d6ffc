//! A stored snapshot, unpacked into a file without a name, so that it can be read in place.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use nightshift_snapshot::Ending;

use crate::packing::Packing;
use crate::space::{self, SpaceError};

/// Where the size is not known beforehand, the free space is checked again after this many bytes.
const STRIDE: u64 = 64 << 20;
/// A tenth of the file system stays free, but never more than this.
const MAX_RESERVE: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("not enough space")]
    Space(#[from] SpaceError),
    #[error("cannot write a file in {}", directory.display())]
    Write { directory: PathBuf, source: io::Error },
    #[error("it does not unpack to its end")]
    Unpack(#[source] io::Error),
}

/// An unpacked snapshot.
#[derive(Debug)]
pub struct Spooled {
    /// Without a name: it is gone once it is closed.
    pub file: File,
    /// Its length and hash, and whether they match its trailer.
    pub ending: Ending,
}

/// Unpacks `packed` into a new file in `directory`. `expected` is the unpacked size in bytes, where it is known.
pub fn spool(
    packed: impl Read,
    packing: Packing,
    directory: &Path,
    expected: Option<u64>,
) -> Result<Spooled, SpoolError> {
    let mut checked = expected.unwrap_or(STRIDE);
    let mut file = scratch_file(directory, checked)?;
    let plain = packing.unpack(packed, expected).map_err(SpoolError::Unpack)?;
    let mut size = 0;
    let ending = plain.pour(SpoolError::Unpack, |piece| {
        size += piece.len() as u64;
        if size > checked {
            require(directory, STRIDE)?;
            checked = size + STRIDE;
        }
        file.write_all(piece).map_err(unwritable(directory))
    })?;
    Ok(Spooled { file, ending })
}

/// Creates a file without a name in `directory`, where `size` bytes fit.
pub fn scratch_file(directory: &Path, size: u64) -> Result<File, SpoolError> {
    require(directory, size)?;
    tempfile::tempfile_in(directory).map_err(unwritable(directory))
}

fn unwritable(directory: &Path) -> impl Fn(io::Error) -> SpoolError {
    move |source| SpoolError::Write { directory: directory.to_owned(), source }
}

fn require(directory: &Path, need: u64) -> Result<(), SpoolError> {
    let reserve = (space::room(directory).map_err(SpaceError::from)?.total / 10).min(MAX_RESERVE);
    Ok(space::require(directory, need, 1, reserve)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightshift_core::digest::Digest;
    use std::os::unix::fs::FileExt as _;

    const TEXT: &[u8] = b"a snapshot, as etcd wrote it; ";

    fn packed(packing: Packing, bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        match packing {
            Packing::Plain => packed.extend_from_slice(bytes),
            Packing::Gzip => {
                let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
                encoder.read_to_end(&mut packed).unwrap();
            }
            Packing::Zstd => packed = zstd::encode_all(bytes, 1).unwrap(),
        }
        packed
    }

    fn spooled(packing: Packing, packed: &[u8], expected: Option<u64>) -> Result<Spooled, SpoolError> {
        spool(packed, packing, &std::env::temp_dir(), expected)
    }

    #[test]
    fn a_snapshot_is_unpacked_however_it_is_stored() {
        let bytes = TEXT.repeat(10_000);
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let packed = packed(packing, &bytes);
            assert_eq!(Packing::of(&packed), packing);
            let spooled = spooled(packing, &packed, Some(bytes.len() as u64)).unwrap();
            let Ending { length, sha256, .. } = spooled.ending;
            assert_eq!((length, Digest::from(sha256)), (bytes.len() as u64, Digest::of(&bytes)));
            let mut head = [0; TEXT.len()];
            spooled.file.read_exact_at(&mut head, 0).unwrap();
            assert_eq!(head, TEXT);
        }
    }

    #[test]
    fn a_file_that_unpacks_to_more_than_the_size_in_its_manifest_is_refused() {
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let error = spooled(packing, &packed(packing, &TEXT.repeat(10_000)), Some(1000)).unwrap_err();
            let reason = nightshift_core::chain(&error);
            assert!(reason.contains("more than the 1000 bytes"), "{packing:?}: {reason}");
        }
    }

    #[test]
    fn a_truncated_file_is_an_error_or_shorter_than_the_whole() {
        let bytes = TEXT.repeat(10_000);
        let cut = |packing| {
            let mut packed = packed(packing, &bytes);
            packed.truncate(packed.len() / 2);
            spooled(packing, &packed, None)
        };
        assert!(cut(Packing::Gzip).is_err());
        assert!(
            cut(Packing::Zstd).is_err() || cut(Packing::Zstd).unwrap().ending.length < bytes.len() as u64
        );
    }

    #[test]
    fn a_snapshot_that_does_not_fit_is_refused_before_the_first_byte_is_read() {
        let mut packed = TEXT;
        let refused = spool(&mut packed, Packing::Plain, &std::env::temp_dir(), Some(u64::MAX / 4));
        assert!(matches!(refused, Err(SpoolError::Space(_))));
        assert_eq!(packed, TEXT);
    }
}
