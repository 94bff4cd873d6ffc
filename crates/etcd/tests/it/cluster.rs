//! All members of a cluster: their health, their order, and whether they agree.

use std::time::Duration;

use crate::certs::Certs;
use crate::support::writer::{Writer, local};
use jiff::{Timestamp, ToSpan as _};
use kit::etcd::Etcd;
use kit::pki::Authority;
use nightshift_core::etcd_facts::{Agreement, AgreementState, MemberId};
use nightshift_etcd::agreement::{AgreementLimits, agreement};
use nightshift_etcd::client::Client;
use nightshift_etcd::cluster::Cluster;
use nightshift_etcd::discover::{LocalMember, TlsFiles};
use nightshift_etcd::expiry::{self, expiries};
use nightshift_etcd::health::{Problem, examine};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const LIMITS: AgreementLimits = AgreementLimits {
    each: Duration::from_secs(10),
    all: Duration::from_secs(60),
    rounds: 5,
    interval: Duration::from_millis(200),
};

fn local_of(etcd: &Etcd) -> LocalMember {
    local(&etcd.url)
}

async fn cluster(etcd: &Etcd) -> (Cluster, MemberId) {
    let client = Client::connect(&local_of(etcd), REQUEST_TIMEOUT).await.unwrap();
    let id = client.status().await.unwrap().header.unwrap().member_id();
    (Cluster::query(&client, &local_of(etcd)).await.unwrap(), id)
}

async fn agreed(etcd: &Etcd) -> Agreement {
    agreement(&cluster(etcd).await.0, LIMITS).await
}

async fn written(etcd: &Etcd, keys: usize) {
    let writer = Writer::connect(&etcd.url).await;
    for number in 0..keys {
        writer.put(&format!("/registry/secrets/{number}"), b"what all members hold".to_vec()).await.unwrap();
    }
}

/// Until every member has applied what was written.
async fn caught_up(members: &[Etcd]) {
    let mut clients = Vec::new();
    for member in members {
        clients.push(Client::connect(&local_of(member), REQUEST_TIMEOUT).await.unwrap());
    }
    let until = std::time::Instant::now() + REQUEST_TIMEOUT;
    loop {
        let mut revisions = Vec::new();
        for client in &clients {
            revisions.push(client.status().await.unwrap().header.unwrap().revision);
        }
        if revisions.iter().all(|revision| *revision == revisions[0]) {
            return;
        }
        assert!(std::time::Instant::now() < until, "{revisions:?}");
    }
}

#[tokio::test]
async fn three_members_agree_and_each_of_them_gives_the_same_order() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = Etcd::start_cluster(&["e1", "e2", "e3"]).unwrap();
    written(&members[0], 50).await;
    let mut orders = Vec::new();
    for member in &members {
        let (cluster, id) = cluster(member).await;
        let order: Vec<MemberId> = cluster.members.iter().map(|member| member.id).collect();
        assert_eq!(cluster.problems(id), [], "all are healthy");
        assert_eq!(cluster.compares(id), cluster.place(id) == Some(0));
        orders.push(order);
    }
    assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
    let client = Client::connect(&local_of(&members[0]), REQUEST_TIMEOUT).await.unwrap();
    let leader = client.status().await.unwrap().leader;
    assert_eq!(orders[0].last(), Some(&MemberId(leader)));
    assert!(orders[0][0] < orders[0][1]);

    let agreement = agreed(&members[0]).await;
    assert_eq!((agreement.state, &agreement.reason), (AgreementState::Agreed, &None), "{agreement:?}");
    assert_eq!(agreement.members.len(), 3);
    assert!(agreement.revision > 50 && agreement.members[0].hash.is_some());
}

#[tokio::test]
async fn members_agree_under_write_load_and_if_everything_is_compacted() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = Etcd::start_cluster(&["e1", "e2", "e3"]).unwrap();
    written(&members[0], 20).await;
    let writer = Writer::connect(&members[1].url).await;
    let load = tokio::spawn(async move {
        for number in 0u64.. {
            writer.put(&format!("/registry/load/{}", number % 10), vec![b'x'; 100]).await.unwrap();
        }
    });
    let agreement = agreed(&members[0]).await;
    load.abort();
    let _aborted = load.await;
    assert_eq!(agreement.state, AgreementState::Agreed, "{agreement:?}");

    caught_up(&members).await;
    let client = Client::connect(&local_of(&members[0]), REQUEST_TIMEOUT).await.unwrap();
    let newest = client.status().await.unwrap().header.unwrap().revision.to_string();
    members[0].etcdctl(&["compaction", &newest, "--physical"]).unwrap();
    let agreement = agreed(&members[0]).await;
    assert_eq!(agreement.state, AgreementState::Agreed, "{agreement:?}");
    // etcd 3.6 keeps the hash that it computed for the compaction, from where the one before ended: -1 for the first.
    let compacted = agreement.compacted.to_string();
    assert!(compacted == newest || compacted == "-1", "{agreement:?}");
}

