//! Adds a key to known_hosts. The file is replaced atomically, so it is complete after a crash at any instant.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use russh::keys::PublicKey;

use super::{HostKeyVerdict, KnownHosts, KnownHostsError, lookup, lookups, read};

/// Appends one key for a host and keeps everything else. Returns false if the key is already pinned.
pub fn pin(path: &Path, name: &str, port: u16, key: &PublicKey) -> Result<bool, KnownHostsError> {
    if name.is_empty()
        || name.contains(|c: char| c.is_whitespace() || c.is_control() || "*?!,|@#[]".contains(c))
    {
        return Err(KnownHostsError::Name { name: name.to_owned() });
    }
    let failed = |source| KnownHostsError::Write { path: path.to_owned(), source };
    // Symlinks are resolved first, because the rename would replace the link with a file.
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(failed(error)),
    };
    let mut text = if target.exists() { read(&target)? } else { String::new() };
    let known = KnownHosts::parse_from(path, &text)?;
    if known.check_as(&lookups(&[name], port), key.key_data()) == HostKeyVerdict::Trusted {
        return Ok(false);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let line = crate::identity::public_key_line(key);
    text.push_str(&format!("{} {line}\n", lookup(name, port)));
    replace(&target, text.as_bytes()).map_err(failed)?;
    Ok(true)
}

/// Writes a temporary file beside the target, then renames it over the target. Owner and mode are kept.
fn replace(target: &Path, content: &[u8]) -> io::Result<()> {
    let directory = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = temporary_beside(target);
    let written = write_temporary(&temporary, target, content).and_then(|()| fs::rename(&temporary, target));
    if let Err(error) = written {
        // The first error is reported; a leftover file is overwritten by the next attempt.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

fn temporary_beside(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    target.with_file_name(name)
}

fn write_temporary(temporary: &Path, target: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    if let Ok(old) = fs::metadata(target) {
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.write_all(content)?;
    file.sync_all()
}
