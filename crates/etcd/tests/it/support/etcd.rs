//! Real etcd members on loopback, their certificates, a write load, and a proxy that damages what it forwards.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nightshift_etcd::client::Client;
use nightshift_etcd::discover::{LocalMember, TlsFiles};
use nightshift_etcd::error::ClientError;

/// Whether etcd is installed. Prints that a test is skipped without it, or fails if it is required.
pub fn available() -> bool {
    let found = Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        let required = std::env::var("NIGHTSHIFT_LAB").is_ok_and(|value| value == "required");
        assert!(!required, "etcd is not installed, and NIGHTSHIFT_LAB=required");
        println!("skipped: etcd is not installed");
    }
    found
}

/// The programs of one release of etcd.
#[derive(Debug, Clone, Default)]
pub struct Release {
    /// `None` for those in PATH.
    directory: Option<PathBuf>,
}

impl Release {
    /// etcd 3.5, as `cargo xtask setup` installs it. Prints that a test is skipped without it, or fails if it is required.
    pub fn newer() -> Option<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(target).join("tools/etcd-3.5/usr/bin");
        if directory.join("etcd").exists() {
            return Some(Self { directory: Some(directory) });
        }
        let required = std::env::var("NIGHTSHIFT_LAB").is_ok_and(|value| value == "required");
        assert!(!required, "etcd 3.5 is not in {}, and NIGHTSHIFT_LAB=required", directory.display());
        println!("skipped: etcd 3.5 is not installed; run cargo xtask setup");
        None
    }

    pub fn program(&self, name: &str) -> Command {
        let path = self.directory.as_ref().map_or_else(|| name.into(), |directory| directory.join(name));
        let mut command = Command::new(path);
        command.env("ETCDCTL_API", "3");
        command
    }
}

pub struct Etcd {
    child: Child,
    release: Release,
    arguments: Vec<String>,
    /// Removed with the member.
    directory: tempfile::TempDir,
    pub url: String,
    pub port: u16,
    pub peer_url: String,
}

impl Etcd {
    /// A cluster of one, over plain HTTP.
    pub fn start() -> Self {
        Self::start_with("alone", &[])
    }

    pub fn start_tls(certs: &Certs, server: &str) -> Self {
        let ca = format!("--trusted-ca-file={}", certs.path("ca.crt").display());
        let cert = format!("--cert-file={}", certs.path(&format!("{server}.crt")).display());
        let key = format!("--key-file={}", certs.path(&format!("{server}.key")).display());
        Self::start_with("alone", &[&ca, &cert, &key, "--client-cert-auth"])
    }

    pub fn start_with(name: &str, flags: &[&str]) -> Self {
        let peer = format!("http://127.0.0.1:{}", free_port());
        let cluster = format!("--initial-cluster={name}={peer}");
        Self::start_in(name, &peer, &[&[cluster.as_str()], flags].concat())
    }

    /// A cluster of one, of a release.
    pub fn start_of(release: &Release, flags: &[&str]) -> Self {
        let peer = format!("http://127.0.0.1:{}", free_port());
        let cluster = format!("--initial-cluster=alone={peer}");
        Self::launch(release, "alone", &peer, &[&[cluster.as_str()], flags].concat())
    }

    pub fn start_in(name: &str, peer_url: &str, flags: &[&str]) -> Self {
        Self::launch(&Release::default(), name, peer_url, flags)
    }

    fn launch(release: &Release, name: &str, peer_url: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let scheme = if flags.iter().any(|flag| flag.starts_with("--cert-file")) { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{port}");
        let data = directory.path().join("data").display().to_string();
        let arguments: Vec<String> = ["--name", name, "--listen-client-urls", &url]
            .into_iter()
            .chain(["--advertise-client-urls", &url, "--listen-peer-urls", peer_url])
            .chain(["--initial-advertise-peer-urls", peer_url, "--data-dir", &data])
            .chain(flags.iter().copied())
            .map(str::to_owned)
            .collect();
        let child = spawn(release, &directory, &arguments);
        let (release, peer_url) = (release.clone(), peer_url.to_owned());
        let etcd = Self { child, release, arguments, directory, url, port, peer_url };
        eventually("etcd listens", || etcd.listens());
        etcd
    }

    /// A cluster of `size` members, named e1, e2 and so on, when all of them are healthy.
    pub fn start_cluster(size: usize) -> Vec<Self> {
        let peers: Vec<String> = (0..size).map(|_| format!("http://127.0.0.1:{}", free_port())).collect();
        let listed: Vec<String> =
            peers.iter().enumerate().map(|(at, peer)| format!("e{}={peer}", at + 1)).collect();
        let cluster = format!("--initial-cluster={}", listed.join(","));
        let members: Vec<Self> = (peers.iter().enumerate())
            .map(|(at, peer)| Self::start_in(&format!("e{}", at + 1), peer, &[&cluster]))
            .collect();
        for member in &members {
            member.is_well();
        }
        members
    }

    /// Waits until it is healthy.
    pub fn is_well(&self) {
        eventually("etcd is healthy", || self.etcdctl(&["endpoint", "health"]).status.success());
    }

    fn listens(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// Stops it like systemd: then all its writes are in its database.
    pub fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on its data.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.release, &self.directory, &self.arguments);
        eventually("etcd listens again", || self.listens());
        self.is_well();
    }

