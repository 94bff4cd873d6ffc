//! One member: connections, TLS, its health, and its snapshot.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::certs::Certs;
use crate::support::writer::{Random, Writer, local, object};
use kit::etcd::{Etcd, peer_url};
use kit::eventually;
use kit::proxy::{Proxy, Way};
use nightshift_core::digest::{Digest, Written};
use nightshift_core::settings::Compression;
use nightshift_etcd::client::Client;
use nightshift_etcd::discover::{LocalMember, TlsFiles};
use nightshift_etcd::error::ClientError;
use nightshift_etcd::health::{Problem, examine};
use nightshift_etcd::snapshot::{Limits, SnapshotError, Taken, take};
use nightshift_snapshot::Finding;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const LIMITS: Limits = Limits { stall: Duration::from_secs(20), deadline: Duration::from_secs(120) };

fn tls_member(url: &str, certs: &Certs, ca: &str, client: Option<&str>) -> LocalMember {
    let file = |name: &str, end: &str| certs.path(&format!("{name}.{end}"));
    let tls = TlsFiles {
        ca: Some(file(ca, "crt")),
        cert: client.map(|client| file(client, "crt")),
        key: client.map(|client| file(client, "key")),
    };
    LocalMember { tls, ..local(url) }
}

async fn connect(member: &LocalMember) -> Result<Client, ClientError> {
    Client::connect(member, REQUEST_TIMEOUT).await
}

async fn refused(member: &LocalMember) -> ClientError {
    connect(member).await.expect_err("the connection should have been refused")
}

/// A new file in a directory of its own.
struct Target(tempfile::TempDir);

impl Target {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("snapshot")
    }

    fn file(&self) -> File {
        File::options().write(true).create_new(true).open(self.path()).unwrap()
    }
}

async fn snapshot(
    client: &Client,
    target: &Target,
    compression: Compression,
) -> Result<Taken, SnapshotError> {
    take(client, target.file(), compression, LIMITS).await
}

async fn snapshot_through(proxy: &Proxy, limits: Limits) -> Result<Taken, SnapshotError> {
    let client = connect(&local(&proxy.url())).await.unwrap();
    let target = Target::new();
    take(&client, target.file(), Compression::Gzip, limits).await
}

async fn filled(bytes: usize) -> Etcd {
    let etcd = Etcd::start("alone", &[]).unwrap();
    Writer::connect(&etcd.url).await.fill(bytes).await;
    etcd
}

fn unpacked(path: &Path, tool: &str) -> PathBuf {
    let plain = path.with_extension("db");
    let status = Command::new(tool)
        .arg("-dc")
        .stdin(File::open(path).unwrap())
        .stdout(File::create(&plain).unwrap())
        .status()
        .unwrap();
    assert!(status.success(), "{tool} -d");
    plain
}

