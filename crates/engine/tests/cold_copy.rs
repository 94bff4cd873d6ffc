//! The cold copy of real etcd members on loopback, which are stopped and started by scripts instead of systemd.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

#[allow(dead_code)] // the etcd crate uses the rest of it
#[path = "../../etcd/tests/it/support/mod.rs"]
mod support;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kit::etcd::Etcd;
use kit::eventually;
use nightshift_core::digest::{Digest, Written};
use nightshift_core::night::{Night, NightWindow};
use nightshift_core::settings::Compression;
use nightshift_engine::cold_copy::Host;
use nightshift_engine::cold_copy::frame::Request;
use nightshift_engine::cold_copy::recover::recover;
use nightshift_engine::cold_copy::request::{ColdCopyOutcome, Copied, RequestError, request};
use nightshift_engine::cold_copy::serve::{ServeError, serve};
use nightshift_etcd::service::ServiceControl as _;
use nightshift_store::SetFile;
use support::members::{Member, Scripts, cluster, today, whose_turn};
use tokio::task::JoinHandle;

const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A member's helper, which waits on its socket for one connection.
struct Helper {
    socket: PathBuf,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Helper {
    fn of(member: &Member) -> Self {
        Self::with(member, host(member))
    }

    fn with(member: &Member, host: Host<Scripts>) -> Self {
        let socket = member.directory().join("cold-copy.sock");
        let _from_before = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = tokio::spawn(async move {
            let accepted = tokio::task::spawn_blocking(move || listener.accept().unwrap().0).await.unwrap();
            serve(&host, accepted).await
        });
        Self { socket, serving }
    }
}

fn host(member: &Member) -> Host<Scripts> {
    Host {
        cluster: "test".parse().unwrap(),
        this: format!("{}.example.com", member.name).parse().unwrap(),
        window: NightWindow {
            opens: jiff::civil::time(22, 0, 0, 0),
            closes: jiff::civil::time(4, 0, 0, 0),
            zone: jiff::tz::TimeZone::UTC,
        },
        local: member.local(),
        service: member.service.clone(),
        state: member.directory().join("state"),
    }
}

fn written(bytes: &[u8]) -> Written {
    Written { size: bytes.len() as u64, sha256: Digest::of(bytes) }
}

fn cluster_id(member: &Member) -> String {
    format!("{:x}", member.status().pointer("/0/Status/header/cluster_id").unwrap().as_u64().unwrap())
}

fn message(member: &Member) -> Request {
    Request { night: Night::of(today()), cluster_id: cluster_id(member) }
}

async fn requested(
    member: &Member,
    helper: &Helper,
    message: &Request,
) -> Result<ColdCopyOutcome, RequestError> {
    let create = || File::create(copy_of(member)).map(SetFile::from).map_err(RequestError::Store);
    request(&helper.socket, message, Compression::Gzip, create).await
}

fn copy_of(member: &Member) -> PathBuf {
    member.directory().join("member.tar.gz")
}

fn copied(outcome: Result<ColdCopyOutcome, RequestError>) -> Copied {
    match outcome {
        Ok(ColdCopyOutcome::Copied(copied)) => copied,
        other => panic!("no copy: {other:?}"),
    }
}

/// Starts etcd on the unpacked copy, like a restore.
fn restored(copy: &Path, directory: &Path) -> Etcd {
    std::fs::create_dir(directory).unwrap();
    let unpacked = Command::new("tar").arg("-xzf").arg(copy).arg("-C").arg(directory).status().unwrap();
    assert!(unpacked.success());
    Etcd::start_forced(directory, &["--enable-v2"]).unwrap()
}

/// Sends a request like the daemon, and reads up to the first data.
fn started(member: &Member, helper: &Helper) -> UnixStream {
    let mut line = UnixStream::connect(&helper.socket).unwrap();
    line.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    let mut text = serde_json::to_vec(&message(member)).unwrap();
    text.push(b'\n');
    line.write_all(&text).unwrap();
    let (kind, reply) = frame(&mut line);
    assert_eq!(kind, b'w');
    assert!(String::from_utf8_lossy(&reply).contains("stopped"), "{}", String::from_utf8_lossy(&reply));
    assert_eq!(frame(&mut line).0, b'd');
    line
}

fn frame(line: &mut UnixStream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    line.read_exact(&mut head).unwrap();
    let mut bytes = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize];
    line.read_exact(&mut bytes).unwrap();
    (head[0], bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_members_is_copied_each_night_and_its_copy_restores_with_both_stores() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = cluster(3);
    let tonight = whose_turn(&members, today());
    // The worst case: tonight's member is the leader.
    if !tonight.leads() {
        let leader = members.iter().find(|member| member.leads()).unwrap();
        leader.ctl("3", &["move-leader", &format!("{:x}", tonight.id())]);
    }
    for member in &members {
        let helper = Helper::of(member);
        let outcome = requested(member, &helper, &message(member)).await;
        helper.serving.await.unwrap().unwrap();
        if member.name != tonight.name {
            assert!(
                matches!(&outcome, Ok(ColdCopyOutcome::NotMyTurn { member }) if *member == tonight.name),
                "{outcome:?}"
            );
            continue;
        }
        let copied = copied(outcome);
        assert!(member.is_healthy() && !member.leads() && !member.marker().exists());
        let stored = std::fs::read(copy_of(member)).unwrap();
        assert_eq!(copied.stored, written(&stored));
        let plain = Command::new("gzip").arg("-dc").arg(copy_of(member)).output().unwrap().stdout;
        assert_eq!(copied.raw, written(&plain));
    }
    let locks = members[0].ctl("3", &["get", "--prefix", "/nightshift/"]);
    assert_eq!(locks, "", "the lock is released");

    let directory = tempfile::tempdir().unwrap();
    let etcd = restored(&copy_of(tonight), &directory.path().join("data"));
    assert_eq!(etcd.etcdctl2(&["get", "/openshift.io/old"]).unwrap().text(), "from v2");
    assert!(etcd.etcdctl(&["get", "/kubernetes.io/new"]).unwrap().text().ends_with("from v3"));
    etcd.put("canary", "alive").unwrap();
    etcd.etcdctl2(&["set", "/canary", "alive"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_members_requested_in_the_same_second_one_is_copied_and_the_other_refuses() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = cluster(3);
    // Two hosts with different nights.
    let (one, other) = (whose_turn(&members, today()), whose_turn(&members, today().yesterday().unwrap()));
    assert_ne!(one.name, other.name);
    let helpers = (Helper::of(one), Helper::of(other));
    let requests =
        (message(one), Request { night: Night::of(today().yesterday().unwrap()), ..message(other) });
    let answers =
        tokio::join!(requested(one, &helpers.0, &requests.0), requested(other, &helpers.1, &requests.1));
    let answers = [answers.0, answers.1];
    let copied = answers.iter().filter(|answer| matches!(answer, Ok(ColdCopyOutcome::Copied(_)))).count();
    let busy = answers
        .iter()
        .filter(
            |answer| matches!(answer, Err(RequestError::Busy(reason)) if reason.contains("cold-copy-lock")),
        )
        .count();
    assert_eq!((copied, busy), (1, 1), "{answers:?}");
    for member in &members {
        assert!(member.is_healthy());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lock_aborts_the_copy_and_starts_the_member() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let helper = Helper::of(member);
    let line = started(member, &helper);
    assert!(!member.is_healthy() && member.marker().exists());
    let other = members.iter().find(|other| other.name != member.name).unwrap();
    other.revoke_lock();
    eventually("the member is back", || member.is_healthy());
    let error = helper.serving.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("lock"), "{error}");
    assert!(!member.marker().exists());
    drop(line);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_lost_during_the_stop_starts_the_member_after_the_stop() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let mut host = host(member);
    // The next renewal notices the loss within 10 s.
    host.service.stops_after = Duration::from_secs(15);
    let helper = Helper::with(member, host);
    let mut line = UnixStream::connect(&helper.socket).unwrap();
    line.write_all(&[&serde_json::to_vec(&message(member)).unwrap()[..], b"\n"].concat()).unwrap();
    eventually("it is being stopped", || member.marker().exists());
    members.iter().find(|other| other.name != member.name).unwrap().revoke_lock();
    let error = helper.serving.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("lock"), "{error}");
    eventually("the stop has ended", || member.directory().join("stop-has-ended").exists());
    assert!(member.is_healthy() && !member.marker().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_the_quorum_needs_is_started_at_the_next_renewal() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let helper = Helper::of(member);
    let line = started(member, &helper);
    let other = members.iter().find(|other| other.name != member.name).unwrap();
    other.service.stop().await.unwrap();
    let needed = Instant::now();
    let error = helper.serving.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("lock"), "{error}");
    // 10 s until the renewal, 5 s for its timeout, and the member's start.
    assert!(needed.elapsed() < Duration::from_secs(30), "{:?}", needed.elapsed());
    assert!(member.is_healthy() && !member.marker().exists());
    drop(line);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stops_of_a_member_in_a_night_are_limited_and_a_refused_one_moves_no_leader() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    if !member.leads() {
        let leader = members.iter().find(|member| member.leads()).unwrap();
        leader.ctl("3", &["move-leader", &format!("{:x}", member.id())]);
    }
    let state = member.directory().join("state");
    std::fs::create_dir(&state).unwrap();
    let begun = format!(r#"{{"night":"{}","count":8}}"#, Night::of(today()));
    std::fs::write(state.join("begun"), begun).unwrap();
    let helper = Helper::of(member);
    let outcome = requested(member, &helper, &message(member)).await;
    assert!(
        matches!(&outcome, Err(RequestError::Refused(reason)) if reason.contains("times")),
        "{outcome:?}"
    );
    assert!(member.is_healthy() && !member.marker().exists());
    assert!(member.leads(), "a request that was refused moved the leader");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_no_member_has_open_is_not_copied() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let alone = cluster(1);
    let stale = alone[0].directory().join("stale");
    let copied =
        Command::new("cp").arg("-r").args([&alone[0].directory().join("data"), &stale]).status().unwrap();
    assert!(copied.success());
    let mut host = host(&alone[0]);
    host.local.data_dir = Some(stale);
    let helper = Helper::with(&alone[0], host);
    let outcome = requested(&alone[0], &helper, &message(&alone[0])).await;
    assert!(
        matches!(&outcome, Err(RequestError::Refused(reason)) if reason.contains("stale/member/snap/db")),
        "{outcome:?}"
    );
    assert!(alone[0].is_healthy() && !alone[0].marker().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_hosts_member_at_the_endpoint_is_not_stopped() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let other = members.iter().find(|other| other.name != member.name).unwrap();
    let mut host = host(member);
    host.local.name = Some(other.name.clone());
    let helper = Helper::with(member, host);
    let outcome = requested(member, &helper, &message(member)).await;
    assert!(
        matches!(&outcome, Err(RequestError::Refused(reason)) if reason.contains("not this host's own")),
        "{outcome:?}"
    );
    assert!(member.is_healthy() && !member.marker().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_during_the_copy_leaves_no_member_stopped() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let helper = Helper::of(member);
    let line = started(member, &helper);
    assert!(!member.is_healthy());
    let died = Instant::now();
    drop(line);
    helper.serving.await.unwrap().unwrap_err();
    assert!(died.elapsed() < TEST_TIMEOUT && member.is_healthy() && !member.marker().exists());
    assert_eq!(member.ctl("3", &["get", "--prefix", "/nightshift/"]), "", "the lock is released");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_dies_during_the_copy_leaves_a_marker_by_which_the_member_is_started() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let helper = Helper::of(member);
    let line = started(member, &helper);
    helper.serving.abort();
    let _aborted = helper.serving.await;
    drop(line);
    assert!(!member.is_healthy() && member.marker().exists());

    let state = member.directory().join("state");
    let recovered = recover::<Scripts>(&state).await.unwrap();
    assert_eq!(recovered.as_deref(), Some(member.name.as_str()));
    eventually("the member is back", || member.is_healthy());
    assert!(!member.marker().exists());
    assert_eq!(recover::<Scripts>(&state).await.unwrap(), None);

    // The lock of the dead helper expires later, and no other member is stopped until then.
    let helper = Helper::of(member);
    let outcome = requested(member, &helper, &message(member)).await;
    assert!(
        matches!(&outcome, Err(RequestError::Busy(reason)) if reason.contains(&member.name)),
        "{outcome:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_member_is_stopped_for_a_wrong_cluster_for_another_night_or_while_one_is_not_healthy() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let right = message(member);
    let refused = async |request: Request| {
        let helper = Helper::of(member);
        match requested(member, &helper, &request).await {
            Err(RequestError::Refused(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        }
    };
    let foreign = refused(Request { cluster_id: "beef".into(), ..right.clone() }).await;
    assert!(foreign.contains("beef"), "{foreign}");
    let past = refused(Request { night: "2020-01-01".parse().unwrap(), ..right.clone() }).await;
    assert!(past.contains("not tonight"), "{past}");

    let other = members.iter().find(|other| other.name != member.name).unwrap();
    other.service.stop().await.unwrap();
    eventually("the other is down", || !other.is_healthy());
    let unhealthy = refused(right).await;
    assert!(unhealthy.contains(&other.name), "{unhealthy}");
    assert!(member.is_healthy() && !member.marker().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_is_copied_without_a_lock_and_a_cluster_of_two_never() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let alone = cluster(1);
    let helper = Helper::of(&alone[0]);
    copied(requested(&alone[0], &helper, &message(&alone[0])).await);
    assert!(alone[0].is_healthy());

    let two = cluster(2);
    let member = whose_turn(&two, today());
    let helper = Helper::of(member);
    let outcome = requested(member, &helper, &message(member)).await;
    assert!(
        matches!(&outcome, Err(RequestError::Refused(reason)) if reason.contains("quorum needs 2 of 2")),
        "{outcome:?}"
    );
    assert!(member.is_healthy());
}

#[tokio::test]
async fn without_the_socket_cold_copies_are_not_enabled() {
    let directory = tempfile::tempdir().unwrap();
    let message = Request { night: Night::of(today()), cluster_id: "1".into() };
    let never = || -> Result<SetFile, RequestError> { panic!("there is nothing to store") };
    let error =
        request(&directory.path().join("none.sock"), &message, Compression::Gzip, never).await.unwrap_err();
    assert!(matches!(error, RequestError::NotEnabled { .. }), "{error}");
}
