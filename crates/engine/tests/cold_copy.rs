//! The cold copy against real etcd members on loopback, stopped and started by scripts in systemd's place.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support {
    #[allow(dead_code)]
    pub mod etcd;
    pub mod members;
}

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nightshift_core::digest::Digest;
use nightshift_core::settings::Compression;
use nightshift_engine::cold_copy::{AskError, Asked, Copied, Host, Request, ask, recover, serve};
use support::etcd::{Etcd, available, eventually, free_port};
use support::members::{Member, Scripts, cluster, night, today, whose_turn};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(60);

/// A member's helper, waiting on its socket for one connection.
struct Helper {
    socket: PathBuf,
    serving: JoinHandle<Result<(), nightshift_engine::cold_copy::ServeError>>,
}

impl Helper {
    fn of(member: &Member) -> Self {
        Self::with(member, member.host())
    }

    fn with(member: &Member, host: Host<Scripts>) -> Self {
        let socket = member.folder().join("cold-copy.sock");
        let _from_before = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = tokio::spawn(async move {
            let accepted = tokio::task::spawn_blocking(move || listener.accept().unwrap().0).await.unwrap();
            serve(&host, accepted).await
        });
        Self { socket, serving }
    }
}

fn cluster_id(member: &Member) -> String {
    format!("{:x}", member.status().pointer("/0/Status/header/cluster_id").unwrap().as_u64().unwrap())
}

fn request(member: &Member) -> Request {
    Request { night: night(today()), cluster_id: cluster_id(member) }
}

async fn asked(member: &Member, helper: &Helper, request: &Request) -> Result<Asked, AskError> {
    let path = copy_of(member);
    ask(&helper.socket, request, Compression::Gzip, || File::create(&path).map_err(AskError::Store)).await
}

fn copy_of(member: &Member) -> PathBuf {
    member.folder().join("member.tar.gz")
}

fn copied(asked: Result<Asked, AskError>) -> Copied {
    match asked {
        Ok(Asked::Copied(copied)) => copied,
        other => panic!("no copy: {other:?}"),
    }
}

/// Starts an etcd of its own on the unpacked copy, as a restore would.
fn restored(copy: &Path, folder: &Path) -> Etcd {
    std::fs::create_dir(folder).unwrap();
    let unpacked = Command::new("tar").arg("-xzf").arg(copy).arg("-C").arg(folder).status().unwrap();
    assert!(unpacked.success());
    let data_dir = format!("--data-dir={}", folder.display());
    let peer = format!("http://127.0.0.1:{}", free_port());
    Etcd::start_in("restored", &peer, &[&data_dir, "--force-new-cluster", "--enable-v2"])
}

