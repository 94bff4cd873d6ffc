//! The readers of snapshots beside etcd's own, and a drill beside a restore by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::directory::{directory, fresh};
use super::etcd::{Member, etcdctl};
use super::measure::{Sample, in_turns, timed};
use super::row::{Row, Target, Unit};
use super::worker;
use crate::error::{Error, Result};
use crate::workspace;

pub const ABOUT: &str = "\
A snapshot of the same etcd, read from the page cache. `walk` checks every page, key and value and gives the \
numbers of `snapshot status`; neither looks at the SHA-256, which a drill has from unpacking. `pass` checks a snapshot \
while it streams by, its SHA-256 included, here on one core. What `pass` adds at birth is its time beyond that of the \
SHA-256, which the stage computed before there was a `pass`, beside the wall time of the whole stage: an upper bound, \
for the stage has more than one core. Memory is that of a snapshot of 8 GB with half a million leaf pages. A drill \
unpacks a stored snapshot, walks it, restores it, starts an etcd on it, compares its contents and writes to it; *by \
hand* is `etcdctl snapshot restore` of the uncompressed file and nothing else.";

/// Of the snapshot that memory is measured on.
const LARGE_MEGABYTES: &str = "8000";

pub fn rows() -> Result<Vec<Row>> {
    let work = fresh("snapshot")?;
    let member = Member::filled()?;
    let file = work.join("snapshot.db");
    timed(etcdctl(&member).args(["snapshot", "save"]).arg(&file))?;
    let mut rows = readers(&file)?;
    rows.push(birth(&member, &file, &work)?);
    drop(member);
    rows.extend(memory()?);
    rows.extend(drills(&file, &work)?);
    fs::remove_dir_all(&work).map_err(Error::io("remove", &work))?;
    Ok(rows)
}

fn readers(file: &Path) -> Result<Vec<Row>> {
    let etcdutl = workspace::tools().join("etcd-3.5/usr/bin/etcdutl");
    let megabytes = fs::metadata(file).map_err(Error::io("read", file))?.len() as f64 / 1e6;
    let [walk, status, hashed, status_and_sum, pass, sha256sum] = in_turns([
        &mut || printed("seconds", example("walk").arg("--hashed").arg(file)),
        &mut || seconds(status_of(&mut Command::new(&etcdutl), file)),
        &mut || seconds(example("walk").arg(file)),
        &mut || {
            let status = seconds(status_of(&mut Command::new(&etcdutl), file))?;
            Ok(status + seconds(Command::new("sha256sum").arg(file))?)
        },
        &mut || seconds(on_one_core(&example_path("pass")).arg(file)),
        &mut || seconds(on_one_core(Path::new("sha256sum")).arg(file)),
    ])?;
    let speed = |sample: Sample| sample.map(|seconds| megabytes / seconds);
    Ok(vec![
        Row::new(format!("walk, {megabytes:.0} MB"), Unit::Seconds, walk)
            .beside("`etcdutl snapshot status` 3.5", status)
            .target(Target::RatioAtMost(1.0), WALK_MISSED),
        Row::new("walk, and the SHA-256 at once", Unit::Seconds, hashed)
            .beside("the same, then `sha256sum`", status_and_sum),
        Row::new("pass, on one core", Unit::MegabytesPerSecond, speed(pass))
            .beside("`sha256sum`", speed(sha256sum))
            .target(Target::AtLeast(1000.0), PASS_MISSED),
    ])
}

fn status_of<'c>(etcdutl: &'c mut Command, file: &Path) -> &'c mut Command {
    etcdutl.args(["snapshot", "status"]).arg(file)
}

const WALK_MISSED: &str =
    "It checks what `status` does not: every value is parsed, and every page's place is counted.";
const PASS_MISSED: &str = "Most of it is the SHA-256, which no snapshot can be called good without.";

/// What `pass` takes beyond the hash, beside the whole stage.
fn birth(member: &Member, file: &Path, work: &Path) -> Result<Row> {
    let stored = work.join("stored");
    let [pass, hash, stage] = in_turns([
        &mut || seconds(example("pass").arg(file)),
        &mut || seconds(example("pass").arg("--hash-only").arg(file)),
        &mut || {
            let taken = seconds(example("etcd_snapshot").arg(&member.url).arg(&stored).arg("gzip"))?;
            fs::remove_file(&stored).map_err(Error::io("remove", &stored))?;
            Ok(taken)
        },
    ])?;
    let row = Row::new("pass at birth, beyond the hash", Unit::Seconds, pass.median() - hash.median());
    Ok(row.beside("the whole stage, gzip", stage).target(Target::RatioAtMost(0.15), ""))
}

/// On a file that is kept for the next time.
fn memory() -> Result<Vec<Row>> {
    let file = directory().join(format!("large-{LARGE_MEGABYTES}.db"));
    if !file.exists() {
        println!("  making a snapshot of {LARGE_MEGABYTES} MB");
        let aside = file.with_extension("partial");
        if aside.exists() {
            fs::remove_file(&aside).map_err(Error::io("remove", &aside))?;
        }
        timed(example("large").arg(&aside).arg(LARGE_MEGABYTES))?;
        fs::rename(&aside, &file).map_err(Error::io("rename", &aside))?;
    }
    ["walk", "pass"].into_iter().map(|name| peak(name, &file)).collect()
}

fn peak(name: &str, file: &Path) -> Result<Row> {
    let kib = printed("peak-rss", example(name).arg(file))?;
    let row = Row::new(format!("{name}, peak memory on 8 GB"), Unit::Mebibytes, kib / 1024.0);
    Ok(row.target(Target::AtMost(64.0), ""))
}

fn drills(file: &Path, work: &Path) -> Result<Vec<Row>> {
    let stored = work.join("stored.gz");
    timed(Command::new("sh").args(["-c", "gzip -1 < \"$1\" > \"$2\"", "sh"]).arg(file).arg(&stored))?;
    let restored = work.join("restored");
    let [unhindered, paced, by_hand] = in_turns([
        &mut || worker::drill(&stored, work, None),
        &mut || worker::drill(&stored, work, Some(50_000_000)),
        &mut || {
            let mut restore = Command::new("etcdctl");
            restore
                .env("ETCDCTL_API", "3")
                .args(["snapshot", "restore"])
                .arg(file)
                .arg("--data-dir")
                .arg(&restored);
            let taken = seconds(&mut restore)?;
            fs::remove_dir_all(&restored).map_err(Error::io("remove", &restored))?;
            Ok(taken)
        },
    ])?;
    Ok(vec![
        Row::new("a drill, at full speed", Unit::Seconds, unhindered)
            .beside("restored by hand", by_hand.clone()),
        Row::new("a drill, at its default rate of 50 MB/s", Unit::Seconds, paced)
            .beside("restored by hand", by_hand),
    ])
}

/// A number that an example prints as `NAME=NUMBER`.
fn printed(name: &str, command: &mut Command) -> Result<f64> {
    let (text, _) = timed(command)?;
    let number = |word: &str| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    text.split_whitespace()
        .find_map(number)
        .ok_or_else(|| Error::Missing(format!("the example does not print {name}")))
}

fn seconds(command: &mut Command) -> Result<f64> {
    timed(command).map(|(_, seconds)| seconds)
}

fn on_one_core(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(program);
    command
}

fn example(name: &str) -> Command {
    Command::new(example_path(name))
}

fn example_path(name: &str) -> PathBuf {
    workspace::release().join("examples").join(name)
}
