//! Checks the local etcd member, whether the other members answer and can be compared with it, and when the certificates
//! expire.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::settings::Settings;
use nightshift_core::units::bytes;
use nightshift_etcd::client::{Client, HASH_TIMEOUT};
use nightshift_etcd::cluster::Cluster;
use nightshift_etcd::discover::{LocalMember, discover};
use nightshift_etcd::error::ClientError;
use nightshift_etcd::expiry;
use nightshift_etcd::health::{Member, examine};

use tokio::time::timeout;

use super::line::print_result;
use crate::report;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Prints a line for the member, one for the others, and one for each fault; true if all are OK.
pub async fn check(settings: &Settings) -> bool {
    let (local, client, member) = match reach(settings).await {
        Ok(reached) => reached,
        Err(fault) => return print_result("etcd", Err(fault)),
    };
    let own = member.problems.first().map_or_else(
        || {
            let (version, size) = (&member.version, bytes(member.db_size));
            Ok(format!(
                "member {} of etcd {version} answers at {}, database {size}",
                member.name,
                client.endpoint()
            ))
        },
        |problem| Err(format!("member {} {problem}", member.label())),
    );
    let mut good = print_result("etcd", own);
    good &= match snapshot_is_allowed(&client).await {
        Ok(()) => true,
        Err(fault) => print_result("etcd", Err(fault)),
    };
    let cluster = Cluster::query(&client, &local).await;
    good &= print_result("etcd", others(cluster, &client, &member).await);
    let now = Timestamp::now();
    for problem in expiry::problems(&expiry::expiries(&local, now), now) {
        good &= print_result("etcd", Err(format!("member {} {problem}", member.label())));
    }
    good
}

async fn reach(settings: &Settings) -> Result<(LocalMember, Client, Member), String> {
    let local = discover(&settings.etcd, Path::new("/")).map_err(|error| report::in_full(&error))?;
    let client = Client::connect(&local, REQUEST_TIMEOUT).await.map_err(|error| report::in_full(&error))?;
    let member = examine(&client, &local).await.map_err(|error| report::in_full(&error))?;
    Ok((local, client, member))
}

/// The status needs no rights, but a snapshot does: where etcd requires a login, only a request shows that it is allowed.
async fn snapshot_is_allowed(client: &Client) -> Result<(), String> {
    let mut stream = client.snapshot().await.map_err(|error| report::in_full(&error))?;
    match timeout(REQUEST_TIMEOUT, stream.message()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(report::in_full(&client.failed("Snapshot", status))),
        Err(_) => Err(report::in_full(&client.timed_out("Snapshot"))),
    }
}

/// How many members answer, and whether they can be compared.
async fn others(
    cluster: Result<Cluster, ClientError>,
    client: &Client,
    member: &Member,
) -> Result<String, String> {
    let cluster =
        cluster.map_err(|error| format!("cannot query the other members: {}", report::in_full(&error)))?;
    let problems: Vec<String> = cluster.problems(member.id).iter().map(ToString::to_string).collect();
    if !problems.is_empty() {
        return Err(format!("member {}", problems.join("; member ")));
    }
    let count = cluster.members.len();
    if count < 2 {
        return Ok("single member, nothing to compare it with".to_owned());
    }
    match client.hash_kv(0, HASH_TIMEOUT).await {
        Ok(_) => Ok(format!("all {count} members answer and can be compared")),
        // This does not fail a night either: its sets are stored as unchecked.
        Err(error) => {
            Ok(format!("all {count} members answer, but cannot be compared ({})", report::in_full(&error)))
        }
    }
}
