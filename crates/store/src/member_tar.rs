//! The tar of a member's data directory: directories and regular files below `member/`, and nothing else.

use std::io::{self, Read, Write as _};

use nightshift_core::digest::{HashedWriter, Written};
use nightshift_core::manifest::is_safe_path;
use nightshift_core::text::line_of;
use tar::{Archive, EntryType};

const ROOT: &str = "member";
/// Characters of a name in an error.
const MAX_SHOWN: usize = 200;

/// What is in the tar. The path is relative, and safe to join to a directory.
pub enum MemberEntry<'a> {
    Directory(&'a str),
    File(&'a str, &'a mut dyn Read),
}

/// Whether a file of a data directory contains keys or changes of a member. `snap/db` is missing where there are v2 keys only.
pub fn is_member_data(path: &str) -> bool {
    let in_directory = |directory: &str, extension: &str| {
        let name = path.strip_prefix(directory).and_then(|name| name.strip_suffix(extension));
        name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
    };
    path == "member/snap/db" || in_directory("member/snap/", ".snap") || in_directory("member/wal/", ".wal")
}

/// Reads a tar to its end, and returns its size and hash. `each` gets what is in it, and `refused` makes the error of a tar that
/// cannot be read or contains something else.
pub fn read_member<E>(
    tar: impl Read,
    refused: impl Fn(String) -> E,
    mut each: impl FnMut(MemberEntry<'_>) -> Result<(), E>,
) -> Result<Written, E> {
    let unreadable = |error: io::Error| refused(format!("cannot unpack the copy: {error}"));
    let mut hashed = Hashed { tar, hash: HashedWriter::new(io::sink()) };
    let mut archive = Archive::new(&mut hashed);
    // Raw, because a long name is read into memory whatever its size; no file of etcd's has one.
    for entry in archive.entries().map_err(&unreadable)?.raw(true) {
        let mut entry = entry.map_err(&unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = name.trim_end_matches('/');
        let is_inside = is_safe_path(name) && name.split('/').next() == Some(ROOT);
        match entry.header().entry_type() {
            EntryType::Directory if is_inside => each(MemberEntry::Directory(name))?,
            EntryType::Regular if is_inside => each(MemberEntry::File(name, &mut entry))?,
            _ => {
                let name = line_of(name, MAX_SHOWN);
                return Err(refused(format!("the copy contains `{name}`, which is not a member's data")));
            }
        }
    }
    io::copy(&mut hashed, &mut io::sink()).map_err(&unreadable)?;
    Ok(hashed.hash.finish().1)
}

struct Hashed<R> {
    tar: R,
    hash: HashedWriter<io::Sink>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.tar.read(buffer)?;
        self.hash.write_all(&buffer[..read])?;
        Ok(read)
    }
}
