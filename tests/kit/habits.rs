//! An SFTP server with one habit: OpenSSH's `sftp-server` behind a filter that changes what it is sent or what it returns.
//! sshd runs it in place of its own, by `ForceCommand`.

#![allow(clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const SERVER: &str = "/usr/lib/openssh/sftp-server";

/// The types of packets and flags (draft-ietf-secsh-filexfer-02).
mod fxp {
    pub const OPEN: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const READ: u8 = 5;
    pub const WRITE: u8 = 6;
    pub const LSTAT: u8 = 7;
    pub const READDIR: u8 = 12;
    pub const STAT: u8 = 17;
    pub const RENAME: u8 = 18;
    pub const STATUS: u8 = 101;
    pub const DATA: u8 = 103;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
    pub const EXTENDED: u8 = 200;
    pub const EXTENDED_REPLY: u8 = 201;
    /// Of an open file.
    pub const FOR_WRITING: u32 = 2;
}

/// The time that a slow server takes for a byte.
const PACE: Duration = Duration::from_millis(500);

/// From this offset on, a write fails where a habit refuses writes.
const FULL_AT: u64 = 20_000;

#[derive(Clone, PartialEq, Eq)]
enum Habit {
    /// An extension is announced and then refused with this status.
    Refuses(String, u32),
    /// Writes that do not continue the one before.
    Sequential,
    /// A write fails with this status and text.
    FailsWith(u32, Vec<u8>),
    /// A file that exists is not opened for writing.
    AddOnly,
    /// No path is described.
    NoStat,
    /// The descriptions of paths are empty.
    NoAttributes,
    /// The file system has no size, or no fragment size.
    ZeroSpace { all: bool },
    /// A file is removed as soon as it has its final name.
    TakesAway,
    /// One byte now and then, often enough that no request times out.
    Slow,
    /// Directories never end.
    Flood,
    /// Files never end, and have any size.
    Endless,
    /// The first directory begins with names that lead out of it.
    Escapes,
    /// The last byte of a file is another one; manifests and signatures are not changed.
    Lies,
}

fn habit(arguments: &[String]) -> Option<Habit> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Some(match arguments.as_slice() {
        ["refuses", extension] => Habit::Refuses((*extension).to_owned(), 8),
        ["refuses", extension, code] => Habit::Refuses((*extension).to_owned(), code.parse().ok()?),
        ["sequential"] => Habit::Sequential,
        // The text is written in hexadecimal, because it may be in any encoding.
        ["fails-with", code, text] => {
            let bytes = (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16));
            Habit::FailsWith(code.parse().ok()?, bytes.collect::<Result<_, _>>().ok()?)
        }
        ["add-only"] => Habit::AddOnly,
        ["no-stat"] => Habit::NoStat,
        ["no-attributes"] => Habit::NoAttributes,
        ["zero-space"] => Habit::ZeroSpace { all: true },
        ["zero-fragment"] => Habit::ZeroSpace { all: false },
        ["takes-away"] => Habit::TakesAway,
        ["slow"] => Habit::Slow,
        ["flood"] => Habit::Flood,
        ["endless"] => Habit::Endless,
        ["escapes"] => Habit::Escapes,
        ["lies"] => Habit::Lies,
        _ => return None,
    })
}

/// Reads the fields of a packet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = self.number()?;
        self.bytes(len as usize)
    }
}

fn status(id: u32, code: u32, reason: &[u8]) -> Vec<u8> {
    let mut packet = reply(fxp::STATUS, id);
    packet.extend_from_slice(&code.to_be_bytes());
    text(&mut packet, reason);
    text(&mut packet, b"");
    packet
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()))
}

/// A packet of this type for a request.
fn reply(kind: u8, id: u32) -> Vec<u8> {
    [&[kind][..], &id.to_be_bytes()].concat()
}

fn text(packet: &mut Vec<u8>, text: &[u8]) {
    packet.extend_from_slice(&(text.len() as u32).to_be_bytes());
    packet.extend_from_slice(text);
}

