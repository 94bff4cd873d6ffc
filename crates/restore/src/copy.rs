//! The copy of etcd's keys, opened on the operator's machine: the snapshot, or the data of a member that was stopped.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use nightshift_core::restore::copy::{CopyKind, EtcdCopy};
use nightshift_core::settings::Compression;
use nightshift_etcd::snapshot::{Limits, take};
use nightshift_etcd::trial::etcd::{NAME, Origin, Start};
use nightshift_etcd::trial::fault::{Fault, Here as _};
use nightshift_etcd::trial::member;
use nightshift_etcd::trial::scratch::Scratch;
use nightshift_etcd::trial::server::Server;
use nightshift_etcd::trial::tools::Tools;
use nightshift_etcd::trial::unpack::{self, Stated};
use nightshift_snapshot::Ending;
use nightshift_store::packing::Packing;
use nightshift_store::{offload, tree};
use tokio::time::timeout;

use crate::directory::Directory;

/// etcd reads 8 GiB, its largest database, within minutes, and replays its log.
const START_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Of a scratch etcd on this machine.
const SNAPSHOT_LIMITS: Limits =
    Limits { stall: Duration::from_secs(60), deadline: Duration::from_secs(60 * 60) };

/// Writes the copy to `db` as a snapshot.
pub async fn snapshot(
    tools: &Tools,
    directory: &Directory,
    copy: &EtcdCopy,
    db: &Path,
) -> Result<Ending, Fault> {
    if copy.kind.is_snapshot() {
        let (file, packing) = open(directory, copy)?;
        return unpacked(file, packing, db, Some(stated(copy))).await;
    }
    // Each scratch etcd has a directory of its own for its certificates.
    let scratch =
        Scratch::create(&directory.data(), "copy").here(|| "cannot create a scratch directory".to_owned())?;
    let server = start(tools, &scratch, directory, copy, NAME, &scratch.path("data")).await?;
    let path = scratch.path("snapshot.gz");
    let file = File::create_new(&path).here(|| format!("cannot create {}", path.display()))?;
    let taken = take(&server.client, file, Compression::Gzip, SNAPSHOT_LIMITS)
        .await
        .here(|| format!("cannot take a snapshot of the data in {}", copy.set))?;
    drop(server);
    if !taken.report.is_sound() {
        let findings: Vec<String> = taken.report.findings.iter().map(ToString::to_string).collect();
        return Err(Fault::Copy(format!(
            "its data is damaged: {}",
            nightshift_core::text::summary(&findings)
        )));
    }
    let file = File::open(&path).here(|| format!("cannot open {}", path.display()))?;
    unpacked(file, Packing::Gzip, db, None).await
}

/// Starts etcd on the data of a member that was stopped, in `data`: alone, as a new cluster. It replays the member's write-ahead log.
pub async fn start(
    tools: &Tools,
    scratch: &Scratch,
    directory: &Directory,
    copy: &EtcdCopy,
    name: &str,
    data: &Path,
) -> Result<Server, Fault> {
    if copy.kind == CopyKind::V2Backup {
        let (from, to) = (directory.set(&copy.set).join(&copy.item).join("member"), data.join("member"));
        fs::create_dir(data).here(|| format!("cannot create {}", data.display()))?;
        let copied = offload::run(move || tree::copy(&from, &to, &mut |_| Ok(()))).await;
        copied.here(|| "cannot copy the v2 backup".to_owned())?;
    } else {
        let (file, packing) = open(directory, copy)?;
        let (to, stated) = (data.to_owned(), stated(copy));
        offload::run(move || member::unpack(file, packing, &to, Some(stated), |_| Ok(()))).await?;
    }
    member::require(data, &copy.set.to_string())?;
    // On a database without its log, etcd begins another log, and skips writes until that one has as many entries (docs/facts/etcd.md).
    if !member::has_log(data) {
        return Err(Fault::Copy(format!("{} has no write-ahead log (member/wal)", copy.set)));
    }
    let start = Start { name, data, db_size: copy.size, origin: Origin::ForceNewCluster };
    started(tools, scratch, start).await
}

/// Starts a scratch etcd, which becomes its own leader soon or never.
pub async fn started(tools: &Tools, scratch: &Scratch, start: Start<'_>) -> Result<Server, Fault> {
    match timeout(START_TIMEOUT, Server::start(tools, scratch, start)).await {
        Ok(started) => started,
        Err(_) => Err(Fault::Here(format!(
            "the scratch etcd has no leader within {} s; see that this machine is not overloaded, and use another copy",
            START_TIMEOUT.as_secs()
        ))),
    }
}

fn open(directory: &Directory, copy: &EtcdCopy) -> Result<(File, Packing), Fault> {
    let path = directory.set(&copy.set).join(&copy.item);
    let file = File::open(&path).here(|| format!("cannot open {}", path.display()))?;
    Ok((file, packing(copy)))
}

/// How it is compressed.
pub fn packing(copy: &EtcdCopy) -> Packing {
    match copy.kind {
        CopyKind::Snapshot => Packing::of_snapshot(&copy.item).unwrap_or(Packing::Plain),
        CopyKind::ColdCopy => Packing::of_member(&copy.item),
        CopyKind::V2Backup | CopyKind::Survivor => Packing::Plain,
    }
}

fn stated(copy: &EtcdCopy) -> Stated {
    Stated { size: copy.size, sha256: copy.sha256 }
}

async fn unpacked(file: File, packing: Packing, to: &Path, stated: Option<Stated>) -> Result<Ending, Fault> {
    let to = to.to_owned();
    offload::run(move || unpack::unpack(file, packing, &to, stated, |_| Ok(()))).await
}
