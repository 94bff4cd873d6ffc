//! One large file over SFTP, hashed on the way, beside `scp` with the same cipher: on loopback and over a round trip
//! of 20 ms. Arguments: the file's size in MiB, the number of interleaved runs, and a part of the names of the rows to
//! run. Prints medians and their ratio.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nightshift_ssh::{RangeSet, Sftp, Timeouts, Upload, upload};
use sha2::{Digest, Sha256};
use support::Sshd;
use support::proxy::Proxy;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mib: usize = arguments.next().map_or(256, |mib| mib.parse().expect("size in MiB"));
    let runs: usize = arguments.next().map_or(3, |runs| runs.parse().expect("number of runs"));
    let wanted = arguments.next().unwrap_or_default();
    let Some(sshd) = support::sshd("") else { return };
    let bench = Bench::new(&sshd, mib, runs, wanted);
    let proxy = Proxy::start(sshd.port, Duration::from_millis(10));
    for (link, port) in [("loopback", sshd.port), ("20 ms round trip", proxy.port)] {
        bench.row(&format!("pull, {link}"), || bench.scp_down(port), async || bench.pull(port).await).await;
        bench.row(&format!("ship, {link}"), || bench.scp_up(port), async || bench.ship(port).await).await;
    }
}

struct Bench<'a> {
    sshd: &'a Sshd,
    bytes: u64,
    source: PathBuf,
    target: PathBuf,
    sha256: Vec<u8>,
    runs: usize,
    wanted: String,
}

impl<'a> Bench<'a> {
    fn new(sshd: &'a Sshd, mib: usize, runs: usize, wanted: String) -> Self {
        let content = support::content(mib * 1024 * 1024);
        let source = sshd.path("source");
        std::fs::write(&source, &content).unwrap();
        Self {
            sshd,
            bytes: content.len() as u64,
            source,
            target: sshd.path("target"),
            sha256: Sha256::digest(&content).to_vec(),
            runs,
            wanted,
        }
    }

    /// Runs both alternately and prints the medians.
    async fn row(&self, name: &str, scp: impl Fn(), ours: impl AsyncFn()) {
        if !name.contains(&self.wanted) {
            return;
        }
        let (mut theirs_took, mut ours_took) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            theirs_took.push(self.timed(async || scp()).await);
            ours_took.push(self.timed(&ours).await);
        }
        let (theirs, ours) = (median(&mut theirs_took), median(&mut ours_took));
        let speed = |seconds: f64| self.bytes as f64 / 1e6 / seconds;
        println!(
            "{name}: scp {theirs:.2} s ({:.0} MB/s), nightshift {ours:.2} s ({:.0} MB/s): {:.2} x",
            speed(theirs),
            speed(ours),
            theirs / ours
        );
    }

    async fn timed(&self, transfer: impl AsyncFn()) -> f64 {
        let _ = std::fs::remove_file(&self.target);
        let start = Instant::now();
        transfer().await;
        let took = start.elapsed().as_secs_f64();
        assert_eq!(std::fs::metadata(&self.target).unwrap().len(), self.bytes);
        took
    }

    fn scp_down(&self, port: u16) {
        let remote = format!("{}@127.0.0.1:{}", self.sshd.user, self.source.display());
        self.scp(port, Path::new(&remote), &self.target);
    }

    fn scp_up(&self, port: u16) {
        let remote = format!("{}@127.0.0.1:{}", self.sshd.user, self.target.display());
        self.scp(port, &self.source, Path::new(&remote));
    }

    fn scp(&self, port: u16, from: &Path, to: &Path) {
        let status = Command::new("scp")
            .args(["-q", "-F", "none", "-c", "aes128-gcm@openssh.com", "-P", &port.to_string(), "-i"])
            .arg(self.sshd.path("id"))
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "LogLevel=ERROR",
            ])
            .args([from, to])
            .stdin(Stdio::null())
            .status();
        assert!(status.unwrap().success());
    }

    async fn connect(&self, port: u16) -> Sftp {
        self.sshd.session_at(port, &Timeouts::default()).await.sftp().await.unwrap()
    }

    async fn pull(&self, port: u16) {
        use std::io::Write;
        let sftp = self.connect(port).await;
        let mut file = std::fs::File::create(&self.target).unwrap();
        let mut hash = Sha256::new();
        let mut sink = |data: &[u8]| {
            hash.update(data);
            file.write_all(data)
        };
        sftp.download(self.source.to_str().unwrap(), 0..self.bytes, &mut sink).await.unwrap();
        assert_eq!(hash.finalize().to_vec(), self.sha256);
    }

    async fn ship(&self, port: u16) {
        let sessions =
            futures_util::future::join_all((0..upload::SESSIONS).map(|_| self.connect(port))).await;
        let job = Upload {
            local: &self.source,
            remote_part: self.target.to_str().unwrap(),
            mode: 0o600,
            done: RangeSet::new(),
        };
        let hashing = tokio::task::spawn_blocking({
            let source = self.source.clone();
            move || hash(&source)
        });
        let sent = job.run(&sessions, |_| {}).await.unwrap();
        assert_eq!(sent.sent, self.bytes);
        assert_eq!(hashing.await.unwrap(), self.sha256);
    }
}

fn hash(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let (mut file, mut hash) = (std::fs::File::open(path).unwrap(), Sha256::new());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hash.finalize().to_vec(),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
