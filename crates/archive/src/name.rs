//! Finds an archive's name in its content, for a file that was renamed.

use std::io::{self, Read};

use nightshift_core::archive::{ArchiveName, MANIFEST};

/// More than the first entry's header, and those before it for a long path, take.
const MAX_HEAD: u64 = 64 << 10;

/// What the beginning of a tar archive contains.
pub enum TarHead {
    /// It is an archive of nightshift, with the name that it was given.
    Archive(ArchiveName),
    OtherTar,
    NotTar,
}

impl TarHead {
    /// Reads the beginning of an unpacked file. `zstd` and `encrypted`: how it was stored.
    pub fn read(unpacked: impl Read, zstd: bool, encrypted: bool) -> io::Result<Self> {
        let mut head = Vec::new();
        unpacked.take(MAX_HEAD).read_to_end(&mut head)?;
        // The magic of POSIX's tar and of GNU's, at byte 257 of a header.
        if head.get(257..262) != Some(b"ustar") {
            return Ok(Self::NotTar);
        }
        let mut archive = tar::Archive::new(head.as_slice());
        let first = archive.entries().ok().and_then(|mut entries| entries.next()?.ok());
        let path = first.and_then(|entry| Some(entry.path().ok()?.to_str()?.to_owned()));
        let name =
            path.as_deref().and_then(|path| path.strip_suffix(MANIFEST)?.strip_suffix('/')).map(|top| {
                format!(
                    "{top}{}{}",
                    if zstd { ".tar.zst" } else { ".tgz" },
                    if encrypted { ".age" } else { "" }
                )
            });
        Ok(name.and_then(|name| name.parse().ok()).map_or(Self::OtherTar, Self::Archive))
    }
}
