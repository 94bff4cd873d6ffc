//! Copies of the database of a member under write load, and snapshots of the same member under the same load.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::writer::{Random, Writer, local, object};
use kit::etcd::Etcd;
use nightshift_core::settings::Compression;
use nightshift_etcd::client::Client;
use nightshift_etcd::snapshot::{Limits, take};
use nightshift_etcd::trial::canary::{self, AlarmRule};
use nightshift_etcd::trial::child::Launch;
use nightshift_etcd::trial::compare::{Expected, compare};
use nightshift_etcd::trial::contents::{self, Source};
use nightshift_etcd::trial::etcd::{NAME, Origin, Start};
use nightshift_etcd::trial::restore::{NewMember, restore};
use nightshift_etcd::trial::scratch::{DRILL, Scratch};
use nightshift_etcd::trial::secrets::MasterKeys;
use nightshift_etcd::trial::server::Server;
use nightshift_etcd::trial::tools::Tools;
use nightshift_snapshot::{Finding, Fingerprint, Pass, TrailerCheck, walk};
use nightshift_store::packing::Packing;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const LIMITS: Limits = Limits { stall: Duration::from_secs(60), deadline: Duration::from_secs(300) };

/// The size of all values; large enough that a copy sees several commits at every rate.
const FILL_BYTES: usize = 64 << 20;
/// The rates of a slow scp, a busy disk and a fast disk, in MB/s.
const RATES: [u64; 4] = [10, 25, 50, 100];
const COPIES_OF_EACH: usize = 3;
/// The number of commits during a copy: pages that one commit frees are reused from the second commit after it on.
const MIN_COMMITS: u64 = 4;
const MAX_TRIES: usize = 10;
const SNAPSHOTS: usize = 50;
/// Often enough that pages are freed and reused, as in a cluster that has run for days.
const COMPACTION: [&str; 2] = ["--auto-compaction-mode=periodic", "--auto-compaction-retention=5s"];
/// Every fifth snapshot is restored.
const RESTORED_EVERY: usize = 5;
/// The number of writers, and how long each waits between two writes.
const WRITERS: u64 = 8;
const WRITE_INTERVAL: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn every_copy_of_a_live_database_is_refused_and_most_are_seen_to_be_torn() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let (etcd, load) = written_to().await;
    let scratch = tempfile::tempdir().unwrap();
    let before = load.written();
    let copies: Vec<(u64, PathBuf)> = thread::scope(|scope| {
        let copiers: Vec<_> = RATES
            .into_iter()
            .map(|rate| {
                let (from, directory) = (etcd.database(), scratch.path());
                scope.spawn(move || -> Vec<(u64, PathBuf)> {
                    let to = |number| directory.join(format!("{rate}-{number}"));
                    let copy = |number| copied_during_commits(&from, &to(number), rate);
                    (0..COPIES_OF_EACH).map(|number| (rate, copy(number))).collect()
                })
            })
            .collect();
        copiers.into_iter().flat_map(|copier| copier.join().unwrap()).collect()
    });
    assert_eq!(copies.len(), 12);
    assert!(load.written() > before + 1000, "only {} writes during all copies", load.written() - before);
    // The walk accepts a copy in which etcd reused no page that the copied meta refers to: such a copy is whole by luck.
    let mut whole = 0;
    for (rate, copy) in &copies {
        let [passed, walked] = damages(copy);
        let first = |found: &[String]| found.first().cloned().unwrap_or_default();
        println!("{rate} MB/s, {} bytes:", copy.metadata().unwrap().len());
        println!("  pass, {}: {}", passed.len(), first(&passed));
        println!("  walk, {}: {}", walked.len(), first(&walked));
        whole += usize::from(walked.is_empty());
    }
    assert!(whole <= copies.len() / 2, "{whole} of {} copies are whole", copies.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_snapshot_under_the_same_load_is_sound() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let (etcd, load) = written_to().await;
    let scratch = tempfile::tempdir().unwrap();
    let client = Client::connect(&local(&etcd.url), REQUEST_TIMEOUT).await.unwrap();
    for number in 0..SNAPSHOTS {
        let before = load.written();
        let path = scratch.path().join(format!("snapshot-{number}"));
        let file = File::options().write(true).create_new(true).open(&path).unwrap();
        let packed = if number % 2 == 0 { Compression::Gzip } else { Compression::Zstd };
        let taken = take(&client, file, packed, LIMITS).await.unwrap();
        assert!(taken.report.is_sound(), "snapshot {number}: {:?}", taken.report.findings);
        assert!(taken.report.length > FILL_BYTES as u64);
        assert!(load.written() > before, "nothing was written during snapshot {number}");
        if number % RESTORED_EVERY > 0 {
            std::fs::remove_file(&path).unwrap();
        }
    }
    println!("{} writes", load.written());
    drop(load);
    let kept: Vec<PathBuf> = scratch.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 10);
    for path in kept {
        let packing = if path.to_string_lossy().ends_with(['0', '2', '4', '6', '8']) {
            Packing::Gzip
        } else {
            Packing::Zstd
        };
        restored(&path, packing, scratch.path()).await;
    }
}