async fn taken_under_load(compression: Compression, tool: &str) {
    let etcd = filled(24 << 20).await;
    let writer = Writer::connect(&etcd.url).await;
    let load = tokio::spawn(async move {
        let mut random = Random(7);
        for number in 0u64.. {
            writer
                .put(&format!("/registry/load/{}", number % 100), object(&mut random, number))
                .await
                .unwrap();
        }
    });
    let target = Target::new();
    let client = connect(&local(&etcd.url)).await.unwrap();
    let taken = snapshot(&client, &target, compression).await.unwrap();
    load.abort();

    assert!(taken.report.is_sound(), "{:?}", taken.report.findings);
    let stored = std::fs::read(target.path()).unwrap();
    assert_eq!(taken.stored, Written { size: stored.len() as u64, sha256: Digest::of(&stored) });

    let plain = unpacked(&target.path(), tool);
    let bytes = std::fs::read(&plain).unwrap();
    assert_eq!(taken.report.length, bytes.len() as u64);
    assert_eq!(Digest::from(taken.report.sha256), Digest::of(&bytes));
    let status = etcd.offline(&["snapshot", "status", plain.to_str().unwrap(), "-w", "json"]).unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["revision"].as_i64().unwrap() >= taken.header.revision, "{status} {:?}", taken.header);
    let restored = target.0.path().join("restored");
    etcd.offline(&["snapshot", "restore", plain.to_str().unwrap(), "--data-dir", restored.to_str().unwrap()])
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_snapshot_under_write_load_is_sound_and_etcd_restores_it() {
    if kit::require(kit::etcd::available()) {
        taken_under_load(Compression::Gzip, "gzip").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zstd_snapshot_under_write_load_is_sound_and_etcd_restores_it() {
    let zstd = Command::new("zstd").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !zstd {
        println!("skipped: there is no zstd here");
    } else if kit::require(kit::etcd::available()) {
        taken_under_load(Compression::Zstd, "zstd").await;
    }
}

#[tokio::test]
async fn over_mutual_tls_the_member_is_described_as_etcdctl_describes_it() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let certs = Certs::make();
    let etcd = certs.start("server");
    let local =
        LocalMember { name: Some("alone".into()), ..tls_member(&etcd.url, &certs, "ca", Some("client")) };
    let client = connect(&local).await.unwrap();
    eventually_leads(&client, &local).await;
    let member = examine(&client, &local).await.unwrap();
    assert_eq!(member.problems, []);
    assert_eq!((member.name.as_str(), member.leader, member.learner), ("alone", true, false));
    assert!(member.version.starts_with("3.") && member.db_size > 0 && member.raft_term > 0, "{member:?}");
    let [ca, cert, key] =
        ["ca.crt", "client.crt", "client.key"].map(|name| certs.path(name).display().to_string());
    let listed =
        etcd.etcdctl(&["--cacert", &ca, "--cert", &cert, "--key", &key, "member", "list"]).unwrap().text();
    assert!(listed.starts_with(&format!("{}, started, alone", member.id)), "{listed} {member:?}");
    assert!(snapshot(&client, &Target::new(), Compression::Gzip).await.unwrap().report.is_sound());
}

async fn eventually_leads(client: &Client, local: &LocalMember) {
    let until = Instant::now() + REQUEST_TIMEOUT;
    while !examine(client, local).await.unwrap().leader {
        assert!(Instant::now() < until, "no leader");
    }
}

#[tokio::test]
async fn every_fault_of_tls_has_its_own_error() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let certs = Certs::make();
    let etcd = certs.start("server");
    let wrong_ca = refused(&tls_member(&etcd.url, &certs, "other-ca", Some("client"))).await;
    assert!(
        matches!(&wrong_ca, ClientError::WrongCa { ca, .. } if *ca == certs.path("other-ca.crt")),
        "{wrong_ca:?}"
    );
    let none = refused(&tls_member(&etcd.url, &certs, "ca", None)).await;
    assert!(
        matches!(none, ClientError::ClientCertificateDemanded { .. } | ClientError::Closed { .. }),
        "{none:?}"
    );
    assert!(none.to_string().contains("requires a client certificate; set `cert` and `key`"), "{none}");
    let stranger = refused(&tls_member(&etcd.url, &certs, "ca", Some("stranger"))).await;
    assert!(
        matches!(stranger, ClientError::ClientCertificateRefused { .. } | ClientError::Closed { .. }),
        "{stranger:?}"
    );
    assert!(stranger.to_string().contains("refuses the client certificate"), "{stranger}");
    let mut mixed = tls_member(&etcd.url, &certs, "ca", Some("client"));
    mixed.tls.key = Some(certs.path("stranger.key"));
    let mixed = refused(&mixed).await;
    assert!(matches!(mixed, ClientError::BadIdentity { .. }), "{mixed:?}");
    let mut empty = tls_member(&etcd.url, &certs, "ca", Some("client"));
    empty.tls.ca = Some(certs.path("ca.key"));
    let empty = refused(&empty).await;
    assert!(matches!(empty, ClientError::NotACertificate { .. }), "{empty:?}");
    let absent = refused(&tls_member(&etcd.url, &certs, "absent", None)).await;
    assert!(matches!(absent, ClientError::Unreadable { .. }), "{absent:?}");

    let elsewhere = certs.start("elsewhere");
    let wrong_name = refused(&tls_member(&elsewhere.url, &certs, "ca", Some("client"))).await;
    assert!(wrong_name.to_string().contains("elsewhere.example.com"), "{wrong_name:?}");
    let nameless = certs.start("nameless");
    let no_san = refused(&tls_member(&nameless.url, &certs, "ca", Some("client"))).await;
    assert!(matches!(no_san, ClientError::NoSubjectAltName { .. }), "{no_san:?}");

    let plain = Etcd::start("alone", &[]).unwrap();
    let not_tls = refused(&tls_member(&plain.url.replace("http:", "https:"), &certs, "ca", None)).await;
    assert!(not_tls.to_string().contains("is it an http:// endpoint"), "{not_tls:?}");
    let not_http = refused(&local(&etcd.url.replace("https:", "http:"))).await;
    assert!(matches!(not_http, ClientError::Lost { .. }), "{not_http:?}");
}

#[tokio::test]
async fn a_dead_a_silent_and_an_invalid_endpoint_have_different_errors() {
    let dead = refused(&local(&peer_url())).await;
    assert!(matches!(dead, ClientError::NotListening { .. }), "{dead:?}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = local(&format!("http://{}", listener.local_addr().unwrap()));
    let silent = Client::connect(&silent, Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(silent, ClientError::TimedOut { .. }), "{silent:?}");
    for invalid in ["10.0.3.1:2379", "ftp://10.0.3.1", "https://", ""] {
        let error = refused(&local(invalid)).await;
        assert!(matches!(error, ClientError::BadEndpoint { .. }), "{invalid}: {error:?}");
    }
}

#[tokio::test]
async fn with_authentication_enabled_the_error_names_the_role_root() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = Etcd::start("alone", &[]).unwrap();
    etcd.secure().unwrap();
    // etcd 3.6 already refuses the status, with which a connection begins.
    let error = match connect(&local(&etcd.url)).await {
        Ok(client) => snapshot(&client, &Target::new(), Compression::Gzip).await.unwrap_err(),
        Err(error) => error.into(),
    };
    assert!(matches!(error, SnapshotError::Client(ClientError::NotAuthorised { .. })), "{error:?}");
}

