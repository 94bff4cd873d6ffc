//! All members of a real cluster on loopback: how each is, in which order, and whether they agree.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support {
    #[allow(dead_code)] // each file of tests uses its part
    pub mod etcd;
}

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use nightshift_core::etcd_facts::{Agreement, AgreementState};
use nightshift_etcd::{
    Agreeing, Client, Cluster, Complaint, LocalMember, TlsFiles, agreement, examine, expiries,
    expiry_complaints,
};
use support::etcd::{Certs, Etcd, Writer, available, eventually};

const PATIENCE: Duration = Duration::from_secs(10);
const AGREEING: Agreeing = Agreeing {
    each: Duration::from_secs(10),
    all: Duration::from_secs(60),
    rounds: 5,
    pause: Duration::from_millis(200),
};

fn local(etcd: &Etcd) -> LocalMember {
    let tls = TlsFiles::default();
    LocalMember { endpoint: etcd.url.clone(), tls, name: None, data_dir: None, files: Vec::new() }
}

async fn cluster(etcd: &Etcd) -> (Cluster, u64) {
    let client = Client::connect(&local(etcd), PATIENCE).await.unwrap();
    let id = client.status().await.unwrap().header.unwrap().member_id;
    (Cluster::ask(&client, &local(etcd)).await.unwrap(), id)
}

async fn agreed(etcd: &Etcd) -> Agreement {
    agreement(&cluster(etcd).await.0, AGREEING).await
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
        clients.push(Client::connect(&local(member), PATIENCE).await.unwrap());
    }
    let until = std::time::Instant::now() + PATIENCE;
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
async fn three_members_agree_and_are_put_in_one_order_by_each_of_them() {
    if !available() {
        return;
    }
    let members = Etcd::start_cluster(3);
    written(&members[0], 50).await;
    let mut orders = Vec::new();
    for member in &members {
        let (cluster, id) = cluster(member).await;
        let order: Vec<u64> = cluster.members.iter().map(|seen| seen.id).collect();
        assert_eq!(cluster.concerns(id), [], "all is well");
        assert_eq!(cluster.asks(id), cluster.turn(id) == Some(0));
        orders.push(order);
    }
    assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
    let client = Client::connect(&local(&members[0]), PATIENCE).await.unwrap();
    let leader = client.status().await.unwrap().leader;
    assert_eq!(orders[0].last(), Some(&leader));
    assert!(orders[0][0] < orders[0][1]);

    let agreement = agreed(&members[0]).await;
    assert_eq!((agreement.state, &agreement.reason), (AgreementState::Agreed, &None), "{agreement:?}");
    assert_eq!(agreement.members.len(), 3);
    assert!(agreement.revision > 50 && agreement.members[0].hash.is_some());
}

#[tokio::test]
async fn members_agree_while_they_are_written_to_and_where_everything_is_compacted() {
    if !available() {
        return;
    }
    let members = Etcd::start_cluster(3);
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
    let client = Client::connect(&local(&members[0]), PATIENCE).await.unwrap();
    let newest = client.status().await.unwrap().header.unwrap().revision.to_string();
    let done = members[0].etcdctl(&["compaction", &newest, "--physical"]);
    assert!(done.status.success(), "{done:?}");
    let agreement = agreed(&members[0]).await;
    assert_eq!(agreement.state, AgreementState::Agreed, "{agreement:?}");
    assert_eq!(agreement.compacted.to_string(), newest);
}