/// A member under write load, like that of the API servers of a busy cluster.
async fn written_to() -> (Etcd, Load) {
    let etcd =
        Etcd::start("alone", &["--quota-backend-bytes=4000000000", COMPACTION[0], COMPACTION[1]]).unwrap();
    let writer = Writer::connect(&etcd.url).await;
    writer.fill(FILL_BYTES).await;
    let load = Load::start(&writer);
    (etcd, load)
}

/// Writes objects until this is dropped.
struct Load {
    written: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Load {
    fn start(writer: &Writer) -> Self {
        let load = Self { written: Arc::default(), ended: Arc::default() };
        for lane in 0..WRITERS {
            let (writer, written, ended) =
                (writer.clone(), Arc::clone(&load.written), Arc::clone(&load.ended));
            tokio::spawn(async move {
                let mut random = Random(lane + 1);
                for number in (lane..).step_by(WRITERS as usize) {
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                    let mut value = object(&mut random, number);
                    value.truncate(1500);
                    let number = number % 4000;
                    let key = format!("/registry/pods/project-{}/pod-{number:08}", number % 97);
                    // A member that is being stopped refuses writes; only accepted ones are counted.
                    if writer.put(&key, value).await.is_ok() {
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(WRITE_INTERVAL).await;
                }
            });
        }
        load
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Copies until etcd committed often enough during a copy: on a busy machine it may pause during a whole copy.
fn copied_during_commits(from: &Path, to: &Path, rate: u64) -> PathBuf {
    for _ in 0..MAX_TRIES {
        let before = last_commit(from);
        let copy = copied(from, to.to_owned(), rate);
        if last_commit(from) >= before + MIN_COMMITS {
            return copy;
        }
    }
    panic!("etcd did not commit {MIN_COMMITS} times during one of {MAX_TRIES} copies at {rate} MB/s");
}

/// The transaction number of the last commit: the higher one of the two meta pages (bbolt, `type meta struct`).
fn last_commit(database: &Path) -> u64 {
    const TXID_OFFSET: usize = 64;
    let mut pages = [0; 2 * 4096];
    File::open(database).unwrap().read_exact(&mut pages).unwrap();
    let txid = |page: &[u8]| u64::from_le_bytes(page[TXID_OFFSET..][..8].try_into().unwrap());
    txid(&pages[..4096]).max(txid(&pages[4096..]))
}

/// Copies like `scp -l`: in order, in pieces, at `rate` MB/s.
fn copied(from: &Path, to: PathBuf, rate: u64) -> PathBuf {
    const PIECE: usize = 64 << 10;
    let (mut from, mut file) = (File::open(from).unwrap(), File::create(&to).unwrap());
    let begun = Instant::now();
    let mut piece = vec![0; PIECE];
    let mut done = 0;
    loop {
        let read = from.read(&mut piece).unwrap();
        if read == 0 {
            return to;
        }
        file.write_all(&piece[..read]).unwrap();
        done += read as u64;
        let due = Duration::from_micros(done / rate);
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
}

/// The damage that each reader finds in the pages of a file. A missing trailer does not count.
fn damages(path: &Path) -> [Vec<String>; 2] {
    let mut file = File::open(path).unwrap();
    let mut pass = Pass::default();
    let mut piece = vec![0; 64 << 10];
    while let read @ 1.. = file.read(&mut piece).unwrap() {
        pass.update(&piece[..read]);
    }
    let walked = walk(&file, &mut ()).unwrap();
    let passed = pass.finish();
    assert!(!passed.is_sound(), "a copy has no trailer");
    [passed, walked].map(|report| {
        assert_ne!(report.fingerprint, Fingerprint::Stream);
        let damages = report.findings.iter().filter(|finding| {
            !matches!(
                finding,
                Finding::TrailerAbsent { .. } | Finding::MetasDisagree | Finding::Length { .. }
            )
        });
        damages.map(ToString::to_string).collect()
    })
}

/// Restores a snapshot, compares the restored etcd with it, and writes to it.
async fn restored(file: &Path, packing: Packing, root: &Path) {
    let scratch = Scratch::create(root, DRILL).unwrap();
    let tools = Tools::find(None, Launch::Direct).await.unwrap();
    let (db, data) = (scratch.path("snapshot.db"), scratch.path("data"));
    let mut unpacked = packing.unpack(File::open(file).unwrap(), None).unwrap();
    std::io::copy(&mut unpacked, &mut File::create(&db).unwrap()).unwrap();
    let mut trailer = TrailerCheck::default();
    trailer.update(&std::fs::read(&db).unwrap());
    let source = Source::Snapshot(trailer.finish());
    let contents = contents::read(db.clone(), source, scratch.directory().to_owned(), MasterKeys::default())
        .await
        .unwrap();
    restore(&tools, &scratch, &db, &data, NewMember::alone()).await.unwrap();
    let start =
        Start { name: NAME, data: &data, db_size: db.metadata().unwrap().len(), origin: Origin::Restored };
    let mut server = Server::start(&tools, &scratch, start).await.unwrap();
    let expected = Expected {
        origin: Origin::Restored,
        contents: Some(&contents),
        facts: None,
        compared_elsewhere: false,
    };
    let mut compared = Vec::new();
    compare(&mut server, expected, &mut compared).await.unwrap();
    assert!(compared.iter().any(|one| one.what == "live keys"), "{compared:?}");
    canary::write(&mut server, contents.consistent_index, &AlarmRule::UnknownMember, &mut compared)
        .await
        .unwrap();
}
