//! Compares the transfer of one large file over SFTP, hashed while it is transferred, with OpenSSH's tools and the same
//! cipher: on loopback and with a round trip of 20 ms, with separate rows for fsync and for verification on the remote.
//!
//! Arguments: the file's size in MiB, the number of interleaved runs, and a prefix of the names of the rows to run. It
//! prints `name TAB their name TAB their seconds TAB our seconds` for each row.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kit::proxy::Proxy;
use nightshift_core::range_set::RangeSet;
use nightshift_ssh::{Session, Sftp, Timeouts, Upload, upload};
use sha2::{Digest, Sha256};
use support::Sshd;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mib: usize = arguments.next().map_or(256, |mib| mib.parse().expect("size in MiB"));
    let runs: usize = arguments.next().map_or(3, |runs| runs.parse().expect("number of runs"));
    let wanted = arguments.next().unwrap_or_default();
    let Some(sshd) = support::sshd("") else { return };
    let bench = Bench::new(&sshd, mib, runs, wanted);
    let proxy = Proxy::delayed(sshd.port, Duration::from_millis(10)).unwrap();
    for (link, port) in [("loopback", sshd.port), ("20 ms round trip", proxy.port)] {
        let at = |what: &str| format!("{what}, {link}");
        bench.row(&at("pull"), "scp", || bench.scp_down(port), async || bench.pull(port).await).await;
        bench.row(&at("ship"), "scp", || bench.scp_up(port), async || bench.ship(port).await).await;
        bench
            .row(
                &at("verify there, by reading back"),
                "ssh cat, sha256sum",
                || bench.cat_and_hash(port),
                async || bench.read_back(port).await,
            )
            .await;
    }
    bench
        .row(
            "verify there, by command, loopback",
            "ssh sha256sum",
            || bench.ssh_hash(sshd.port),
            async || bench.hash_there(sshd.port).await,
        )
        .await;
    bench
        .row(
            "fsync: ship to a disk, loopback",
            "scp, ssh sync",
            || bench.scp_and_sync(sshd.port),
            async || bench.ship(sshd.port).await,
        )
        .await;
}

struct Bench<'a> {
    sshd: &'a Sshd,
    bytes: u64,
    source: PathBuf,
    target: PathBuf,
    sha256: String,
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
            sha256: hex(&Sha256::digest(&content)),
            runs,
            wanted,
        }
    }

    /// Runs both in turns and prints the duration of each run.
    async fn row(&self, name: &str, other: &str, theirs: impl Fn(), ours: impl AsyncFn()) {
        if !name.starts_with(&self.wanted) {
            return;
        }
        let (mut theirs_took, mut ours_took) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            theirs_took.push(self.timed(async || theirs()).await);
            ours_took.push(self.timed(&ours).await);
        }
        println!("{name}\t{other}\t{}\t{}", theirs_took.join(" "), ours_took.join(" "));
    }

    /// Starts without a target, and with no dirty pages.
    async fn timed(&self, transfer: impl AsyncFn()) -> String {
        let _ = std::fs::remove_file(&self.target);
        assert!(Command::new("sync").arg("-f").arg(&self.source).status().unwrap().success());
        let start = Instant::now();
        transfer().await;
        format!("{:.4}", start.elapsed().as_secs_f64())
    }

    fn scp_down(&self, port: u16) {
        self.scp(port, &self.at_server(&self.source), &self.target);
    }

    fn scp_up(&self, port: u16) {
        self.scp(port, &self.source, &self.at_server(&self.target));
    }

    fn at_server(&self, path: &Path) -> PathBuf {
        format!("{}@127.0.0.1:{}", self.sshd.user, path.display()).into()
    }

    fn scp(&self, port: u16, from: &Path, to: &Path) {
        let status = self.openssh("scp", "-P", port).arg("-q").args([from, to]).status();
        assert!(status.unwrap().success());
    }

    fn scp_and_sync(&self, port: u16) {
        self.scp_up(port);
        let synced = self.ssh(port, &format!("sync '{}'", self.target.display())).status();
        assert!(synced.unwrap().success());
    }

    /// The command that an operator would type to hash the file there.
    fn ssh_hash(&self, port: u16) {
        self.expect_hash(&mut self.ssh(port, &format!("sha256sum '{}'", self.source.display())));
    }

    /// For a remote that allows only reading.
    fn cat_and_hash(&self, port: u16) {
        let mut cat = self.ssh(port, &format!("cat '{}'", self.source.display()));
        let mut cat = cat.stdout(Stdio::piped()).spawn().unwrap();
        self.expect_hash(Command::new("sha256sum").stdin(cat.stdout.take().unwrap()));
        assert!(cat.wait().unwrap().success());
    }

    fn expect_hash(&self, command: &mut Command) {
        let output = command.output().unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().starts_with(&self.sha256));
    }

    fn ssh(&self, port: u16, line: &str) -> Command {
        let mut command = self.openssh("ssh", "-p", port);
        command.args([&format!("{}@127.0.0.1", self.sshd.user), line]);
        command
    }

    /// One of OpenSSH's clients, with nightshift's cipher and without a config file.
    fn openssh(&self, program: &str, port_option: &str, port: u16) -> Command {
        let mut command = Command::new(program);
        command
            .args(["-F", "none", "-c", "aes128-gcm@openssh.com", port_option, &port.to_string()])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "LogLevel=ERROR", "-i"])
            .arg(self.sshd.path("id"))
            .stdin(Stdio::null());
        command
    }

    async fn session(&self, port: u16) -> Session {
        self.sshd.session_at(port, &Timeouts::default()).await
    }

    async fn connect(&self, port: u16) -> Sftp {
        self.session(port).await.sftp().await.unwrap()
    }

    async fn pull(&self, port: u16) {
        use std::io::Write;
        let mut file = std::fs::File::create(&self.target).unwrap();
        self.read(port, |data| file.write_all(data)).await;
    }

    async fn read_back(&self, port: u16) {
        self.read(port, |_| Ok(())).await;
    }

    async fn read(&self, port: u16, mut take: impl FnMut(&[u8]) -> std::io::Result<()> + Send) {
        let sftp = self.connect(port).await;
        let mut hash = Sha256::new();
        let mut sink = |data: &[u8]| {
            hash.update(data);
            take(data)
        };
        sftp.download(self.source.to_str().unwrap(), 0..self.bytes, &mut sink).await.unwrap();
        assert_eq!(hex(&hash.finalize()), self.sha256);
    }

    async fn ship(&self, port: u16) {
        let mut sessions = vec![self.connect(port).await];
        let dir = self.target.parent().unwrap().to_str().unwrap();
        let useful = upload::useful_connections(&sessions[0], dir).await;
        sessions.extend(futures_util::future::join_all((1..useful).map(|_| self.connect(port))).await);
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

    async fn hash_there(&self, port: u16) {
        let session = self.session(port).await;
        let command = format!("sha256sum -b -- '{}'", self.source.display());
        let output = session.exec(&command, 64 << 10, Duration::from_secs(600)).await.unwrap();
        assert!(output.stdout.starts_with(self.sha256.as_bytes()));
    }
}

fn hash(path: &Path) -> String {
    use std::io::Read;
    let (mut file, mut hash) = (std::fs::File::open(path).unwrap(), Sha256::new());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hex(&hash.finalize()),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
