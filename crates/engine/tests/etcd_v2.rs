//! v2 keys of real etcd members: found, backed up while the member runs, and proved by replay.

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
    #[allow(dead_code)]
    pub mod members;
}

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nightshift_etcd::v2::{ReplayError, V2BackupError, back_up, replay};
use nightshift_etcd::{Client, LocalMember, TlsFiles, V2, V2Error, look};
use support::etcd::{Certs, Etcd, available};
use support::members::cluster;

const PATIENCE: Duration = Duration::from_secs(10);
const REPLAYED: Duration = Duration::from_secs(60);

fn local(url: &str) -> LocalMember {
    let tls = TlsFiles::default();
    LocalMember { endpoint: url.to_owned(), tls, name: None, data_dir: None, files: Vec::new() }
}

async fn found(member: &LocalMember) -> (bool, bool) {
    let client = Client::connect(member, PATIENCE).await.unwrap();
    let found = look(&client, member, PATIENCE).await;
    (found.v3.unwrap(), found.v2.unwrap())
}

#[tokio::test]
async fn which_stores_hold_keys_is_asked_of_the_member() {
    if !available() {
        return;
    }
    let etcd = Etcd::start_with("alone", &["--enable-v2", "--initial-cluster-token=x"]);
    let member = local(&etcd.url);
    assert_eq!(found(&member).await, (false, false));
    let set = |key: &str| {
        let words = ["--endpoints", &etcd.url, "set", key, "value"];
        assert!(Command::new("etcdctl").env("ETCDCTL_API", "2").args(words).status().unwrap().success());
    };
    // Hidden nodes are nobody's data.
    set("/_etcd/of/its/own");
    assert_eq!(found(&member).await, (false, false));
    set("/openshift.io/old");
    assert_eq!(found(&member).await, (false, true));
    assert!(etcd.etcdctl(&["put", "/kubernetes.io/new", "value"]).status.success());
    assert_eq!(found(&member).await, (true, true));
    set("/openshift.io/older");
    let v2 = V2::of_member(&member, PATIENCE).unwrap();
    assert_eq!(v2.count_keys().await.unwrap(), 2);
    // A copy that is replayed later does not have them any more.
    let words = ["--endpoints", &etcd.url, "set", "--ttl", "3600", "/kubernetes.io/events/one", "value"];
    assert!(Command::new("etcdctl").env("ETCDCTL_API", "2").args(words).status().unwrap().success());
    assert_eq!(v2.count_keys().await.unwrap(), 2);
}

#[tokio::test]
async fn a_member_whose_v2_api_is_off_has_none_and_one_that_is_gone_is_not_taken_for_empty() {
    if !available() {
        return;
    }
    let etcd = Etcd::start();
    assert_eq!(found(&local(&etcd.url)).await, (false, false));
    let gone = V2::of_member(&local("http://127.0.0.1:1"), PATIENCE).unwrap();
    assert!(matches!(gone.has_keys().await, Err(V2Error::Unreachable { .. })));
}

#[tokio::test]
async fn over_tls_v2_is_asked_with_the_hosts_own_certificate_and_nothing_less() {
    if !available() {
        return;
    }
    let certs = Certs::make();
    let etcd = Etcd::start_tls(&certs, "server");
    let file = |name: &str| Some(certs.path(name));
    let right = TlsFiles { ca: file("ca.crt"), cert: file("client.crt"), key: file("client.key") };
    let asked = async |tls: TlsFiles| {
        V2::of_member(&LocalMember { tls, ..local(&etcd.url) }, PATIENCE).unwrap().has_keys().await
    };
    assert!(!asked(right.clone()).await.unwrap());
    asked(TlsFiles { ca: file("other-ca.crt"), ..right.clone() }).await.unwrap_err();
    asked(TlsFiles { cert: None, key: None, ..right.clone() }).await.unwrap_err();
    let stranger = TlsFiles { cert: file("stranger.crt"), key: file("stranger.key"), ..right };
    asked(stranger).await.unwrap_err();
}

#[tokio::test]
async fn a_v2_backup_of_a_running_member_replays_with_all_its_keys_and_takes_a_write() {
    if !available() {
        return;
    }
    let members = cluster(3);
    for number in 0..200 {
        members[0].told("2", &["set", &format!("/openshift.io/key-{number}"), "value"]);
    }
    let folder = tempfile::tempdir().unwrap();
    let (backup, scratch) = (folder.path().join("v2"), folder.path().join("scratch"));
    let data_dir = members[1].folder().join("data");
    V2::of_member(&members[1].local(), PATIENCE).unwrap().read_through_log().await.unwrap();
    back_up(Path::new("/usr/bin/etcdctl"), &data_dir, &backup, REPLAYED).unwrap();
    let replayed = replay(Path::new("/usr/bin/etcd"), &backup, &scratch, REPLAYED).await.unwrap();
    // With the one that every cluster of these tests has from the start.
    assert_eq!(replayed.keys, 201);
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "nothing is left");
    assert!(members[1].is_healthy());

    // Its write-ahead log cut short, as a torn copy would be.
    for wal in std::fs::read_dir(backup.join("member/wal")).unwrap() {
        let wal = std::fs::OpenOptions::new().write(true).open(wal.unwrap().path()).unwrap();
        wal.set_len(5).unwrap();
    }
    let torn = replay(Path::new("/usr/bin/etcd"), &backup, &scratch, Duration::from_secs(10)).await;
    let torn = torn.unwrap_err();
    assert!(torn.is_of_the_copy(), "{torn}");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "nothing is left");
}

#[tokio::test]
async fn without_tools_without_data_and_with_a_tool_that_lies_there_is_no_backup() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("v2");
    let none = Path::new("/nonexistent/etcdctl");
    let missing = back_up(none, folder.path(), &target, REPLAYED).unwrap_err();
    assert!(matches!(missing, V2BackupError::NoEtcdctl { .. }), "{missing}");
    let lying = back_up(Path::new("/bin/true"), folder.path(), &target, REPLAYED).unwrap_err();
    assert!(matches!(lying, V2BackupError::Empty { .. }), "{lying}");
    let no_etcd = replay(Path::new("/nonexistent/etcd"), folder.path(), folder.path(), REPLAYED).await;
    assert!(matches!(no_etcd, Err(ReplayError::NoEtcd { .. } | ReplayError::Copy { .. })), "{no_etcd:?}");
    if available() {
        let nothing = back_up(Path::new("/usr/bin/etcdctl"), folder.path(), &target, REPLAYED).unwrap_err();
        assert!(matches!(nothing, V2BackupError::Failed { .. }), "{nothing}");
    }
}
