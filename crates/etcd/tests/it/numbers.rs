//! The numbers that both readers find in a snapshot, compared with those of etcd's own `snapshot status`, of etcd 3.4 to 3.7.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use crate::support::writer::Writer;
use kit::etcd::{Etcd, Release};
use kit::lab::cmd::Cmd;
use nightshift_snapshot::{IndexOptions, Pass, Report, survey, walk};
use serde_json::Value;

/// The size of the values in the largest database, in bytes; the file is a little larger.
const LARGE: usize = 500 << 20;
/// The same for other releases, whose databases have the same pages.
const LESS_LARGE: usize = 50 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_those_that_etcdctl_3_4_prints() {
    if kit::require(kit::etcd::available()) {
        every_database_has_the_numbers_of(&Release::default(), "etcdctl", LARGE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_those_that_etcdutl_3_5_prints() {
    let release = Release::named("3.5");
    if kit::require(release.clone().map(drop)) {
        every_database_has_the_numbers_of(&release.unwrap(), "etcdutl", LESS_LARGE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_those_that_etcdutl_3_6_prints() {
    let release = Release::named("3.6");
    if kit::require(release.clone().map(drop)) {
        every_database_has_the_numbers_of(&release.unwrap(), "etcdutl", LESS_LARGE).await;
    }
}

/// The set-up for everything builds it; CI runs the tests without it.
#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_those_that_etcdutl_3_7_prints() {
    match Release::named("3.7") {
        Ok(release) => every_database_has_the_numbers_of(&release, "etcdutl", LESS_LARGE).await,
        Err(reason) => println!("skipped: {reason}"),
    }
}

/// One member goes through the life of a cluster, and each of its snapshots is read by both.
async fn every_database_has_the_numbers_of(release: &Release, tool: &str, large: usize) {
    let etcd = Etcd::start_of(release, "alone", &["--quota-backend-bytes=4000000000"]).unwrap();
    let life = Life { etcd: &etcd, release, tool, scratch: tempfile::tempdir().unwrap() };
    etcd.wait_well().unwrap();
    life.same_numbers("empty");

    life.ctl("put /registry/namespaces/default {}");
    life.same_numbers("one key");

    for number in 0..300 {
        life.ctl(&format!("put /registry/configmaps/default/object-{} value-{number}", number % 40));
    }
    life.ctl("del --prefix /registry/configmaps/default/object-1");
    life.ctl("put /registry/configmaps/default/object-1 again");
    life.same_numbers("history and tombstones");

    for holder in 0..5 {
        let lease = life.ctl("lease grant 3600");
        let id = lease.split_whitespace().nth(1).unwrap();
        life.ctl(&format!("put --lease={id} /registry/masterleases/10.0.3.{holder} held"));
    }
    life.same_numbers("leases");

    life.ctl("compact 200");
    life.same_numbers("compacted");
    life.ctl("defrag");
    life.same_numbers("defragmented");

    life.ctl("user add root:secret");
    life.ctl("role add reader");
    life.ctl("role grant-permission reader --prefix=true read /registry/");
    life.ctl("user add viewer:secret");
    life.ctl("user grant-role viewer reader");
    life.ctl("user grant-role root root");
    life.ctl("auth enable");
    life.same_numbers("authentication");
    life.ctl("--user=root:secret auth disable");

    Writer::connect(&etcd.url).await.fill(large).await;
    let size = life.same_numbers("large");
    assert!(size >= large as u64, "{size} bytes");
}

struct Life<'a> {
    etcd: &'a Etcd,
    release: &'a Release,
    tool: &'a str,
    scratch: tempfile::TempDir,
}

impl Life<'_> {
    fn ctl(&self, words: &str) -> String {
        let words: Vec<&str> = words.split(' ').collect();
        self.etcd.etcdctl(&[&["--command-timeout=60s"], words.as_slice()].concat()).unwrap().text()
    }

    /// Takes a snapshot, reads it with both, and returns its size.
    fn same_numbers(&self, what: &str) -> u64 {
        let path = self.scratch.path().join("snapshot.db");
        let user = if what == "authentication" { "--user=root:secret " } else { "" };
        self.ctl(&format!("{user}snapshot save {}", path.display()));
        let theirs = self.their_status(&path);
        let mut ours = our_status(&path);
        if self.only_living_keys_are_counted() {
            ours.total_keys = living_keys(&path);
        }
        println!("etcd's {} and ours of {what}: {ours:?}", self.tool);
        assert_eq!(ours, theirs, "{what}");
        std::fs::remove_file(&path).unwrap();
        theirs.total_size
    }

    /// As etcdutl does from 3.6 on.
    fn only_living_keys_are_counted(&self) -> bool {
        let version = Cmd::new(self.release.program(self.tool)).arg("version").run().unwrap().text();
        [" 3.4.", " 3.5."].iter().all(|old| !version.contains(old))
    }

    fn their_status(&self, path: &Path) -> Status {
        let output = Cmd::new(self.release.program(self.tool))
            .args(["--write-out=json", "snapshot", "status"])
            .arg(path)
            .env("ETCDCTL_API", "3")
            .timeout(Duration::from_secs(60))
            .run()
            .unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        let number = |name: &str| status[name].as_u64().unwrap();
        Status {
            hash: number("hash").try_into().unwrap(),
            revision: number("revision"),
            total_keys: number("totalKey"),
            total_size: number("totalSize"),
        }
    }
}

/// The output of `snapshot status`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Status {
    hash: u32,
    revision: u64,
    total_keys: u64,
    total_size: u64,
}

/// The numbers of `walk`, which must find no damage; those that `pass` has must be the same.
fn our_status(path: &Path) -> Status {
    let file = File::open(path).unwrap();
    let walked = walk(&file, &mut ()).unwrap();
    assert!(walked.is_sound(), "{:?}", walked.findings);
    let passed = passed(&file);
    assert!(passed.is_sound(), "{:?}", passed.findings);
    let (facts, known) = (walked.facts, passed.facts);
    assert_eq!(
        (known.revision, known.entries, known.revisions, known.tombstones, known.size),
        (facts.revision, facts.entries, facts.revisions, facts.tombstones, facts.size)
    );
    Status {
        hash: facts.hash.unwrap(),
        revision: facts.revision.unwrap(),
        total_keys: facts.entries.unwrap(),
        total_size: facts.size.unwrap(),
    }
}

fn living_keys(path: &Path) -> u64 {
    let (report, _) =
        survey(&File::open(path).unwrap(), IndexOptions::in_directory(std::env::temp_dir())).unwrap();
    report.facts.live_keys.unwrap()
}

fn passed(mut file: &File) -> Report {
    let mut pass = Pass::default();
    let mut blob = vec![0; 32 << 10];
    while let read @ 1.. = file.read(&mut blob).unwrap() {
        pass.update(&blob[..read]);
    }
    pass.finish()
}