#[tokio::test]
async fn a_member_whose_database_was_changed_is_named_with_both_hashes() {
    if !available() {
        return;
    }
    let mut members = Etcd::start_cluster(3);
    written(&members[0], 5).await;
    caught_up(&members).await;
    members[1].stop();
    members[1].alter(b"what all members hold", b"what nobody else has!");
    members[1].start_again();
    caught_up(&members).await;

    let agreement = agreed(&members[0]).await;
    assert_eq!(agreement.state, AgreementState::Diverged, "{agreement:?}");
    let named: Vec<&str> = agreement.diverged().iter().map(|member| member.name.as_str()).collect();
    assert_eq!(named, ["e2"]);
    let reason = agreement.reason.unwrap();
    for member in &agreement.members {
        let said = format!("{} has hash {}", member.name, member.hash.unwrap());
        assert!(reason.contains(&said), "{reason}");
    }
    assert!(reason.starts_with(&format!("at revision {}", agreement.revision)), "{reason}");
}

#[tokio::test]
async fn a_member_that_is_down_is_named_and_the_agreement_is_unknown() {
    if !available() {
        return;
    }
    let mut members = Etcd::start_cluster(3);
    members[2].stop();
    let local = local(&members[0]);
    eventually("a leader among the two", || members[0].etcdctl(&["endpoint", "health"]).status.success());
    let client = Client::connect(&local, PATIENCE).await.unwrap();
    let own = examine(&client, &local).await.unwrap();
    assert_eq!(own.complaints, []);
    let (cluster, id) = cluster(&members[0]).await;
    let concerns = cluster.concerns(id);
    assert!(
        matches!(&concerns[..], [one] if one.member == "e3" && matches!(&one.complaint, Complaint::Silent(why)
            if why.contains("nothing listens"))),
        "{concerns:?}"
    );
    let agreement = agreement(&cluster, AGREEING).await;
    assert_eq!(agreement.state, AgreementState::Unknown);
    assert!(agreement.reason.unwrap().contains("e3 does not answer"));
}

#[tokio::test]
async fn a_single_member_is_not_said_to_agree_with_itself() {
    if !available() {
        return;
    }
    let etcd = Etcd::start();
    etcd.is_well();
    let agreement = agreed(&etcd).await;
    assert_eq!(agreement.state, AgreementState::Unknown);
    assert_eq!(agreement.reason.as_deref(), Some("there is only one member"));
}

#[tokio::test]
async fn where_authentication_is_on_the_agreement_is_unknown_and_says_that_root_is_wanted() {
    if !available() {
        return;
    }
    let members = Etcd::start_cluster(3);
    for command in
        [&["user", "add", "root:x"][..], &["user", "grant-role", "root", "root"], &["auth", "enable"]]
    {
        assert!(members[0].etcdctl(command).status.success());
    }
    let agreement = agreed(&members[0]).await;
    assert_eq!(agreement.state, AgreementState::Unknown, "{agreement:?}");
    assert!(agreement.reason.unwrap().contains("the role root"));
}

#[test]
fn a_certificate_that_ends_within_thirty_days_is_complained_about() {
    // These are made for two days.
    let certs = Certs::make();
    let member = LocalMember {
        endpoint: "https://127.0.0.1:2379".into(),
        tls: TlsFiles { ca: Some(certs.path("ca.crt")), cert: Some(certs.path("client.crt")), key: None },
        name: None,
        data_dir: None,
        files: vec![certs.path("server.crt"), certs.path("server.key"), certs.path("absent.crt")],
    };
    let expiries = expiries(&member);
    assert_eq!(expiries.len(), 3, "a key and a file that is not there have no end: {expiries:?}");
    let now = Timestamp::now();
    let soon: Vec<String> = expiry_complaints(&expiries, now).map(|it| it.to_string()).collect();
    assert_eq!(soon.len(), 3);
    assert!(soon.iter().all(|said| said.contains("expires in 1 days, on ")), "{soon:?}");
    assert!(soon.iter().any(|said| said.contains("server.crt")), "{soon:?}");
    let later = now + (3 * 24).hours();
    let over: Vec<String> = expiry_complaints(&expiries, later).map(|it| it.to_string()).collect();
    assert!(over.iter().all(|said| said.contains("that expired on ")), "{over:?}");
    assert_eq!(expiry_complaints(&expiries, now - (40 * 24).hours()).count(), 0);
}
