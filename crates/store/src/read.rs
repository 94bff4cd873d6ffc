//! Reading small files, never more of them than they may contain.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nightshift_core::manifest::is_safe_path;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::fault::{IoContext as _, StoreError};

/// The content of a file of at most `max` bytes.
pub fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, StoreError> {
    let file = open_regular(path).on("open", path)?;
    nightshift_core::read_bounded(file, max).on("read", path)
}

/// Opens a regular file for reading. A pipe or a device is refused, because reading it could block or never end.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    regular(OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?)
}

fn regular(file: File) -> io::Result<File> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

/// Opens a regular file below a directory of the vault. No link below that directory is followed: root reads there too, and the
/// daemon's user may have planted one.
pub fn open_below(directory: &Path, name: &str) -> io::Result<File> {
    let followed = |errno| match errno {
        // With O_DIRECTORY, a link gives ENOTDIR, as a file does.
        Errno::LOOP | Errno::NOTDIR => {
            io::Error::other("a symbolic link or a file is in its path, which is not followed")
        }
        errno => errno.into(),
    };
    if !is_safe_path(name) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not the path of a file in a set"));
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut parent = rustix::fs::open(directory, flags | OFlags::DIRECTORY, Mode::empty())?;
    let (above, name) = name.rsplit_once('/').map_or((None, name), |(above, name)| (Some(above), name));
    for part in above.into_iter().flat_map(|above| above.split('/')) {
        let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        parent = openat(&parent, part, flags, Mode::empty()).map_err(followed)?;
    }
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    regular(File::from(openat(&parent, name, flags, Mode::empty()).map_err(followed)?))
}

/// The content of a file of at most `max` bytes in a directory of the vault.
pub fn read_below(directory: &Path, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
    let path = directory.join(name);
    let file = open_below(directory, name).on("open", &path)?;
    nightshift_core::read_bounded(file, max).on("read", &path)
}

/// As `read_bounded`; `None` if the file does not exist.
pub fn read_if_exists(path: &Path, max: u64) -> Result<Option<Vec<u8>>, StoreError> {
    if_exists(read_bounded(path, max))
}

/// `None` if the file does not exist.
pub fn if_exists<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// The last bytes of a file, at most `max`.
pub fn read_tail(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(max)))?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}
