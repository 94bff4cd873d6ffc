//! v2 keys: found, backed up while the member runs, and tested by replay.

use std::path::Path;
use std::time::Duration;

use crate::certs::Certs;
use crate::support::members::cluster;
use crate::support::writer::local;
use kit::etcd::Etcd;
use nightshift_core::settings::EtcdData;
use nightshift_core::settings::EtcdTools;
use nightshift_etcd::client::Client;
use nightshift_etcd::discover::{LocalMember, TlsFiles};
use nightshift_etcd::trial::fault::Fault;
use nightshift_etcd::trial::tools::installed_program;
use nightshift_etcd::v2::backup::{V2BackupError, back_up};
use nightshift_etcd::v2::client::{V2Client, V2Error};
use nightshift_etcd::v2::replay::replay;
use nightshift_etcd::v2::stores::Stores;
use nightshift_store::process::ProcessError;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const REPLAY_TIMEOUT: Duration = Duration::from_secs(60);

async fn found(member: &LocalMember) -> (bool, bool) {
    let client = Client::connect(member, REQUEST_TIMEOUT).await.unwrap();
    let stores = Stores::of(EtcdData::Auto, &client, member).await;
    (stores.v3.unwrap(), stores.v2.unwrap())
}

#[tokio::test]
async fn the_member_is_queried_for_which_stores_contain_keys() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = Etcd::start("alone", &["--enable-v2", "--initial-cluster-token=x"]).unwrap();
    let member = local(&etcd.url);
    assert_eq!(found(&member).await, (false, false));
    let set = |key: &str| etcd.etcdctl2(&["set", key, "value"]).unwrap();
    // Hidden nodes are etcd's own.
    set("/_etcd/of/its/own");
    assert_eq!(found(&member).await, (false, false));
    set("/openshift.io/old");
    assert_eq!(found(&member).await, (false, true));
    etcd.put("/kubernetes.io/new", "value").unwrap();
    assert_eq!(found(&member).await, (true, true));
    set("/openshift.io/older");
    let v2 = V2Client::of_member(&member, REQUEST_TIMEOUT).unwrap();
    assert_eq!(v2.count_keys().await.unwrap(), 2);
    // A copy that is replayed later does not contain keys that expire.
    etcd.etcdctl2(&["set", "--ttl", "3600", "/kubernetes.io/events/one", "value"]).unwrap();
    assert_eq!(v2.count_keys().await.unwrap(), 2);
}

#[tokio::test]
async fn a_member_with_the_v2_api_disabled_has_no_v2_keys_and_one_that_is_gone_is_an_error() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = Etcd::start("alone", &[]).unwrap();
    assert_eq!(found(&local(&etcd.url)).await, (false, false));
    let gone = V2Client::of_member(&local("http://127.0.0.1:1"), REQUEST_TIMEOUT).unwrap();
    assert!(matches!(gone.has_keys().await, Err(V2Error::Unreachable { .. })));
}

#[tokio::test]
async fn over_tls_the_v2_api_needs_the_right_ca_and_client_certificate() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let certs = Certs::make();
    let etcd = certs.start("server");
    let file = |name: &str| Some(certs.path(name));
    let right = TlsFiles { ca: file("ca.crt"), cert: file("client.crt"), key: file("client.key") };
    let queried = async |tls: TlsFiles| {
        V2Client::of_member(&LocalMember { tls, ..local(&etcd.url) }, REQUEST_TIMEOUT)
            .unwrap()
            .has_keys()
            .await
    };
    assert!(!queried(right.clone()).await.unwrap());
    queried(TlsFiles { ca: file("other-ca.crt"), ..right.clone() }).await.unwrap_err();
    queried(TlsFiles { cert: None, key: None, ..right.clone() }).await.unwrap_err();
    let stranger = TlsFiles { cert: file("stranger.crt"), key: file("stranger.key"), ..right };
    queried(stranger).await.unwrap_err();
}

#[tokio::test]
async fn a_v2_backup_of_a_running_member_replays_with_all_its_keys_and_accepts_a_write() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = cluster(3);
    for number in 0..200 {
        members[0].ctl("2", &["set", &format!("/openshift.io/key-{number}"), "value"]);
    }
    let directory = tempfile::tempdir().unwrap();
    let (backup, scratch) = (directory.path().join("v2"), directory.path().join("scratch"));
    let data_dir = members[1].directory().join("data");
    V2Client::of_member(&members[1].local(), REQUEST_TIMEOUT).unwrap().read_through_log().await.unwrap();
    let [etcd, etcdctl] =
        ["etcd", "etcdctl"].map(|name| installed_program(&EtcdTools::Auto, &[name]).unwrap());
    back_up(&etcdctl, &data_dir, &backup, REPLAY_TIMEOUT).unwrap();
    let keys = replay(&etcd, &backup, &scratch, REPLAY_TIMEOUT).await.unwrap();
    // With the one key that every cluster of these tests has.
    assert_eq!(keys, 201);
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "nothing is left");
    assert!(members[1].is_healthy());

    // Its write-ahead log is cut, like that of a torn copy.
    for wal in std::fs::read_dir(backup.join("member/wal")).unwrap() {
        let wal = std::fs::OpenOptions::new().write(true).open(wal.unwrap().path()).unwrap();
        wal.set_len(5).unwrap();
    }
    let torn = replay(&etcd, &backup, &scratch, Duration::from_secs(10)).await;
    assert!(matches!(torn, Err(Fault::Copy(_))), "{torn:?}");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "nothing is left");
}

#[tokio::test]
async fn without_a_program_without_data_and_with_a_program_that_does_nothing_there_is_no_backup() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("v2");
    let none = Path::new("/nonexistent/etcdctl");
    let missing = back_up(none, directory.path(), &target, REPLAY_TIMEOUT).unwrap_err();
    assert!(matches!(missing, V2BackupError::Process(ProcessError::Start { .. })), "{missing}");
    let idle = back_up(Path::new("/bin/true"), directory.path(), &target, REPLAY_TIMEOUT).unwrap_err();
    assert!(matches!(idle, V2BackupError::Empty { .. }), "{idle}");
    let etcd = Path::new("/nonexistent/etcd");
    let no_copy = replay(etcd, directory.path(), directory.path(), REPLAY_TIMEOUT).await;
    assert!(matches!(no_copy, Err(Fault::Copy(_))), "{no_copy:?}");
    std::fs::create_dir(directory.path().join("member")).unwrap();
    let no_etcd = replay(etcd, directory.path(), directory.path(), REPLAY_TIMEOUT).await;
    assert!(matches!(no_etcd, Err(Fault::Here(_))), "{no_etcd:?}");
    if kit::require(kit::etcd::available()) {
        let etcdctl = installed_program(&EtcdTools::Auto, &["etcdctl"]).unwrap();
        let nothing = back_up(&etcdctl, directory.path(), &target, REPLAY_TIMEOUT).unwrap_err();
        assert!(matches!(nothing, V2BackupError::Process(ProcessError::Failed { .. })), "{nothing}");
    }
}
