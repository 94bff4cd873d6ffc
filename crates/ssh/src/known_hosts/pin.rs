//! Adds a key to known_hosts, or replaces those of a host. The file is replaced atomically, so it is complete after a crash at any instant.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use russh::keys::PublicKey;

use super::entry::{Entry, FORMER, Marker};
use super::{HostKeyVerdict, KnownHosts, KnownHostsError, SSH_PORT, fingerprint, lookup, lookups, read};

const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// Appends one key for a host and keeps everything else. Returns false if the key is already pinned.
pub fn pin(path: &Path, name: &str, port: u16, key: &PublicKey) -> Result<bool, KnownHostsError> {
    require_single(name)?;
    let failed = |source| KnownHostsError::Write { path: path.to_owned(), source };
    let mut file = open(path)?;
    let known = KnownHosts::parse_from(path, &file.text)?;
    if known.check_as(&lookups(&[name], port), key.key_data()) == HostKeyVerdict::Trusted {
        return Ok(false);
    }
    add(&mut file.text, name, port, key);
    write(&file.target, file.text.as_bytes()).map_err(failed)?;
    Ok(true)
}

/// A key to pin for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    pub name: String,
    pub port: u16,
    pub key: PublicKey,
}

/// As [`pin`] for the keys of many hosts, with one replacement of the file.
pub fn pin_all(path: &Path, pins: &[Pin]) -> Result<(), KnownHostsError> {
    for pin in pins {
        require_single(&pin.name)?;
    }
    let failed = |source| KnownHostsError::Write { path: path.to_owned(), source };
    let mut file = open(path)?;
    let known = KnownHosts::parse_from(path, &file.text)?;
    for Pin { name, port, key } in pins {
        if known.check_as(&lookups(&[name], *port), key.key_data()) != HostKeyVerdict::Trusted {
            add(&mut file.text, name, *port, key);
        }
    }
    write(&file.target, file.text.as_bytes()).map_err(failed)
}

/// Pins these keys instead of all that are pinned for a host under its names and this port. Those stay as former keys, so that
/// what they signed before `now` is still verified. Returns how many were replaced.
pub fn replace<N: AsRef<str>>(
    path: &Path,
    names: &[N],
    port: u16,
    keys: &[&PublicKey],
    now: Timestamp,
) -> Result<usize, KnownHostsError> {
    let name = names.first().map_or("", AsRef::as_ref);
    require_single(name)?;
    let failed = |source| KnownHostsError::Write { path: path.to_owned(), source };
    let file = open(path)?;
    let lookups = lookups(names, port);
    let mut replaced = 0;
    let mut new = String::new();
    for (index, line) in file.text.lines().enumerate() {
        let problem = |problem| KnownHostsError::Line { path: path.to_owned(), line: index + 1, problem };
        let pins = Entry::parse(line).map_err(problem)?.filter(|entry| {
            let is_kept = keys.iter().any(|key| entry.key.as_ref() == Some(key.key_data()));
            entry.marker == Marker::None && entry.applies_to(&lookups) && !is_kept
        });
        if let Some(entry) = pins {
            if !entry.hosts.is_only(&lookups) {
                return Err(KnownHostsError::Shared {
                    path: path.to_owned(),
                    line: index + 1,
                    name: name.to_owned(),
                });
            }
            new.push_str(&format!("{FORMER} {now} "));
            replaced += 1;
        }
        new.push_str(line);
        new.push('\n');
    }
    let known = KnownHosts::parse_from(path, &new)?;
    for key in keys {
        if known.check_as(&lookups, key.key_data()) != HostKeyVerdict::Trusted {
            add(&mut new, name, port, key);
        }
    }
    write(&file.target, new.as_bytes()).map_err(failed)?;
    Ok(replaced)
}