    /// Changes the data of a stopped member. It does not notice, because the pages of its database have no checksums.
    pub fn alter(&self, before: &[u8], after: &[u8]) {
        assert_eq!(before.len(), after.len());
        let path = self.database();
        let mut bytes = std::fs::read(&path).unwrap();
        let places: Vec<usize> = (0..bytes.len().saturating_sub(before.len()))
            .filter(|at| bytes[*at..].starts_with(before))
            .collect();
        assert!(!places.is_empty(), "the database does not contain it");
        for at in places {
            bytes[at..at + after.len()].copy_from_slice(after);
        }
        std::fs::write(&path, bytes).unwrap();
    }

    /// The database that the member has open.
    pub fn database(&self) -> PathBuf {
        self.directory.path().join("data/member/snap/db")
    }

    pub fn etcdctl(&self, arguments: &[&str]) -> Output {
        self.release.program("etcdctl").args(["--endpoints", &self.url]).args(arguments).output().unwrap()
    }
}

fn spawn(release: &Release, directory: &tempfile::TempDir, arguments: &[String]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(directory.path().join("log")).unwrap();
    release.program("etcd").args(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nothing listens on, below those that the kernel uses for outgoing connections.
pub fn free_port() -> u16 {
    let mut candidates = std::iter::repeat_with(|| {
        let random = RandomState::new().build_hasher().finish();
        10_000 + (random % 20_000) as u16
    });
    candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Polls a condition for at most 30 s.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A CA with a server's and a client's certificate, a second CA, and certificates with one fault each.
pub struct Certs(tempfile::TempDir);

impl Certs {
    pub fn make() -> Self {
        let certs = Self(tempfile::tempdir().unwrap());
        for ca in ["ca", "other-ca"] {
            certs.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.crt"
            ));
        }
        certs.issue("server", "ca", "subjectAltName=IP:127.0.0.1,DNS:localhost");
        certs.issue("elsewhere", "ca", "subjectAltName=DNS:elsewhere.example.com");
        certs.issue("nameless", "ca", "basicConstraints=CA:FALSE");
        certs.issue("client", "ca", "extendedKeyUsage=clientAuth");
        certs.issue("stranger", "other-ca", "extendedKeyUsage=clientAuth");
        certs
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn issue(&self, name: &str, ca: &str, extension: &str) {
        std::fs::write(self.path("extensions"), extension).unwrap();
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial -days 2 -extfile extensions -out {name}.crt"
        ));
    }

    fn openssl(&self, arguments: &str) {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A member at this URL, over plain HTTP.
pub fn local(url: &str) -> LocalMember {
    let tls = TlsFiles::default();
    LocalMember { endpoint: url.to_owned(), tls, name: None, data_dir: None, files: Vec::new() }
}

/// Writes to a member, like an API server.
#[derive(Clone)]
pub struct Writer(Client);

impl Writer {
    pub async fn connect(url: &str) -> Self {
        Self(Client::connect(&local(url), Duration::from_secs(60)).await.unwrap())
    }

    pub async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), ClientError> {
        self.0.put(key.as_bytes(), &value).await
    }

    /// Writes objects until there are `bytes` of them, 64 at a time.
    pub async fn fill(&self, bytes: usize) {
        const AT_ONCE: u64 = 64;
        let written = Arc::new(AtomicU64::new(0));
        let mut writers = tokio::task::JoinSet::new();
        for lane in 0..AT_ONCE {
            let (writer, written) = (self.clone(), Arc::clone(&written));
            writers.spawn(async move {
                let mut random = Random(lane + 1);
                for number in (lane..).step_by(AT_ONCE as usize) {
                    if written.load(Ordering::Relaxed) >= bytes as u64 {
                        break;
                    }
                    let value = object(&mut random, number);
                    written.fetch_add(value.len() as u64, Ordering::Relaxed);
                    writer
                        .put(&format!("/registry/pods/project-{}/pod-{number:08}", number % 97), value)
                        .await
                        .unwrap();
                }
            });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
    }
}

/// The same seed gives the same sequence.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits.div_ceil(16)).map(|_| format!("{:016x}", self.next())).collect::<String>()[..digits]
            .to_owned()
    }

    fn uid(&mut self) -> String {
        [8, 4, 4, 4, 12].map(|digits| self.hex(digits)).join("-")
    }
}