fn told(etcd: &Etcd, api: &str, words: &[&str]) -> String {
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", api)
        .args(["--endpoints", &etcd.url])
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Asks as the daemon does, reads until data comes, and no further.
fn begun(member: &Member, helper: &Helper) -> UnixStream {
    let mut line = UnixStream::connect(&helper.socket).unwrap();
    line.set_read_timeout(Some(SOON)).unwrap();
    let mut asked = serde_json::to_vec(&request(member)).unwrap();
    asked.push(b'\n');
    line.write_all(&asked).unwrap();
    let (kind, words) = frame(&mut line);
    assert_eq!(kind, b'w');
    assert!(String::from_utf8_lossy(&words).contains("stopped"), "{}", String::from_utf8_lossy(&words));
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
async fn of_three_members_one_is_copied_each_night_and_its_copy_restores_with_both_stores() {
    if !available() {
        return;
    }
    let members = cluster(3);
    let tonight = whose_turn(&members, today());
    // The worst case: tonight's member leads.
    if !tonight.leads() {
        let leader = members.iter().find(|member| member.leads()).unwrap();
        leader.told("3", &["move-leader", &format!("{:x}", tonight.id())]);
    }
    for member in &members {
        let helper = Helper::of(member);
        let answer = asked(member, &helper, &request(member)).await;
        helper.serving.await.unwrap().unwrap();
        if member.name != tonight.name {
            assert!(
                matches!(&answer, Ok(Asked::NotMyTurn { member }) if *member == tonight.name),
                "{answer:?}"
            );
            continue;
        }
        let copied = copied(answer);
        assert!(member.is_healthy() && !member.leads() && !member.marker().exists());
        let stored = std::fs::read(copy_of(member)).unwrap();
        assert_eq!((copied.stored_size, copied.stored_sha256), (stored.len() as u64, Digest::of(&stored)));
        let plain = Command::new("gzip").arg("-dc").arg(copy_of(member)).output().unwrap().stdout;
        assert_eq!((copied.raw_size, copied.raw_sha256), (plain.len() as u64, Digest::of(&plain)));
    }
    let locks = members[0].told("3", &["get", "--prefix", "/nightshift/"]);
    assert_eq!(locks, "", "the lock is given back");

    let folder = tempfile::tempdir().unwrap();
    let etcd = restored(&copy_of(tonight), &folder.path().join("data"));
    assert_eq!(told(&etcd, "2", &["get", "/openshift.io/old"]), "from v2");
    assert!(told(&etcd, "3", &["get", "/kubernetes.io/new"]).ends_with("from v3"));
    told(&etcd, "3", &["put", "canary", "alive"]);
    told(&etcd, "2", &["set", "/canary", "alive"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_members_asked_in_the_same_second_one_goes_and_the_other_gives_up() {
    if !available() {
        return;
    }
    let members = cluster(3);
    // Two hosts that don't agree which night it is.
    let (one, other) = (whose_turn(&members, today()), whose_turn(&members, today().yesterday().unwrap()));
    assert_ne!(one.name, other.name);
    let helpers = (Helper::of(one), Helper::of(other));
    let requests = (request(one), Request { night: night(today().yesterday().unwrap()), ..request(other) });
    let answers = tokio::join!(asked(one, &helpers.0, &requests.0), asked(other, &helpers.1, &requests.1));
    let answers = [answers.0, answers.1];
    let went = answers.iter().filter(|answer| matches!(answer, Ok(Asked::Copied(_)))).count();
    let gave_up = answers
        .iter()
        .filter(|answer| matches!(answer, Err(AskError::Busy(reason)) if reason.contains("cold-copy-lock")))
        .count();
    assert_eq!((went, gave_up), (1, 1), "{answers:?}");
    for member in &members {
        assert!(member.is_healthy());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lock_ends_the_copy_and_starts_the_member() {
    if !available() {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let helper = Helper::of(member);
    let line = begun(member, &helper);
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
async fn a_lock_lost_during_the_stop_starts_the_member_after_it_not_before() {
    if !available() {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let mut host = member.host();
    // The loss is noticed by the next renewal, within ten seconds.
    host.service.stops_after = Duration::from_secs(15);
    let helper = Helper::with(member, host);
    let mut line = UnixStream::connect(&helper.socket).unwrap();
    line.write_all(&[&serde_json::to_vec(&request(member)).unwrap()[..], b"\n"].concat()).unwrap();
    eventually("it is being stopped", || member.marker().exists());
    members.iter().find(|other| other.name != member.name).unwrap().revoke_lock();
    let error = helper.serving.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("lock"), "{error}");
    eventually("the stop has ended", || member.folder().join("stop-has-ended").exists());
    assert!(member.is_healthy() && !member.marker().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_the_others_come_to_need_is_started_at_the_next_renewal() {
    if !available() {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let helper = Helper::of(member);
    let line = begun(member, &helper);
    let other = members.iter().find(|other| other.name != member.name).unwrap();
    nightshift_etcd::service::Runs::stop(&other.service).await.unwrap();
    let needed = Instant::now();
    let error = helper.serving.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("lock"), "{error}");
    // Ten to the renewal, five that it waits for an answer, and the member's return.
    assert!(needed.elapsed() < Duration::from_secs(30), "{:?}", needed.elapsed());
    assert!(member.is_healthy() && !member.marker().exists());
    drop(line);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_stopped_only_so_often_in_a_night() {
    if !available() {
        return;
    }
    let alone = cluster(1);
    let state = alone[0].folder().join("state");
    std::fs::create_dir(&state).unwrap();
    let begun = format!(r#"{{"night":"{}","count":8}}"#, night(today()));
    std::fs::write(state.join("begun"), begun).unwrap();
    let helper = Helper::of(&alone[0]);
    let answer = asked(&alone[0], &helper, &request(&alone[0])).await;
    assert!(matches!(&answer, Err(AskError::Refused(reason)) if reason.contains("times")), "{answer:?}");
    assert!(alone[0].is_healthy() && !alone[0].marker().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_no_member_has_open_is_not_copied() {
    if !available() {
        return;
    }
    let alone = cluster(1);
    let stale = alone[0].folder().join("stale");
    let copied =
        Command::new("cp").arg("-r").args([&alone[0].folder().join("data"), &stale]).status().unwrap();
    assert!(copied.success());
    let mut host = alone[0].host();
    host.local.data_dir = Some(stale);
    let helper = Helper::with(&alone[0], host);
    let answer = asked(&alone[0], &helper, &request(&alone[0])).await;
    assert!(
        matches!(&answer, Err(AskError::Refused(reason)) if reason.contains("stale/member/snap/db")),
        "{answer:?}"
    );
    assert!(alone[0].is_healthy() && !alone[0].marker().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_answers_in_the_place_of_this_hosts_own_is_not_stopped() {
    if !available() {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let other = members.iter().find(|other| other.name != member.name).unwrap();
    let mut host = member.host();
    host.local.name = Some(other.name.clone());
    let helper = Helper::with(member, host);
    let answer = asked(member, &helper, &request(member)).await;
    assert!(
        matches!(&answer, Err(AskError::Refused(reason)) if reason.contains("not this host's own")),
        "{answer:?}"
    );
    assert!(member.is_healthy() && !member.marker().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_in_the_middle_leaves_no_member_stopped() {
    if !available() {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let helper = Helper::of(member);
    let line = begun(member, &helper);
    assert!(!member.is_healthy());
    let died = Instant::now();
    drop(line);
    helper.serving.await.unwrap().unwrap_err();
    assert!(died.elapsed() < SOON && member.is_healthy() && !member.marker().exists());
    assert_eq!(member.told("3", &["get", "--prefix", "/nightshift/"]), "", "the lock is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_dies_in_the_middle_leaves_a_marker_by_which_the_member_is_started() {
    if !available() {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let helper = Helper::of(member);
    let line = begun(member, &helper);
    helper.serving.abort();
    let _aborted = helper.serving.await;
    drop(line);
    assert!(!member.is_healthy() && member.marker().exists());

    let state = member.folder().join("state");
    let recovered = recover::<Scripts>(&state).await.unwrap();
    assert_eq!(recovered.as_deref(), Some(member.name.as_str()));
    eventually("the member is back", || member.is_healthy());
    assert!(!member.marker().exists());
    assert_eq!(recover::<Scripts>(&state).await.unwrap(), None);

    // The dead one's lock outlives it for a while, and nobody else is stopped as long.
    let helper = Helper::of(member);
    let answer = asked(member, &helper, &request(member)).await;
    assert!(matches!(&answer, Err(AskError::Busy(reason)) if reason.contains(&member.name)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stopped_for_a_wrong_cluster_another_night_or_while_a_member_is_unwell() {
    if !available() {
        return;
    }
    let members = cluster(3);
    let member = whose_turn(&members, today());
    let right = request(member);
    let refused = async |request: Request| {
        let helper = Helper::of(member);
        match asked(member, &helper, &request).await {
            Err(AskError::Refused(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        }
    };
    let foreign = refused(Request { cluster_id: "beef".into(), ..right.clone() }).await;
    assert!(foreign.contains("beef"), "{foreign}");
    let past = refused(Request { night: "2020-01-01".parse().unwrap(), ..right.clone() }).await;
    assert!(past.contains("not tonight"), "{past}");

    let other = members.iter().find(|other| other.name != member.name).unwrap();
    nightshift_etcd::service::Runs::stop(&other.service).await.unwrap();
    eventually("the other is down", || !other.is_healthy());
    let unwell = refused(right).await;
    assert!(unwell.contains(&other.name), "{unwell}");
    assert!(member.is_healthy() && !member.marker().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_is_copied_without_a_lock_and_one_of_two_never() {
    if !available() {
        return;
    }
    let alone = cluster(1);
    let helper = Helper::of(&alone[0]);
    copied(asked(&alone[0], &helper, &request(&alone[0])).await);
    assert!(alone[0].is_healthy());

    let two = cluster(2);
    let member = whose_turn(&two, today());
    let helper = Helper::of(member);
    let answer = asked(member, &helper, &request(member)).await;
    assert!(matches!(&answer, Err(AskError::Refused(reason)) if reason.contains("2 must run")), "{answer:?}");
    assert!(member.is_healthy());
}

#[tokio::test]
async fn without_the_socket_the_cold_copy_is_not_enabled() {
    let folder = tempfile::tempdir().unwrap();
    let request = Request { night: night(today()), cluster_id: "1".into() };
    let never = || -> Result<File, AskError> { panic!("nothing is to be stored") };
    let error = ask(&folder.path().join("none.sock"), &request, Compression::Gzip, never).await.unwrap_err();
    assert!(matches!(error, AskError::NotEnabled { .. }), "{error}");
}
