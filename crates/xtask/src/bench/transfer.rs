//! One large file pulled and shipped, beside OpenSSH's own tools with the same cipher.

use std::path::Path;
use std::process::Command;

use super::directory::fresh;
use super::measure::{ROUNDS, Sample, timed};
use super::row::{Row, Target, Unit};
use crate::error::{Error, Result};
use crate::workspace;

pub const ABOUT: &str = "\
1 GiB that cannot be compressed, to and from a real OpenSSH server, beside `scp -c aes128-gcm@openssh.com`, connecting \
included. Ours hashes all of it on the way, scp does not. Both ends are in memory, so that the transfer is measured and not \
the disk; only the row with fsync is on the disk. The 20 ms are those of a proxy that delays each byte by 10 ms in \
each direction, and models neither loss nor TCP's own windows. Over it connecting takes either of them 0.7 s, so less is \
gained with a smaller file: 512 MiB were shipped 2.5 times as fast as by scp, 256 MiB twice as fast.";

const MEBIBYTES: u32 = 1024;

/// Where the server and its files are for all rows but the one about the disk.
const MEMORY: &str = "/dev/shm";

pub fn rows() -> Result<Vec<Row>> {
    let disk = fresh("transfer")?;
    let memory = Path::new(MEMORY);
    let mut rows = Vec::new();
    for kind in ["pull", "ship", "verify"] {
        rows.extend(measured(kind, if memory.exists() { memory } else { &disk })?);
    }
    rows.extend(measured("fsync", &disk)?);
    Ok(rows)
}

/// The rows of one kind, as the example prints them:
/// `name TAB their name TAB their seconds TAB our seconds`.
fn measured(kind: &str, scratch: &Path) -> Result<Vec<Row>> {
    let mut example = Command::new(workspace::release().join("examples/throughput"));
    example.args([&MEBIBYTES.to_string(), &ROUNDS.to_string(), kind]).env("TMPDIR", scratch);
    let (text, _) = timed(&mut example)?;
    text.lines().map(row).collect()
}

fn row(line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, other, theirs, ours] = fields[..] else {
        return Err(Error::Missing(format!("the throughput example did not print a row: `{line}`")));
    };
    let speeds = |seconds: &str| {
        let seconds = seconds.split_whitespace().filter_map(|seconds| seconds.parse().ok());
        Sample::new(seconds.collect()).map(|seconds| f64::from(MEBIBYTES) * 1.048_576 / seconds)
    };
    let row = Row::new(name, Unit::MegabytesPerSecond, speeds(ours)).beside(other.to_owned(), speeds(theirs));
    Ok(match target(name) {
        Some((target, if_missed)) => row.target(target, if_missed),
        None => row,
    })
}

/// The rows of fsync and verification have none.
fn target(name: &str) -> Option<(Target, &'static str)> {
    match name {
        "pull, loopback" => Some((Target::RatioAtLeast(1.0), SAME_CORES)),
        "ship, loopback" => Some((Target::RatioAtLeast(1.0), SAME_CORES)),
        "pull, 20 ms round trip" => Some((Target::RatioAtLeast(3.0), SAME_CORES)),
        "ship, 20 ms round trip" => Some((Target::RatioAtLeast(2.5), SAME_CORES)),
        _ => None,
    }
}

const SAME_CORES: &str = "Client, server and proxy share this machine's cores, so ciphers, hash and copying compete: with \
    each end on a machine of its own they would not. Runs differ by a fifth and more, as the extremes show; read a smaller \
    difference as none.";
