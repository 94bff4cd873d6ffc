//! Copies of the database of a member that is being written to, and snapshots of the same member under the same load.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

#[allow(dead_code)] // each test uses its part
mod support {
    pub mod etcd;
}

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nightshift_core::proof::DrillVerdict;
use nightshift_core::settings::Compression;
use nightshift_engine::drill::{Job, Stored, Word};
use nightshift_etcd::{Client, Limits, LocalMember, TlsFiles, take};
use nightshift_snapshot::{Finding, Fingerprint, Pass, walk};
use nightshift_store::packing::Packing;
use support::etcd::{Etcd, Random, Writer, available, object};

const PATIENCE: Duration = Duration::from_secs(10);
const LIMITS: Limits = Limits { stall: Duration::from_secs(60), deadline: Duration::from_secs(300) };

/// Of values; enough for a copy to see several commits go by at every rate.
const FILLED: usize = 64 << 20;
/// What a slow scp, a busy disk and a fast disk give, in MB/s.
const RATES: [u64; 4] = [10, 25, 50, 100];
const COPIES_OF_EACH: usize = 3;
/// Writes that a copy has to see: etcd commits each 100 ms, and hundreds of writes go into a commit.
const SEEN: u64 = 400;
const TRIES: usize = 10;
const SNAPSHOTS: usize = 50;
/// As often as this, so that pages are freed and used again, as they are in a cluster of some days.
const COMPACTION: [&str; 2] = ["--auto-compaction-mode=periodic", "--auto-compaction-retention=5s"];
/// Of those snapshots each fifth is drilled.
const DRILLED_EVERY: usize = 5;
/// How many lanes of writers there are, and how long each waits between two writes.
const WRITERS: u64 = 8;
const PAUSE: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn every_copy_of_a_live_database_is_refused() {
    if !available() {
        return;
    }
    let (etcd, load) = written_to().await;
    let scratch = tempfile::tempdir().unwrap();
    let before = load.written();
    let copies: Vec<(u64, PathBuf)> = thread::scope(|scope| {
        let copiers: Vec<_> = RATES
            .into_iter()
            .map(|rate| {
                let (from, folder, load) = (etcd.database(), scratch.path(), &load);
                scope.spawn(move || -> Vec<(u64, PathBuf)> {
                    let to = |number| folder.join(format!("{rate}-{number}"));
                    let under_load = |number| copied_under(load, &from, &to(number), rate);
                    (0..COPIES_OF_EACH).map(|number| (rate, under_load(number))).collect()
                })
            })
            .collect();
        copiers.into_iter().flat_map(|copier| copier.join().unwrap()).collect()
    });
    assert_eq!(copies.len(), 12);
    assert!(load.written() > before + 1000, "that was no load: {} writes", load.written() - before);
    for (rate, copy) in &copies {
        let [passed, walked] = damages(copy);
        let first = |found: &[String]| found.first().cloned().unwrap_or_default();
        println!("{rate} MB/s, {} bytes:", copy.metadata().unwrap().len());
        println!("  pass, {}: {}", passed.len(), first(&passed));
        println!("  walk, {}: {}", walked.len(), first(&walked));
        assert!(!walked.is_empty(), "a copy taken at {rate} MB/s is whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_snapshot_under_the_same_load_is_sound() {
    if !available() {
        return;
    }
    let (etcd, load) = written_to().await;
    let scratch = tempfile::tempdir().unwrap();
    let client = Client::connect(&member(&etcd.url), PATIENCE).await.unwrap();
    for number in 0..SNAPSHOTS {
        let before = load.written();
        let path = scratch.path().join(format!("snapshot-{number}"));
        let file = File::options().write(true).create_new(true).open(&path).unwrap();
        let packed = if number % 2 == 0 { Compression::Gzip } else { Compression::Zstd };
        let taken = take(&client, file, packed, LIMITS, |_, _| {}).await.unwrap();
        assert!(taken.birth.is_sound(), "snapshot {number}: {:?}", taken.birth.findings);
        assert!(taken.birth.length > FILLED as u64);
        assert!(load.written() > before, "nothing was written during snapshot {number}");
        if number % DRILLED_EVERY > 0 {
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
        drilled(path, packing, scratch.path());
    }
}

fn member(url: &str) -> LocalMember {
    let tls = TlsFiles::default();
    LocalMember { endpoint: url.to_owned(), tls, name: None, data_dir: None, files: Vec::new() }
}

/// A member with a database that a load goes on changing, as the API servers of a busy cluster do.
async fn written_to() -> (Etcd, Load) {
    let etcd = Etcd::start_with("alone", &["--quota-backend-bytes=4000000000", COMPACTION[0], COMPACTION[1]]);
    let writer = Writer::connect(&etcd.url).await;
    writer.fill(FILLED).await;
    let load = Load::start(&writer);
    (etcd, load)
}

/// Objects written again and again, until this is dropped.
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
                    // A member that is being stopped refuses; the tests count what it took.
                    if writer.put(&key, value).await.is_ok() {
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(PAUSE).await;
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

/// Copies until a copy has seen some commits go by: on a busy machine etcd may stand still for as long as one takes.
fn copied_under(load: &Load, from: &Path, to: &Path, rate: u64) -> PathBuf {
    for _ in 0..TRIES {
        let before = load.written();
        let copy = copied(from, to.to_owned(), rate);
        if load.written() > before + SEEN {
            return copy;
        }
    }
    panic!("that was no load: not {SEEN} writes during one of {TRIES} copies at {rate} MB/s");
}

/// Copies as `scp -l` does: in order, in pieces, at `rate` MB/s.
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

/// What each reader finds wrong with the pages of a file, in words: that it has no trailer is not enough.
fn damages(path: &Path) -> [Vec<String>; 2] {
    let mut file = File::open(path).unwrap();
    let mut pass = Pass::default();
    let mut piece = vec![0; 64 << 10];
    while let read @ 1.. = file.read(&mut piece).unwrap() {
        pass.update(&piece[..read]);
    }
    let walked = walk(&file, &mut ()).unwrap();
    [pass.finish(), walked].map(|report| {
        assert!(!report.is_sound());
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

/// Has the program that is shipped restore a snapshot, and wants it to call that proved.
fn drilled(file: PathBuf, packing: Packing, scratch: &Path) {
    let own = std::env::current_exe().unwrap();
    let program = own.ancestors().nth(2).unwrap().join("nightshift");
    assert!(program.exists(), "there is no nightshift to test: `cargo build -p nightshift`");
    let job = Job {
        copy: file.display().to_string(),
        stored: Stored::Snapshot { file, packing },
        facts: None,
        tools: None,
        scratch: scratch.join("scratch"),
        leave: 0,
        rate: 1 << 40,
        deadline_ms: 120_000,
    };
    let mut worker = Command::new(program)
        .arg("drill-worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = worker.stdin.take().unwrap();
    writeln!(input, "{}", serde_json::to_string(&job).unwrap()).unwrap();
    // Its input stays open until then: an end would tell it that nobody waits.
    let last = BufReader::new(worker.stdout.take().unwrap()).lines().map_while(Result::ok).last().unwrap();
    drop(input);
    worker.wait().unwrap();
    let word: Word = serde_json::from_str(&last).unwrap();
    let Word::Report(report) = word else { panic!("the drill ended with {word:?}") };
    assert_eq!(report.verdict, DrillVerdict::Proved, "{report:?}");
}
