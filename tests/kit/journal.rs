//! A journal of the test's own: a socket where a daemon in its own mount namespace finds journald's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::lab::cmd::{Cmd, poll};
use crate::lab::{Error, Result};

/// Hides /run below a file system of its own and puts the folder `$1` where journald listens.
const ENTER: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
    mount --bind \"$1\" /run/systemd/journal && shift && \
    JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$@\"";

/// The fields of one entry.
pub type Entry = BTreeMap<String, String>;

pub struct Journal {
    folder: PathBuf,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Journal {
    /// Whether this machine lets a test have namespaces of its own.
    pub fn available() -> std::result::Result<(), String> {
        Cmd::new("unshare")
            .args(["-rm", "sh", "-c", "mount -t tmpfs none /run"])
            .run()
            .map(drop)
            .map_err(|error| format!("no user and mount namespaces here: {error}"))
    }

    /// Listens in the folder.
    pub fn listen(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
        let socket = UnixDatagram::bind(folder.join("socket")).map_err(Error::io("binding a journal"))?;
        let entries = Arc::<Mutex<Vec<Entry>>>::default();
        let heard = Arc::clone(&entries);
        thread::spawn(move || {
            let mut datagram = vec![0; 256 << 10];
            while let Ok(length) = socket.recv(&mut datagram) {
                // The empty one only asks whether anybody listens.
                if let Some(entry) = parse(&datagram[..length]).filter(|entry| !entry.is_empty()) {
                    heard.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
                }
            }
        });
        Ok(Self { folder: folder.to_owned(), entries })
    }

    /// What runs a program whose journal this is; the program's words follow.
    pub fn command(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", ENTER, "sh"]).arg(&self.folder);
        command
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for an entry with these fields, and gives the first.
    pub fn wait_for(&self, fields: &[(&str, &str)], within: Duration) -> Result<Entry> {
        poll(&format!("a journal entry with {fields:?}"), within, || {
            let entries = self.entries();
            let wanted = |entry: &&Entry| {
                fields.iter().all(|(key, value)| entry.get(*key).is_some_and(|v| v == value))
            };
            entries.iter().find(wanted).cloned().ok_or_else(|| format!("{} others", entries.len()))
        })
    }
}

/// journald's native protocol: `KEY=value`, or for a value with line breaks `KEY`, its length and its bytes.
fn parse(mut bytes: &[u8]) -> Option<Entry> {
    let mut entry = Entry::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 1..];
        if let Some((key, value)) = line.split_once('=') {
            entry.insert(key.to_owned(), value.to_owned());
            continue;
        }
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        entry.insert(line, String::from_utf8_lossy(value).into_owned());
        bytes = rest.get(1..)?;
    }
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_field_are_read() {
        let entry = parse(b"A=1\nMESSAGE\n\x03\0\0\0\0\0\0\0x\ny\nB=2=3\n").unwrap();
        assert_eq!(entry["A"], "1");
        assert_eq!(entry["MESSAGE"], "x\ny");
        assert_eq!(entry["B"], "2=3");
        assert!(parse(b"MESSAGE\n\xff\0\0\0\0\0\0\0x").is_none());
    }
}
