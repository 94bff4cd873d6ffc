//! A cold copy's tar, unpacked to a data dir: folders and regular files below `member/`, and nothing else.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nightshift_core::digest::{HashedWriter, Written};
use nightshift_core::etcd_facts::ColdCopy;
use nightshift_core::manifest::is_safe_path;
use nightshift_etcd::trial::{Fault, Here as _};
use tar::{Archive, EntryType};

use super::copy::Pace;
use nightshift_store::packing::Packing;

const ROOT: &str = "member";

/// Unpacks the tar, and makes sure that it is what its manifest says.
pub(super) fn unpack(
    file: &Path,
    packing: Packing,
    data: &Path,
    expected: Option<&ColdCopy>,
    pace: Pace,
) -> Result<(), Fault> {
    let source = File::open(file).here(|| format!("{} cannot be opened", file.display()))?;
    let raw_size = expected.map(|expected| expected.raw_size);
    let plain = packing.unpack(source, raw_size).map_err(|error| unreadable(file, &error))?;
    let mut counted = Counted { plain, hashed: HashedWriter::new(io::sink()), pace };
    let mut archive = Archive::new(&mut counted);
    for entry in archive.entries().map_err(|error| unreadable(file, &error))? {
        let mut entry = entry.map_err(|error| unreadable(file, &error))?;
        let (target, kind) = place(&entry, data)?;
        let doing = || format!("{} cannot be written", target.display());
        if kind == EntryType::Directory {
            DirBuilder::new().recursive(true).mode(0o700).create(&target).here(doing)?;
            continue;
        }
        let fresh = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target);
        let mut fresh = fresh.here(doing)?;
        copy(file, &mut entry, &mut fresh, &target)?;
    }
    io::copy(&mut counted, &mut io::sink()).map_err(|error| unreadable(file, &error))?;
    let (_, Written { size, sha256 }) = counted.hashed.finish();
    match expected {
        Some(expected) if (size, sha256) != (expected.raw_size, expected.raw_sha256) => {
            Err(Fault::Copy(format!("{} is not the cold copy that was taken", file.display())))
        }
        _ => Ok(()),
    }
}

fn unreadable(file: &Path, error: &io::Error) -> Fault {
    Fault::Copy(format!("{} cannot be unpacked: {error}", file.display()))
}

/// Where an entry goes. Whatever is not of a `member/` folder is refused.
fn place<R: Read>(entry: &tar::Entry<'_, R>, data: &Path) -> Result<(PathBuf, EntryType), Fault> {
    let odd = |name: &str| Fault::Copy(format!("it holds `{name}`, which is no part of a member's data"));
    let bytes = entry.path_bytes();
    let name = String::from_utf8_lossy(&bytes);
    let name = name.trim_end_matches('/');
    let kind = entry.header().entry_type();
    let inside = is_safe_path(name) && name.split('/').next() == Some(ROOT);
    if inside && matches!(kind, EntryType::Directory | EntryType::Regular) {
        Ok((data.join(name), kind))
    } else {
        Err(odd(&name.chars().take(200).collect::<String>()))
    }
}

/// A failed read is the copy's fault, a failed write this machine's.
fn copy(file: &Path, entry: &mut impl Read, target: &mut File, path: &Path) -> Result<(), Fault> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match entry.read(&mut buffer).map_err(|error| unreadable(file, &error))? {
            0 => return Ok(()),
            read => io::Write::write_all(target, &buffer[..read])
                .here(|| format!("{} cannot be written", path.display()))?,
        }
    }
}

struct Counted<R> {
    plain: R,
    hashed: HashedWriter<io::Sink>,
    pace: Pace,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(buffer)?;
        self.hashed.write_all(&buffer[..read])?;
        self.pace.moved(read as u64).map_err(|fault| io::Error::other(fault.reason()))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightshift_core::digest::Digest;

    fn tar_of(entries: &[(&str, EntryType)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(if *kind == EntryType::Regular { 4 } else { 0 });
            header.set_mode(0o600);
            // As a hostile one is written: nothing keeps it from leaving the folder.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, if *kind == EntryType::Regular { &b"data"[..] } else { &[] }).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn unpacked(bytes: &[u8], expected: Option<&ColdCopy>) -> (tempfile::TempDir, Result<(), Fault>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("member.tar");
        std::fs::write(&file, bytes).unwrap();
        let result = unpack(&file, Packing::Plain, &folder.path().join("data"), expected, Pace::unbounded());
        (folder, result)
    }

    #[test]
    fn a_member_comes_out_as_it_went_in_and_another_copy_is_refused() {
        let tar = tar_of(&[("member/", EntryType::Directory), ("member/db", EntryType::Regular)]);
        let copy = ColdCopy {
            item: "member.tar.gz".into(),
            raw_size: tar.len() as u64,
            raw_sha256: Digest::of(&tar),
            stopped_ms: 1,
        };
        let (folder, result) = unpacked(&tar, Some(&copy));
        assert_eq!(result, Ok(()));
        assert_eq!(std::fs::read(folder.path().join("data/member/db")).unwrap(), b"data");
        let other = ColdCopy { raw_sha256: Digest::of(b"other"), ..copy.clone() };
        assert!(matches!(unpacked(&tar, Some(&other)).1, Err(Fault::Copy(_))));
        let shorter = ColdCopy { raw_size: 700, ..copy };
        assert!(matches!(unpacked(&tar, Some(&shorter)).1, Err(Fault::Copy(_))));
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
            let (folder, result) = unpacked(&tar, None);
            assert!(matches!(&result, Err(Fault::Copy(_))), "{name}: {result:?}");
            assert!(!folder.path().join("outside").exists());
        }
    }
}
