//! Directories as a whole: copied, and measured.

use std::fs::{DirBuilder, File, OpenOptions, read_dir};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::fault::{IoContext as _, StoreError};

const CHUNK: usize = 256 << 10;

/// The bytes of all regular files below a directory. What cannot be read counts as nothing: files may come and go meanwhile.
pub fn size(directory: &Path) -> u64 {
    let entries = read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.metadata().ok()?, entry.path())))
        .map(|(metadata, path)| if metadata.is_dir() { size(&path) } else { metadata.len() })
        .sum()
}

/// Copies the directories and regular files of `from` to `to`, which must not exist, readable by this user only. A link is an
/// error, because the copy would lack what it leads to; sockets and devices are skipped. `copied` gets the number of bytes of
/// each step, and aborts the copying by an error.
pub fn copy(from: &Path, to: &Path, copied: &mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), StoreError> {
    DirBuilder::new().mode(0o700).create(to).on("create", to)?;
    for entry in read_dir(from).on("list", from)? {
        let entry = entry.on("list", from)?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().on("stat", &path)?;
        if kind.is_dir() {
            copy(&path, &target, copied)?;
        } else if kind.is_file() {
            copy_file(&path, &target, copied)?;
        } else if kind.is_symlink() {
            let link = io::Error::other(
                "it is a symbolic link, which is not followed; copy the directory with `cp -rL` first",
            );
            return Err(link).on("copy", &path);
        }
    }
    Ok(())
}

fn copy_file(
    from: &Path,
    to: &Path,
    copied: &mut dyn FnMut(u64) -> io::Result<()>,
) -> Result<(), StoreError> {
    let mut source = File::open(from).on("open", from)?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).on("create", to)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match source.read(&mut buffer).on("read", from)? {
            0 => return Ok(()),
            read => {
                target.write_all(&buffer[..read]).on("write", to)?;
                copied(read as u64).on("copy", from)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_copied_unless_it_has_links_and_has_the_size_of_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        std::fs::create_dir_all(from.join("member/wal")).unwrap();
        std::fs::write(from.join("member/wal/0.wal"), vec![7; 300_000]).unwrap();
        let mut bytes = 0;
        let mut count = |more| {
            bytes += more;
            Ok(())
        };
        copy(&from, &to, &mut count).unwrap();
        assert_eq!(std::fs::read(to.join("member/wal/0.wal")).unwrap(), vec![7; 300_000]);
        assert_eq!((bytes, size(&to), size(&directory.path().join("none"))), (300_000, 300_000, 0));
        assert!(copy(&from, &to, &mut |_| Ok(())).is_err(), "it must not exist");
        let stopped = copy(&from, &directory.path().join("other"), &mut |_| Err(io::Error::other("stopped")));
        assert!(nightshift_core::chain(&stopped.unwrap_err()).ends_with("stopped"));
        std::os::unix::fs::symlink("/elsewhere/wal", from.join("member/link")).unwrap();
        let linked = copy(&from, &directory.path().join("linked"), &mut |_| Ok(())).unwrap_err();
        let linked = nightshift_core::chain(&linked);
        assert!(linked.contains("member/link: it is a symbolic link"), "{linked}");
    }
}
