//! The etcd stage beside the runbook's line and beside `etcdctl snapshot save`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::directory::{directory, fresh};
use super::measure::{Sample, in_turns, timed};
use super::process::{Process, free_port, listens};
use super::row::{Row, Target, Unit};
use crate::error::{Error, Result};
use crate::workspace;

pub const ABOUT: &str = "\
A real etcd with a db of 500 MB and more, over plain HTTP, with its default settings but for the quota. It was filled \
with pods as the API server stores them, 7–10 KiB of JSON each: words that repeat, and ids, digests, addresses and \
signatures that don't; gzip makes about a fifth of it. Its write-ahead log, which `etcdctl backup` reads, has them \
too. Ours streams, checks, hashes, compresses on both cores and fsyncs. *The runbook* is its line, `etcdctl backup`, \
`cp` of the db, `tar -zcf` and `rm -rf`; no other contestant checks anything.";

/// Of values; the db is a little larger.
const MEBIBYTES: &str = "480";
/// Above what is filled in, so that no alarm is raised.
const QUOTA: &str = "4000000000";

/// A member with a filled db.
pub struct Member {
    _process: Process,
    data: PathBuf,
    pub url: String,
}

impl Member {
    /// Filling takes a while, so a filled data directory is kept for later runs.
    pub fn filled() -> Result<Self> {
        let data = directory().join(format!("etcd-{MEBIBYTES}"));
        if !data.exists() {
            let aside = fresh("etcd-being-filled")?;
            let member = Self::start(&aside)?;
            println!("  filling etcd");
            timed(example("etcd_fill").args([&member.url, MEBIBYTES]))?;
            drop(member);
            fs::rename(&aside, &data).map_err(Error::io("rename", &aside))?;
        }
        Self::start(&data)
    }

    fn start(data: &Path) -> Result<Self> {
        let (client, peer) = (free_port()?, free_port()?);
        let url = format!("http://127.0.0.1:{client}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let mut process = Process::start(
            Command::new("etcd")
                .args(["--name", "bench", "--quota-backend-bytes", QUOTA, "--data-dir"])
                .arg(data)
                .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
                .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
                .args(["--initial-cluster", &format!("bench={peer_url}")]),
            &directory().join("etcd.log"),
        )?;
        process.wait_until("listening", || listens(client))?;
        let member = Self { _process: process, data: data.to_owned(), url };
        process_ready(&member)?;
        Ok(member)
    }
}

/// A member that listens may still be electing itself.
fn process_ready(member: &Member) -> Result<()> {
    timed(etcdctl(member).args(["--command-timeout", "30s", "endpoint", "health"])).map(drop)
}

/// etcd's own tool, asking this member.
pub fn etcdctl(member: &Member) -> Command {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").args(["--endpoints", &member.url]);
    command
}

fn example(name: &str) -> Command {
    Command::new(workspace::release().join("examples").join(name))
}

/// One snapshot of ours, as the example reports it.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    stored: f64,
    written: f64,
    peak_rss: f64,
}