/// A pod as the API server stores it, 7–10 KiB: mostly words that repeat, with ids, digests, addresses and a signature that do
/// not. gzip compresses it to about a fifth.
pub fn object(random: &mut Random, number: u64) -> Vec<u8> {
    let mut text = format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"pod-{number:08}","generateName":"app-{}-","namespace":"project-{}","uid":"{}","resourceVersion":"{number}","creationTimestamp":"2026-11-{:02}T{:02}:{:02}:{:02}Z","labels":{{"app":"app-{}","deployment":"app-{}","pod-template-hash":"{}"}},"annotations":{{"openshift.io/scc":"restricted","openshift.io/generated-by":"OpenShiftNewApp","example.com/signature":"{}"}},"ownerReferences":[{{"apiVersion":"v1","kind":"ReplicationController","name":"app-{}","uid":"{}","controller":true,"blockOwnerDeletion":true}}]}},"spec":{{"#,
        number % 331,
        number % 97,
        random.uid(),
        1 + number % 28,
        number % 24,
        random.next() % 60,
        random.next() % 60,
        number % 331,
        number % 331,
        random.hex(10),
        random.hex(1200),
        number % 331,
        random.uid(),
    );
    text.push_str(r#""volumes":[{"name":"default-token","secret":{"secretName":"default-token","defaultMode":420}}],"containers":["#);
    for container in 0..3 + random.next() % 3 {
        text.push_str(&format!(
            r#"{{"name":"container-{container}","image":"docker-registry.default.svc:5000/project-{}/app@sha256:{}","ports":[{{"containerPort":{},"protocol":"TCP"}}],"resources":{{"limits":{{"cpu":"500m","memory":"512Mi"}},"requests":{{"cpu":"100m","memory":"256Mi"}}}},"volumeMounts":[{{"name":"default-token","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}}],"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"Always","securityContext":{{"capabilities":{{"drop":["KILL","MKNOD","SETGID","SETUID"]}},"runAsUser":{}}},"env":["#,
            number % 97, random.hex(64), 1024 + random.next() % 60000, 1_000_000_000 + random.next() % 10_000_000,
        ));
        for variable in 0..6 {
            text.push_str(&format!(r#"{{"name":"SETTING_{variable}","value":"{}"}},"#, random.hex(12)));
        }
        text.push_str(r#"{"name":"TZ","value":"UTC"}]},"#);
    }
    text.push_str(&format!(
        r#"],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","nodeSelector":{{"node-role.kubernetes.io/compute":"true"}},"serviceAccountName":"default","nodeName":"node{:02}.example.com"}},"status":{{"phase":"Running","hostIP":"10.0.3.{}","podIP":"10.128.{}.{}","containerStatuses":["#,
        number % 40, number % 40, random.next() % 255, random.next() % 255,
    ));
    for container in 0..4 {
        text.push_str(&format!(
            r#"{{"name":"container-{container}","state":{{"running":{{"startedAt":"2026-11-22T21:{:02}:{:02}Z"}}}},"lastState":{{}},"ready":true,"restartCount":0,"containerID":"docker://{}","imageID":"docker-pullable://docker-registry.default.svc:5000/app@sha256:{}"}},"#,
            random.next() % 60, random.next() % 60, random.hex(64), random.hex(64),
        ));
    }
    text.push_str(r#"],"qosClass":"Burstable"}}"#);
    text.into_bytes()
}

/// What the proxy does with the data of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// After this many bytes it forwards nothing more, and closes nothing.
    StallAfter(u64),
    CutAfter(u64),
    /// One bit of the first occurrence is flipped.
    Flip(&'static [u8]),
    /// One bit of each occurrence is flipped.
    FlipEach(&'static [u8]),
}

/// A TCP proxy in front of a member.
pub struct Proxy {
    pub url: String,
    /// Set when the harm is done.
    pub harmed: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(target: u16, harm: Harm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let harmed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&harmed);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
                let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut up_from, &mut up_to));
                let flag = Arc::clone(&flag);
                std::thread::spawn(move || forward(server, client, harm, &flag));
            }
        });
        Self { url, harmed }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, harm: Harm, harmed: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    let mut forwarded = 0;
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &mut buffer[..length];
        forwarded += length as u64;
        match harm {
            Harm::StallAfter(limit) if forwarded > limit => {
                harmed.store(true, Ordering::SeqCst);
                // The connection stays open until the client closes it.
                let _ = to.read(&mut [0; 1]);
                return;
            }
            Harm::CutAfter(limit) if forwarded > limit => {
                harmed.store(true, Ordering::SeqCst);
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
            Harm::Flip(mark) if !harmed.load(Ordering::SeqCst) => {
                if let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) {
                    bytes[at] ^= 1;
                    harmed.store(true, Ordering::SeqCst);
                }
            }
            Harm::FlipEach(mark) => {
                while let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) {
                    bytes[at] ^= 1;
                    harmed.store(true, Ordering::SeqCst);
                }
            }
            _ => {}
        }
        if to.write_all(bytes).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Whether this process has `path` open.
pub fn is_open(path: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|target| target == path)
}