/// Pins these lines, each `names type key`, instead of all that is pinned for their hosts. False if they already are.
pub fn pin_lines(path: &Path, lines: &[String], now: Timestamp) -> Result<bool, KnownHostsError> {
    let mut hosts: BTreeMap<&str, Vec<PublicKey>> = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        let invalid = |problem: &str| KnownHostsError::Pin { line: index + 1, problem: problem.to_owned() };
        let entry = Entry::parse(line).map_err(|problem| invalid(&problem))?;
        let names = line.split(' ').next().unwrap_or_default();
        let keys = hosts.entry(names).or_default();
        // One of a type that is never negotiated has none.
        keys.extend(entry.and_then(|entry| entry.key).map(PublicKey::from));
    }
    let mut changed = false;
    for (names, keys) in hosts.iter().filter(|(_, keys)| !keys.is_empty()) {
        let (names, port) = names_and_port(names)?;
        let known = KnownHosts::parse_from(path, &open(path)?.text)?;
        let lookups = lookups(&names, port);
        if keys.iter().any(|key| known.is_revoked(&lookups, key.key_data())) {
            return Err(KnownHostsError::Revoked { path: path.to_owned(), name: names.join(", ") });
        }
        let pinned: BTreeSet<String> = known.keys(&lookups, Marker::None).map(fingerprint).collect();
        if pinned != keys.iter().map(|key| fingerprint(key.key_data())).collect() {
            replace(path, &names, port, &keys.iter().collect::<Vec<_>>(), now)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// The names of a line, `name` or `[name]:port`, which all have the same port.
fn names_and_port(names: &str) -> Result<(Vec<&str>, u16), KnownHostsError> {
    let split = |name| match name {
        name if !str::starts_with(name, '[') => Some((name, SSH_PORT)),
        name => {
            let (name, port) = name.strip_prefix('[')?.rsplit_once("]:")?;
            Some((name, port.parse().ok()?))
        }
    };
    let invalid = || KnownHostsError::Name { name: names.to_owned() };
    let split = names.split(',').map(split).collect::<Option<Vec<_>>>().ok_or_else(invalid)?;
    let (names_alone, ports): (Vec<&str>, BTreeSet<u16>) = split.into_iter().unzip();
    match ports.first() {
        Some(port) if ports.len() == 1 => Ok((names_alone, *port)),
        _ => Err(invalid()),
    }
}

fn require_single(name: &str) -> Result<(), KnownHostsError> {
    let is_special = |c: char| c.is_whitespace() || c.is_control() || "*?!,|@#[]".contains(c);
    if name.is_empty() || name.contains(is_special) {
        return Err(KnownHostsError::Name { name: name.to_owned() });
    }
    Ok(())
}

/// The file to replace, and its text, which no other process changes until this is dropped.
struct Locked {
    target: PathBuf,
    text: String,
    /// Its directory: the file itself is replaced, so a lock of it would be of the old one.
    _lock: File,
}

/// Symlinks are resolved, because the rename would replace the link with a file.
fn open(path: &Path) -> Result<Locked, KnownHostsError> {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(source) => return Err(KnownHostsError::Write { path: path.to_owned(), source }),
    };
    let locked = lock(directory_of(&target));
    let lock = locked.map_err(|source| KnownHostsError::Write { path: path.to_owned(), source })?;
    let text = if target.exists() { read(&target)? } else { String::new() };
    Ok(Locked { target, text, _lock: lock })
}

fn directory_of(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Another process has the lock only while it replaces the file.
fn lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCK_INTERVAL),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other(
                    "another process has its directory locked; see `fuser -v` on the directory, then run this command again",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn add(text: &mut String, name: &str, port: u16, key: &PublicKey) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let line = crate::identity::public_key_line(key);
    text.push_str(&format!("{} {line}\n", lookup(name, port)));
}

/// Writes a temporary file beside the target, then renames it over the target. Owner and mode are kept.
fn write(target: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(target);
    let written = write_temporary(&temporary, target, content).and_then(|()| fs::rename(&temporary, target));
    if let Err(error) = written {
        // The first error is reported; a leftover file is overwritten by the next attempt.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(directory_of(target))?.sync_all()
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