pub fn rows() -> Result<Vec<Row>> {
    let member = Member::filled()?;
    let work = fresh("etcd-work")?;
    let stage = Stage { member: &member, work: &work };

    let (mut gzip_told, mut zstd_told) = (Vec::new(), Vec::new());
    let mut their_sizes = Vec::new();
    let [gzip, runbook, zstd, save, save_gzip] = in_turns([
        &mut || stage.ours("gzip", &mut gzip_told),
        &mut || stage.runbook(),
        &mut || stage.ours("zstd", &mut zstd_told),
        &mut || stage.save(),
        &mut || stage.save_and_gzip(&mut their_sizes),
    ])?;

    let last = |told: &[Told]| told.last().copied().unwrap_or_default();
    let (gzip_last, zstd_last) = (last(&gzip_told), last(&zstd_told));
    let peak = gzip_told.iter().chain(&zstd_told).map(|told| told.peak_rss).fold(0.0, f64::max);
    let seconds = |what: &str, ours: &Sample| Row::new(what, Unit::Seconds, ours.clone());
    Ok(vec![
        seconds("gzip", &gzip).beside("the runbook", runbook).target(Target::RatioAtMost(0.40), GZIP_MISSED),
        seconds("gzip", &gzip)
            .beside("`etcdctl snapshot save && gzip`", save_gzip)
            .target(Target::RatioAtMost(0.55), GZIP_MISSED),
        seconds("zstd", &zstd)
            .beside("`etcdctl snapshot save` alone", save)
            .target(Target::RatioAtMost(1.2), ZSTD_MISSED),
        Row::new("size, gzip", Unit::Megabytes, gzip_last.stored / 1e6)
            .beside("`gzip`", Sample::new(their_sizes)),
        Row::new("size, zstd", Unit::Megabytes, zstd_last.stored / 1e6),
        Row::new("written to disk, gzip", Unit::Megabytes, gzip_last.written / 1e6)
            .beside("the compressed size", gzip_last.stored / 1e6)
            .target(Target::RatioAtMost(1.05), ""),
        Row::new("written to disk, zstd", Unit::Megabytes, zstd_last.written / 1e6)
            .beside("the compressed size", zstd_last.stored / 1e6)
            .target(Target::RatioAtMost(1.05), ""),
        Row::new("peak memory, the higher of both", Unit::Mebibytes, peak).target(Target::AtMost(64.0), ""),
    ])
}

const GZIP_MISSED: &str = "etcd needs a core of its own while it streams, so compression has the other: \
    more cores would help, a lower level would cost size.";
const ZSTD_MISSED: &str = "etcd and the checks share two cores: a third would hide the compression.";

struct Stage<'a> {
    member: &'a Member,
    work: &'a Path,
}

impl Stage<'_> {
    fn ours(&self, compression: &str, told: &mut Vec<Told>) -> Result<f64> {
        let file = self.work.join(format!("ours.{compression}"));
        self.settle()?;
        let (text, seconds) =
            timed(example("etcd_snapshot").arg(&self.member.url).arg(&file).arg(compression))?;
        let value = |name: &str| {
            let word = text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            word.and_then(|word| word.parse::<f64>().ok())
                .ok_or_else(|| Error::Missing(format!("no {name} in `{}`", text.trim())))
        };
        told.push(Told {
            stored: value("stored")?,
            written: value("written")?,
            peak_rss: value("peak-rss-kib")? / 1024.0,
        });
        self.removed(&file)?;
        Ok(seconds)
    }

    fn runbook(&self) -> Result<f64> {
        let (data, backup) = (self.member.data.display(), self.work.join("etcd.bak"));
        let (backup, tarball) = (backup.display(), self.work.join("e001.tgz"));
        let line = format!(
            "ETCDCTL_API=2 etcdctl backup --data-dir {data} --backup-dir {backup} && \
             cp {data}/member/snap/db {backup}/member/snap/db && tar -zcf {} {backup} && rm -rf {backup}",
            tarball.display()
        );
        self.settle()?;
        let (_, seconds) = timed(Command::new("sh").args(["-c", &line]))?;
        self.removed(&tarball)?;
        Ok(seconds)
    }

    fn save(&self) -> Result<f64> {
        let file = self.work.join("snapshot.db");
        self.settle()?;
        let (_, seconds) = timed(etcdctl(self.member).args(["snapshot", "save"]).arg(&file))?;
        self.removed(&file)?;
        Ok(seconds)
    }

    fn save_and_gzip(&self, sizes: &mut Vec<f64>) -> Result<f64> {
        let file = self.work.join("snapshot.db");
        self.settle()?;
        let (_, saving) = timed(etcdctl(self.member).args(["snapshot", "save"]).arg(&file))?;
        let (_, packing) = timed(Command::new("gzip").arg(&file))?;
        let packed = file.with_extension("db.gz");
        let size = fs::metadata(&packed).map_err(Error::io("read", &packed))?.len();
        sizes.push(size as f64 / 1e6);
        self.removed(&packed)?;
        Ok(saving + packing)
    }

    /// What one contestant left to be written must not slow down the next.
    fn settle(&self) -> Result<()> {
        timed(Command::new("sync").arg("-f").arg(self.work)).map(drop)
    }

    fn removed(&self, file: &Path) -> Result<()> {
        fs::remove_file(file).map_err(Error::io("remove", file))
    }
}
