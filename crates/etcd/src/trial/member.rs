//! The tar of a data directory, unpacked.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use nightshift_store::member_tar::{MemberEntry, read_member};
use nightshift_store::packing::Packing;

use super::fault::{Fault, Here as _};
use super::unpack::Stated;

/// Unpacks the tar, and checks its size and hash against its manifest. `moved` gets the number of bytes of each piece, and may delay
/// the next one.
pub fn unpack(
    file: File,
    packing: Packing,
    data: &Path,
    stated: Option<Stated>,
    moved: impl FnMut(u64) -> io::Result<()>,
) -> Result<(), Fault> {
    let plain = packing.unpack(file, stated.map(|stated| stated.size)).map_err(|error| unreadable(&error))?;
    let unpacked = read_member(Counted { plain, moved }, Fault::Copy, |entry| write(entry, data))?;
    match stated {
        Some(stated) if (unpacked.size, unpacked.sha256) != (stated.size, stated.sha256) => {
            Err(Fault::Copy("its tar file does not have the size and hash that were recorded".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Refuses a directory that is not a member's: etcd would start a new, empty cluster in it, and accept a write.
pub fn require(data: &Path, copy: &str) -> Result<(), Fault> {
    if data.join("member/snap/db").is_file() || has(data, "member/snap", "snap") || has_log(data) {
        return Ok(());
    }
    Err(Fault::Copy(format!(
        "{copy} contains no data of an etcd member: neither member/snap/db nor a .snap or .wal file; a data directory is the one \
         that contains member/"
    )))
}

/// Whether it has a write-ahead log.
pub fn has_log(data: &Path) -> bool {
    has(data, "member/wal", "wal")
}

fn has(data: &Path, directory: &str, extension: &str) -> bool {
    let entries = std::fs::read_dir(data.join(directory)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|found| found == extension))
}

fn unreadable(error: &io::Error) -> Fault {
    Fault::Copy(format!("cannot unpack the copy: {error}"))
}

fn write(entry: MemberEntry<'_>, data: &Path) -> Result<(), Fault> {
    match entry {
        MemberEntry::Directory(name) => {
            let target = data.join(name);
            let created = DirBuilder::new().recursive(true).mode(0o700).create(&target);
            created.here(|| format!("cannot write {}", target.display()))
        }
        MemberEntry::File(name, content) => {
            let target = data.join(name);
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target);
            copy(content, &mut opened.here(|| format!("cannot write {}", target.display()))?, &target)
        }
    }
}

/// Copies a file of the tar. A failed read is the copy's fault, a failed write is this host's.
pub fn copy(content: &mut dyn Read, target: &mut File, path: &Path) -> Result<(), Fault> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match content.read(&mut buffer).map_err(|error| unreadable(&error))? {
            0 => return Ok(()),
            read => target.write_all(&buffer[..read]).here(|| format!("cannot write {}", path.display()))?,
        }
    }
}

struct Counted<R, F> {
    plain: R,
    moved: F,
}

impl<R: Read, F: FnMut(u64) -> io::Result<()>> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(buffer)?;
        (self.moved)(read as u64)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightshift_core::digest::Digest;
    use tar::EntryType;

    fn tar_of(entries: &[(&str, EntryType)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(if *kind == EntryType::Regular { 4 } else { 0 });
            header.set_mode(0o600);
            // Written directly, because the library refuses names of a hostile tar.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, if *kind == EntryType::Regular { &b"data"[..] } else { &[] }).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn unpacked(bytes: &[u8], stated: Option<Stated>) -> (tempfile::TempDir, Result<(), Fault>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("member.tar");
        std::fs::write(&path, bytes).unwrap();
        let result =
            unpack(File::open(&path).unwrap(), Packing::Plain, &dir.path().join("data"), stated, |_| Ok(()));
        (dir, result)
    }

    #[test]
    fn a_member_is_unpacked_and_another_copy_is_refused() {
        let tar = tar_of(&[("member/", EntryType::Directory), ("member/db", EntryType::Regular)]);
        let copy = Stated { size: tar.len() as u64, sha256: Digest::of(&tar) };
        let (dir, result) = unpacked(&tar, Some(copy));
        assert_eq!(result, Ok(()));
        assert_eq!(std::fs::read(dir.path().join("data/member/db")).unwrap(), b"data");
        let other = Stated { sha256: Digest::of(b"other"), ..copy };
        assert!(matches!(unpacked(&tar, Some(other)).1, Err(Fault::Copy(_))));
        let shorter = Stated { size: 700, ..copy };
        assert!(matches!(unpacked(&tar, Some(shorter)).1, Err(Fault::Copy(_))));
    }

    #[test]
    fn nothing_but_a_members_files_is_unpacked() {
        for (name, kind) in [
            ("../outside", EntryType::Regular),
            ("/etc/passwd", EntryType::Regular),
            ("member/../../outside", EntryType::Regular),
            ("other/db", EntryType::Regular),
            ("member/link", EntryType::Symlink),
            ("member/pipe", EntryType::Fifo),
        ] {
            let tar = tar_of(&[("member/", EntryType::Directory), (name, kind)]);
            let (dir, result) = unpacked(&tar, None);
            assert!(matches!(&result, Err(Fault::Copy(_))), "{name}: {result:?}");
            assert!(!dir.path().join("outside").exists());
        }
    }
}
