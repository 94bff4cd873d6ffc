//! `member/` as a tar file: directories and regular files, opened by descriptors, so that no link is followed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

/// etcd's own directories have a depth of two.
const MAX_DEPTH: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not etcd's: it is a symbolic link or a special file, or nested too deeply", .path.display())]
    NotEtcds { path: PathBuf },
    #[error("{} changed while the member was stopped; another process writes to it", .path.display())]
    Changed { path: PathBuf },
    #[error("cannot send the copy")]
    Write(#[source] io::Error),
}

/// Writes the directory to `output`, as `member/`. `path` is for messages.
pub fn pack<W: Write>(directory: &OwnedFd, path: &Path, output: W) -> Result<W, PackError> {
    let mut tar = Builder::new(output);
    let stat = fstat(directory).map_err(read_error(path))?;
    add_directory(&mut tar, directory, &stat, path, Path::new("member"), 0)?;
    tar.into_inner().map_err(PackError::Write)
}

fn add_directory<W: Write>(
    tar: &mut Builder<W>,
    directory: impl AsFd,
    stat: &Stat,
    path: &Path,
    name: &Path,
    depth: usize,
) -> Result<(), PackError> {
    if depth > MAX_DEPTH {
        return Err(PackError::NotEtcds { path: path.to_owned() });
    }
    tar.append_data(&mut header(stat, EntryType::Directory), name, io::empty()).map_err(PackError::Write)?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory).map_err(read_error(path))? {
        let entry = entry.map_err(read_error(path))?;
        names.push(entry.file_name().to_owned());
    }
    names.sort();
    for entry in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
        let entry: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(entry.to_bytes());
        let (path, name) = (path.join(entry), name.join(entry));
        let stat = statat(&directory, entry, AtFlags::SYMLINK_NOFOLLOW).map_err(read_error(&path))?;
        let open = |extra| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | extra;
            openat(&directory, entry, flags, Mode::empty()).map_err(read_error(&path))
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                add_directory(tar, open(OFlags::DIRECTORY)?, &stat, &path, &name, depth + 1)?;
            }
            FileType::RegularFile => add_file(tar, File::from(open(OFlags::NOCTTY)?), &path, &name)?,
            _ => return Err(PackError::NotEtcds { path }),
        }
    }
    Ok(())
}

fn add_file<W: Write>(tar: &mut Builder<W>, file: File, path: &Path, name: &Path) -> Result<(), PackError> {
    let stat = |file: &File| fstat(file).map_err(read_error(path));
    let before = stat(&file)?;
    if !FileType::from_raw_mode(before.st_mode).is_file() {
        return Err(PackError::NotEtcds { path: path.to_owned() });
    }
    let mut reader =
        Exactly { file: &file, left: u64::try_from(before.st_size).unwrap_or_default(), failed: None };
    let appended = tar.append_data(&mut header(&before, EntryType::Regular), name, &mut reader);
    if let Some(source) = reader.failed {
        return Err(PackError::Read { path: path.to_owned(), source });
    }
    let short = reader.left > 0;
    appended.map_err(PackError::Write)?;
    let after = stat(&file)?;
    let stamp = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    if short || stamp(&before) != stamp(&after) {
        return Err(PackError::Changed { path: path.to_owned() });
    }
    Ok(())
}

fn read_error(path: &Path) -> impl Fn(Errno) -> PackError + '_ {
    move |errno| PackError::Read { path: path.to_owned(), source: errno.into() }
}

fn header(stat: &Stat, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(u64::from(stat.st_uid));
    header.set_gid(u64::from(stat.st_gid));
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
    let size = if kind == EntryType::Regular { u64::try_from(stat.st_size).unwrap_or_default() } else { 0 };
    header.set_size(size);
    header
}

/// Reads as many bytes as the header says, and remembers a failed read: `append_data` does not distinguish it from a failed write.
struct Exactly<'a> {
    file: &'a File,
    left: u64,
    failed: Option<io::Error>,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        match self.file.read(&mut buffer[..most]) {
            Ok(read) => {
                self.left -= read as u64;
                Ok(read)
            }
            Err(error) => {
                let said = io::Error::from(error.kind());
                self.failed = Some(error);
                Err(said)
            }
        }
    }
}