#[tokio::test]
async fn a_member_whose_database_was_changed_is_named_with_both_hashes() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let mut members = Etcd::start_cluster(&["e1", "e2", "e3"]).unwrap();
    written(&members[0], 5).await;
    caught_up(&members).await;
    members[1].stop().unwrap();
    members[1].alter(b"what all members hold", b"what nobody else has!").unwrap();
    members[1].up().unwrap();
    members[1].wait_well().unwrap();
    caught_up(&members).await;

    let agreement = agreed(&members[0]).await;
    assert_eq!(agreement.state, AgreementState::Diverged, "{agreement:?}");
    let named: Vec<&str> = agreement.diverged().iter().map(|member| member.name.as_str()).collect();
    assert_eq!(named, ["e2"]);
    let reason = agreement.reason.unwrap();
    for member in &agreement.members {
        let text = format!("{} has hash {}", member.name, member.hash.unwrap());
        assert!(reason.contains(&text), "{reason}");
    }
    assert!(reason.starts_with(&format!("at revision {}", agreement.revision)), "{reason}");
}

#[tokio::test]
async fn a_member_that_is_down_is_named_and_the_agreement_is_unknown() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let mut members = Etcd::start_cluster(&["e1", "e2", "e3"]).unwrap();
    members[2].stop().unwrap();
    let local = local_of(&members[0]);
    members[0].wait_well().unwrap();
    let client = Client::connect(&local, REQUEST_TIMEOUT).await.unwrap();
    let own = examine(&client, &local).await.unwrap();
    assert_eq!(own.problems, []);
    let (cluster, id) = cluster(&members[0]).await;
    let problems = cluster.problems(id);
    assert!(
        matches!(&problems[..], [one] if one.member == "e3" && matches!(&one.problem, Problem::NoResponse(reason)
            if reason.contains("nothing listens"))),
        "{problems:?}"
    );
    let agreement = agreement(&cluster, LIMITS).await;
    assert_eq!(agreement.state, AgreementState::Unknown);
    assert!(agreement.reason.unwrap().contains("e3 does not respond"));
}

#[tokio::test]
async fn the_agreement_of_a_single_member_is_unknown() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let etcd = Etcd::start("alone", &[]).unwrap();
    etcd.wait_well().unwrap();
    let agreement = agreed(&etcd).await;
    assert_eq!(agreement.state, AgreementState::Unknown);
    assert_eq!(agreement.reason.as_deref(), Some("the cluster has only one member"));
}

#[tokio::test]
async fn with_authentication_enabled_the_agreement_is_unknown_and_the_reason_names_the_role_root() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let members = Etcd::start_cluster(&["e1", "e2", "e3"]).unwrap();
    members[0].secure().unwrap();
    // etcd 3.6 already refuses the status, without which there is nothing to compare.
    if let Err(error) = Client::connect(&local_of(&members[0]), REQUEST_TIMEOUT).await {
        assert!(error.to_string().contains("the role root"), "{error}");
        return;
    }
    let agreement = agreed(&members[0]).await;
    assert_eq!(agreement.state, AgreementState::Unknown, "{agreement:?}");
    assert!(agreement.reason.unwrap().contains("the role root"));
}

#[test]
fn a_certificate_that_expires_within_thirty_days_is_a_problem() {
    // These certificates are valid for two days.
    let certs = Certs::make();
    let member = LocalMember {
        endpoint: "https://127.0.0.1:2379".into(),
        tls: TlsFiles { ca: Some(certs.path("ca.crt")), cert: Some(certs.path("client.crt")), key: None },
        files: vec![certs.path("server.crt"), certs.path("server.key"), certs.path("absent.crt")],
        ..LocalMember::default()
    };
    let expiries = expiries(&member, Timestamp::now());
    assert_eq!(expiries.len(), 3, "a key and a missing file do not expire: {expiries:?}");
    let now = Timestamp::now();
    let soon: Vec<String> = expiry::problems(&expiries, now).map(|it| it.to_string()).collect();
    assert_eq!(soon.len(), 3);
    assert!(soon.iter().all(|text| text.contains("expires in 1 days, on ")), "{soon:?}");
    assert!(soon.iter().any(|text| text.contains("server.crt")), "{soon:?}");
    let later = now + (3 * 24).hours();
    let over: Vec<String> = expiry::problems(&expiries, later).map(|it| it.to_string()).collect();
    assert!(over.iter().all(|text| text.contains("that expired on ")), "{over:?}");
    assert_eq!(expiry::problems(&expiries, now - (40 * 24).hours()).count(), 0);
}

#[test]
fn of_a_bundle_of_cas_expired_roots_do_not_count_while_another_is_valid() {
    let certs = Certs::make();
    let bundle = tempfile::tempdir().unwrap();
    let path = bundle.path().join("ca.crt");
    // The second is valid for a hundred days longer.
    let other = Authority::create(bundle.path(), "new-ca", "/CN=new-ca", 102).unwrap();
    drop(other);
    let text = [certs.path("ca.crt"), bundle.path().join("new-ca.crt")]
        .map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&path, text.concat()).unwrap();
    let member =
        LocalMember { tls: TlsFiles { ca: Some(path), ..TlsFiles::default() }, ..LocalMember::default() };
    let (now, later) = (Timestamp::now(), Timestamp::now() + (10 * 24).hours());
    let days = |at: Timestamp| expiries(&member, at)[0].at.duration_since(now).as_hours() / 24;
    assert_eq!((days(now), days(later)), (1, 101));
}