/// Names that lead out of a directory, or end a line.
const ESCAPES: [&str; 5] =
    ["..", "../../../../tmp/escaped", "/tmp/escaped", "node/../../escaped", "node\nescaped"];

/// Directories, in a listing.
fn names(id: u32, names: &[String]) -> Vec<u8> {
    let mut packet = reply(fxp::NAME, id);
    packet.extend_from_slice(&(names.len() as u32).to_be_bytes());
    for name in names {
        text(&mut packet, name.as_bytes());
        text(&mut packet, name.as_bytes());
        // The flag of the permissions, and those of a directory.
        packet.extend_from_slice(&4u32.to_be_bytes());
        packet.extend_from_slice(&0o40_755u32.to_be_bytes());
    }
    packet
}

struct Filter {
    habit: Habit,
    /// The number of the last name of a listing that never ends.
    named: u64,
    /// Where the next write to a handle has to begin.
    ends: BTreeMap<Vec<u8>, u64>,
    taken: Option<PathBuf>,
    described: Described,
}

/// The requests for the attributes of a path that are not answered yet.
type Described = Arc<Mutex<BTreeSet<u32>>>;

impl Filter {
    /// The response to a request that the server does not get.
    fn instead(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        if let Some(path) = self.taken.take() {
            let _ = fs::remove_file(path);
        }
        let (kind, rest) = packet.split_first()?;
        let mut fields = Fields(rest);
        let id = fields.number()?;
        match (&self.habit, *kind) {
            (Habit::Refuses(refused, code), fxp::EXTENDED) if fields.text()? == refused.as_bytes() => {
                Some(status(id, *code, b"unsupported"))
            }
            (Habit::Sequential, fxp::CLOSE) => {
                // The server uses the name of a handle again.
                self.ends.remove(fields.text()?);
                None
            }
            (Habit::Sequential, fxp::WRITE) => {
                let (handle, offset) = (fields.text()?.to_vec(), fields.long()?);
                let len = fields.text()?.len() as u64;
                let end = self.ends.entry(handle).or_default();
                if *end != offset {
                    return Some(status(id, 4, b"only sequential writes are supported"));
                }
                *end += len;
                None
            }
            (Habit::FailsWith(code, text), fxp::WRITE) => {
                fields.text()?;
                (fields.long()? >= FULL_AT).then(|| status(id, *code, text))
            }
            (Habit::AddOnly, fxp::OPEN) => {
                let exists = path(fields.text()?).exists();
                let for_writing = fields.number()? & fxp::FOR_WRITING != 0;
                (exists && for_writing).then(|| status(id, 3, b"an existing file is not written"))
            }
            (Habit::NoAttributes, fxp::STAT | fxp::LSTAT) => {
                if let Ok(mut described) = self.described.lock() {
                    described.insert(id);
                }
                None
            }
            (Habit::Flood, fxp::READDIR) => {
                self.named += 100;
                let hundred: Vec<_> =
                    (self.named..self.named + 100).map(|number| format!("etcd.{number}")).collect();
                Some(names(id, &hundred))
            }
            (Habit::Escapes, fxp::READDIR) if self.named == 0 => {
                self.named = 1;
                Some(names(id, &ESCAPES.map(str::to_owned)))
            }
            (Habit::Endless, fxp::READ) => {
                fields.text()?;
                fields.long()?;
                let mut packet = reply(fxp::DATA, id);
                text(&mut packet, &vec![b' '; fields.number()?.min(64 << 10) as usize]);
                Some(packet)
            }
            (Habit::NoStat, fxp::STAT | fxp::LSTAT) => Some(status(id, 3, b"not allowed")),
            (Habit::TakesAway, fxp::RENAME) => {
                fields.text()?;
                self.taken = Some(path(fields.text()?)).filter(|path| is_archive(path));
                None
            }
            (Habit::TakesAway, fxp::EXTENDED) if fields.text()? == b"posix-rename@openssh.com" => {
                fields.text()?;
                self.taken = Some(path(fields.text()?)).filter(|path| is_archive(path));
                None
            }
            _ => None,
        }
    }
}

fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tgz")
}

/// Changes a response of the server.
fn changed(habit: &Habit, described: &Described, mut packet: Vec<u8>) -> Vec<u8> {
    let id = packet.get(1..5).and_then(|id| id.try_into().ok()).map(u32::from_be_bytes);
    let is_described = || described.lock().is_ok_and(|mut ids| id.is_some_and(|id| ids.remove(&id)));
    match (habit, packet.first()) {
        (Habit::NoAttributes, Some(&fxp::ATTRS)) if is_described() => {
            packet.truncate(5);
            packet.extend_from_slice(&[0; 4]);
        }
        (Habit::Slow, Some(&fxp::DATA)) if packet.len() > 9 => {
            thread::sleep(PACE);
            packet[5..9].copy_from_slice(&1u32.to_be_bytes());
            packet.truncate(10);
        }
        (Habit::Lies, Some(&fxp::DATA)) if packet.len() > 9 && !packet[9..].starts_with(b"{") => {
            let is_signature = packet[9..].starts_with(b"-----BEGIN");
            if let Some(last) = packet.last_mut().filter(|_| !is_signature) {
                *last ^= 1;
            }
        }
        // Where the first flag is set, the attributes begin with the size.
        (Habit::Endless, Some(&fxp::ATTRS)) if packet.len() >= 17 && packet[8] & 1 != 0 => {
            packet[9..17].copy_from_slice(&(1u64 << 62).to_be_bytes());
        }
        // The fields of a reply to statvfs are eleven numbers of 8 bytes; the second is the fragment size.
        (Habit::ZeroSpace { all }, Some(&fxp::EXTENDED_REPLY)) if packet.len() == 5 + 11 * 8 => {
            let zeros = if *all { 5..packet.len() } else { 13..21 };
            packet[zeros].fill(0);
        }
        _ => {}
    }
    packet
}

fn read_packet(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let mut packet = vec![0; u32::from_be_bytes(len) as usize];
    from.read_exact(&mut packet)?;
    Ok(packet)
}

fn write_packet(to: &mut impl Write, packet: &[u8]) -> io::Result<()> {
    to.write_all(&(packet.len() as u32).to_be_bytes())?;
    to.write_all(packet)?;
    to.flush()
}

fn serve(habit: Habit) -> io::Result<()> {
    let mut server = Command::new(SERVER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (Some(mut requests), Some(mut responses)) = (server.stdin.take(), server.stdout.take()) else {
        return Err(io::Error::other("the server has no pipes"));
    };
    let output = Arc::new(Mutex::new(io::stdout()));
    let described = Described::default();
    let (shared, returned, asked) = (Arc::clone(&output), habit.clone(), Arc::clone(&described));
    let relay = thread::spawn(move || {
        while let Ok(packet) = read_packet(&mut responses) {
            let packet = changed(&returned, &asked, packet);
            let Ok(mut output) = shared.lock() else { return };
            if write_packet(&mut *output, &packet).is_err() {
                return;
            }
        }
    });
    let mut filter = Filter { habit, named: 0, ends: BTreeMap::new(), taken: None, described };
    let mut input = io::stdin();
    while let Ok(packet) = read_packet(&mut input) {
        match filter.instead(&packet) {
            None => write_packet(&mut requests, &packet)?,
            Some(response) => {
                let Ok(mut output) = output.lock() else { break };
                write_packet(&mut *output, &response)?;
            }
        }
    }
    drop(requests);
    let _ = relay.join();
    server.wait().map(drop)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some(habit) = habit(&arguments) else {
        eprintln!("unknown habit: {arguments:?}");
        return ExitCode::FAILURE;
    };
    match serve(habit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