#[tokio::test]
async fn a_member_that_is_out_of_space_has_a_problem() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = Etcd::start("small", &["--quota-backend-bytes=100000"]).unwrap();
    let writer = Writer::connect(&etcd.url).await;
    for number in 0.. {
        if writer.put(&format!("key{number}"), vec![b'x'; 50_000]).await.is_err() {
            break;
        }
    }
    let local = local(&etcd.url);
    let examined = examine(&connect(&local).await.unwrap(), &local).await.unwrap();
    assert_eq!(examined.problems, [Problem::Alarm("NOSPACE".into())]);
    assert_eq!(examined.alarms.len(), 1);
}

#[tokio::test]
async fn a_learner_and_a_member_of_another_host_are_reported() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let first = Etcd::start("first", &[]).unwrap();
    let peer = peer_url();
    first.etcdctl(&["member", "add", "second", "--learner", "--peer-urls", &peer]).unwrap();
    let cluster = format!("--initial-cluster=first={},second={peer}", first.peer_url);
    let second = Etcd::start_in("second", &peer, &[&cluster, "--initial-cluster-state=existing"]).unwrap();
    eventually("the learner joined", || {
        first.etcdctl(&["member", "list"]).unwrap().text().contains("started, second")
    });

    let member = LocalMember { name: Some("second".into()), ..local(&second.url) };
    let learner = examine(&connect(&member).await.unwrap(), &member).await.unwrap();
    assert!(learner.learner && learner.problems.contains(&Problem::Learner), "{learner:?}");
    let elsewhere = LocalMember { name: Some("second".into()), ..local(&first.url) };
    let other = examine(&connect(&elsewhere).await.unwrap(), &elsewhere).await.unwrap();
    assert!(
        matches!(&other.problems[..], [Problem::NotOwn { responding, .. }] if responding.starts_with("first")),
        "{other:?}"
    );
}

#[tokio::test]
async fn a_stalled_stream_and_one_that_takes_too_long_are_aborted() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = filled(6 << 20).await;
    let stall = Duration::from_millis(400);
    let proxy = Proxy::to(etcd.port).unwrap();
    proxy.hold_after(Way::Down, 1 << 20);
    let error = snapshot_through(&proxy, Limits { stall, ..LIMITS }).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Stalled { received: 1.., .. }), "{error:?}");
    let proxy = Proxy::to(etcd.port).unwrap();
    proxy.hold_after(Way::Down, 1 << 20);
    let error = snapshot_through(&proxy, Limits { deadline: stall, ..LIMITS }).await.unwrap_err();
    assert!(matches!(error, SnapshotError::TooLong { received: 1.., .. }), "{error:?}");
}

#[tokio::test]
async fn a_cut_stream_is_an_error_and_never_its_end() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = filled(6 << 20).await;
    let proxy = Proxy::to(etcd.port).unwrap();
    proxy.cut_after(Way::Down, 3 << 20);
    let error = snapshot_through(&proxy, LIMITS).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Client(ClientError::Lost { .. })), "{error:?}");
}

#[tokio::test]
async fn a_bit_flipped_on_the_way_is_found_by_the_trailer() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = filled(2 << 20).await;
    const MARK: &[u8] = b"the bit to flip is in here";
    Writer::connect(&etcd.url).await.put("/registry/marked", MARK.repeat(100)).await.unwrap();
    let proxy = Proxy::to(etcd.port).unwrap();
    proxy.flip(MARK);
    let taken = snapshot_through(&proxy, LIMITS).await.unwrap();
    assert!(proxy.is_tripped());
    assert_eq!(taken.report.findings, [Finding::TrailerWrong]);
}

#[tokio::test]
async fn a_full_disk_ends_the_snapshot_with_the_kernels_reason() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = filled(6 << 20).await;
    let client = connect(&local(&etcd.url)).await.unwrap();
    for compression in [Compression::Gzip, Compression::Zstd] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = take(&client, full, compression, LIMITS).await.unwrap_err();
        let SnapshotError::Write(error) = error else { panic!("{error:?}") };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_snapshot_closes_its_file_and_leaves_the_part() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = filled(6 << 20).await;
    let proxy = Proxy::to(etcd.port).unwrap();
    proxy.hold_after(Way::Down, 3 << 20);
    let client = connect(&local(&proxy.url())).await.unwrap();
    let target = Target::new();
    let taking = take(&client, target.file(), Compression::Gzip, LIMITS);
    let harmed = async {
        while !proxy.is_tripped() || std::fs::metadata(target.path()).unwrap().len() < 1000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        taken = taking => panic!("{taken:?}"),
        () = harmed => {}
    }
    eventually("the thread closed its file", || !is_open(&target.path()));
    assert!(target.path().exists());
}

/// Whether this process has `path` open.
fn is_open(path: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|target| target == path)
}
